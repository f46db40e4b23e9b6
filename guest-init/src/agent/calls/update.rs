use super::super::slab::Key;
use super::super::{Agent, Answer};
use crate::container::{cgroup, spec};
use crate::protocol::{CallError, ErrorKind, Outcome, UpdateArgs};

impl Agent {
    /// A lower memory limit is set when that much has been given up, so a child waits for that.
    pub(super) fn update(&mut self, session: Key, args: &UpdateArgs) -> Result<Answer, CallError> {
        let key = self.find_container(&args.container)?;
        let resources = &args.resources;
        spec::check_resources(resources, self.place)?;
        if resources.shm_bytes.is_some() {
            let message = "resources.shm_bytes: is fixed when a container is created".to_owned();
            return Err(CallError { kind: ErrorKind::Invalid, message });
        }
        if let Some(list) = &resources.cpuset_cpus {
            cgroup::check_cpus(list)?;
        }
        if let Some(task) = self.tasks.get_mut(key)
            && let Some(path) = task.container().map(|container| container.spec.cgroup.clone())
            && let Some(cgroup) = &mut task.cgroup
        {
            cgroup.extend(&self.surroundings.layout, &path, resources)?;
        }
        let kept = self.cgroup_of(key)?.raw().collect();
        self.help(session, kept, |agent| {
            agent.cgroup_of(key)?.update(resources)?;
            Ok(Outcome::Done)
        })
    }
}
