use super::super::slab::Key;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::cgroup::Cgroup;
use crate::container::exec::{self, Target, ValidExec};
use crate::container::task::{Forked, Freeze, Role, Task};
use crate::error::StepError;
use crate::protocol::{CallError, ErrorKind, ExecPlace, ExecSpec, Resources};

impl Agent {
    /// Answered by `on_ready`, or when a failed set-up has left nothing behind.
    pub(super) fn exec(&mut self, session: Key, spec: ExecSpec) -> Result<Answer, CallError> {
        self.check_room()?;
        let container = self.find_container(&spec.container)?;
        if self.find(&spec.exec_id).is_ok() {
            return Err(state_error("A container or exec of that id exists"));
        }
        let id = spec.exec_id.clone();
        let exec = exec::validate(spec, self.place)?;
        let mut own_cgroup = match exec.place {
            ExecPlace::Container => None,
            ExecPlace::Beside => Some(self.debug_cgroup(&id)?),
        };
        match self.fork_exec(container, &exec, own_cgroup.as_ref()) {
            Ok(forked) => {
                let role = Role::Exec { container };
                let mut task = Task::new(id, role, forked, exec.process.stdin, session);
                task.cgroup = own_cgroup;
                let key = self.tasks.insert(task);
                self.await_ready(session, key)
            }
            Err(error) => {
                own_cgroup.as_mut().map(Cgroup::remove);
                Err(error)
            }
        }
    }

    /// Not limited; all that the debugger starts ends by it.
    fn debug_cgroup(&self, id: &str) -> Result<Cgroup, StepError> {
        Cgroup::create(&self.surroundings.layout, &format!("hull/{id}"), &Resources::default())
    }

    fn fork_exec(&self, key: Key, exec: &ValidExec, own: Option<&Cgroup>) -> Result<Forked, CallError> {
        let task = self.running(key)?;
        if self.freeze_of(key) != Freeze::Running {
            return Err(state_error("The container is paused"));
        }
        let (Some(process), Some(cgroup)) = (task.process, own.or(task.cgroup.as_ref())) else {
            return Err(state_error("The container is not running"));
        };
        let shares_network = self.network.is_some();
        let descriptors = self.surroundings.descriptors;
        let target = Target { process, cgroup, shares_network, descriptors };
        Ok(exec::fork(exec, &target)?)
    }

    pub(super) fn find_container(&self, id: &str) -> Result<Key, CallError> {
        let key = self.find(id)?;
        if self.tasks.get(key).is_some_and(|task| task.container().is_some()) {
            return Ok(key);
        }
        Err(CallError {
            kind: ErrorKind::NoContainer,
            message: "That is an exec, not a container".to_owned(),
        })
    }
}
