use super::super::{Agent, Answer};
use crate::container::task::Task;
use crate::protocol::{ContainerInfo, Outcome};

impl Agent {
    pub(super) fn list(&self) -> Answer {
        let containers = self.tasks.iter().filter(|(_, task)| task.container().is_some());
        let info = |task: &Task| ContainerInfo { id: task.id.clone(), state: task.state() };
        Answer::Now(Outcome::Containers(containers.map(|(_, task)| info(task)).collect()))
    }
}
