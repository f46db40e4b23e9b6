//! `hull-init --host`: the agent of namespace mode, started by the supervisor from a sealed memfd.

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::agent::Agent;
use crate::agent::listener::Listener;
use crate::container::spec::Place;
use crate::error::{Step, StepError};
use crate::protocol::ErrorKind;
use crate::sys;

/// The descriptors that the supervisor handed over.
#[derive(Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// A unix stream socket that listens already.
    pub listen: RawFd,
    /// A socket that the supervisor holds open for as long as it lives.
    pub life: RawFd,
    /// A network namespace for the containers.
    pub network: Option<RawFd>,
}

impl Descriptors {
    /// Reads what follows `--host` on the command line.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, StepError> {
        let usage = || {
            StepError::new(
                ErrorKind::Invalid,
                "usage: hull-init --host --listen-fd N --life-fd N [--net-fd N]",
            )
        };
        let (mut listen, mut life, mut network) = (None, None, None);
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let value =
                args.next().and_then(|value| value.to_str()?.parse().ok()).filter(|&fd: &RawFd| fd > 2);
            let Some(value) = value else { return Err(usage()) };
            match name.to_str() {
                Some("--listen-fd") => listen = Some(value),
                Some("--life-fd") => life = Some(value),
                Some("--net-fd") => network = Some(value),
                _ => return Err(usage()),
            }
        }
        match (listen, life) {
            (Some(listen), Some(life))
                if listen != life && network != Some(listen) && network != Some(life) =>
            {
                Ok(Descriptors { listen, life, network })
            }
            _ => Err(usage()),
        }
    }
}

/// Serves until `Shutdown`, or until the supervisor is gone.
pub fn run(descriptors: &Descriptors) -> Result<(), StepError> {
    let listen = take(descriptors.listen).step("take over the listening socket")?;
    let life = take(descriptors.life).step("take over the supervisor's socket")?;
    let network = descriptors.network.map(take).transpose().step("take over the network namespace")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step("become non-dumpable")?;
    let mounts = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step("open the host's mount namespace")?;
    // SAFETY: NEWNS touches neither descriptors nor memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.step("make a mount namespace")?;
    // What is mounted here stays here and dies with us; what the host unmounts goes away here too.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).step("cut mounts off from the host's")?;
    sys::ignore_sigpipe();
    let listener = Listener::unix(listen).step("prepare the listening socket")?;
    Agent::new(Place::Host, listener, Some(life), network, Some(mounts))?.run().map(drop)
}

/// A close-on-exec copy of an inherited descriptor, which is closed.
fn take(fd: RawFd) -> Result<OwnedFd, rustix::io::Errno> {
    // SAFETY: fcntl reports a number that is no open descriptor, without touching anything; and the
    // borrow ends before the number is closed below.
    let copy = rustix::io::fcntl_dupfd_cloexec(unsafe { BorrowedFd::borrow_raw(fd) }, 3)?;
    // SAFETY: nothing else in this program, which has just begun, owns the inherited number.
    unsafe { rustix::io::close(fd) };
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Descriptors> {
        Descriptors::parse(words.iter().map(OsString::from)).ok()
    }

    #[test]
    fn both_descriptors_must_be_named_and_be_none_of_the_standard_streams() {
        let both = parse(&["--listen-fd", "3", "--life-fd", "4"]);
        assert_eq!(both, Some(Descriptors { listen: 3, life: 4, network: None }));
        let three = parse(&["--net-fd", "5", "--listen-fd", "3", "--life-fd", "4"]);
        assert_eq!(three, Some(Descriptors { listen: 3, life: 4, network: Some(5) }));
        assert_eq!(parse(&["--listen-fd", "3", "--life-fd", "4", "--net-fd", "4"]), None);
        assert_eq!(parse(&["--listen-fd", "3", "--life-fd", "4", "--net-fd"]), None);
        assert_eq!(parse(&["--listen-fd", "3"]), None);
        assert_eq!(parse(&["--listen-fd", "2", "--life-fd", "4"]), None);
        assert_eq!(parse(&["--listen-fd", "3", "--life-fd", "3"]), None);
        assert_eq!(parse(&["--listen-fd", "3", "--life-fd", "4", "--more"]), None);
    }
}
