use super::super::session::StreamPlan;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::Stage;
use crate::process::pump::Direction;
use crate::protocol::{AttachArgs, CallError, Stream};

impl Agent {
    pub(super) fn attach(&mut self, args: &AttachArgs) -> Result<Answer, CallError> {
        self.check_room()?;
        let key = self.find(&args.container)?;
        let Some(container) = self.containers.get_mut(key).filter(|c| matches!(c.stage, Stage::Created))
        else {
            return Err(state_error("Streams are attached between create and start"));
        };
        let has_terminal = container.terminal.is_some();
        let (end, direction) = match args.stream {
            Stream::Stdin if has_terminal => (container.ends.stdin.take(), Direction::ToTerminal),
            Stream::Stdin => (container.ends.stdin.take(), Direction::ToPipe),
            Stream::Stdout => (container.ends.stdout.take(), Direction::FromContainer),
            Stream::Stderr => (container.ends.stderr.take(), Direction::FromContainer),
        };
        match end {
            Some(end) => Ok(Answer::Stream(StreamPlan { end, direction, container: key })),
            None => Err(state_error("The container has no such stream, or it is attached already")),
        }
    }
}
