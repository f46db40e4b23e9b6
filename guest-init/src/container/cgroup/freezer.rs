//! Stopping a container's processes where they are, and letting them go on.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Cgroup;
use crate::error::{Step, StepError};
use crate::protocol::ErrorKind;

/// v1 has no event for it: how often, and how long apart, it is asked. It is a matter of microseconds
/// unless a process waits for a disk.
const V1_TRIES: u32 = 100;
const V1_PAUSE: Duration = Duration::from_millis(1);

/// How far a freeze has come.
pub enum Frozen {
    Wholly,
    /// `cgroup.events` tells of the end (poll(2) for POLLPRI).
    Soon(OwnedFd),
}

impl Cgroup {
    /// Stops every process in it. Documentation/admin-guide/cgroup-v2.rst, cgroup.freeze
    pub fn freeze(&self) -> Result<Frozen, StepError> {
        let Some(group) = self.v2() else { return self.freeze_v1() };
        group.write("cgroup.freeze", b"1").step(format_args!("freeze {}", group.path))?;
        if self.is_frozen() {
            return Ok(Frozen::Wholly);
        }
        group.events().map(Frozen::Soon).step(format_args!("watch {}", group.path))
    }

    /// Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst: FREEZING until all have stopped.
    fn freeze_v1(&self) -> Result<Frozen, StepError> {
        let group = self.v1("freezer").ok_or_else(no_freezer)?;
        group.write("freezer.state", b"FROZEN").step(format_args!("freeze {}", group.path))?;
        for _ in 0..V1_TRIES {
            if self.is_frozen() {
                return Ok(Frozen::Wholly);
            }
            std::thread::sleep(V1_PAUSE);
        }
        let _ = group.write("freezer.state", b"THAWED");
        Err(StepError::setup(format!("Failed to freeze {}: a process does not stop", group.path)))
    }

    pub fn thaw(&self) -> Result<(), StepError> {
        match (self.v2(), self.v1("freezer")) {
            (Some(group), _) => group.write("cgroup.freeze", b"0").step(format_args!("thaw {}", group.path)),
            (None, Some(group)) => {
                group.write("freezer.state", b"THAWED").step(format_args!("thaw {}", group.path))
            }
            (None, None) => Err(no_freezer()),
        }
    }

    pub fn is_frozen(&self) -> bool {
        match (self.v2(), self.v1("freezer")) {
            (Some(group), _) => {
                group.read("cgroup.events").is_ok_and(|text| text.lines().any(|line| line == "frozen 1"))
            }
            (None, Some(group)) => group.read("freezer.state").is_ok_and(|text| text.trim() == "FROZEN"),
            (None, None) => false,
        }
    }
}

fn no_freezer() -> StepError {
    StepError::new(
        ErrorKind::Setup,
        "Failed to freeze: neither cgroup v2 nor the freezer is there to be used",
    )
}
