use super::super::{Agent, Answer};
use crate::protocol::{ContainerInfo, Outcome};

impl Agent {
    pub(super) fn list(&self) -> Answer {
        let info = |container: &crate::container::Container| ContainerInfo {
            id: container.spec.id.clone(),
            state: container.state(),
        };
        Answer::Now(Outcome::Containers(
            self.containers.iter().map(|(_, container)| info(container)).collect(),
        ))
    }
}
