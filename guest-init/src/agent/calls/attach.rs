use super::super::session::StreamPlan;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::task::Stage;
use crate::process::pump::Direction;
use crate::protocol::{AttachArgs, CallError, Stream};

impl Agent {
    pub(super) fn attach(&mut self, args: &AttachArgs) -> Result<Answer, CallError> {
        self.check_room()?;
        let key = self.find(&args.container)?;
        let Some(task) = self.tasks.get_mut(key).filter(|task| matches!(task.stage, Stage::Created)) else {
            return Err(state_error("Streams are attached between create and start"));
        };
        let has_terminal = task.terminal.is_some();
        let (end, direction) = match args.stream {
            Stream::Stdin if has_terminal => (task.ends.stdin.take(), Direction::ToTerminal),
            Stream::Stdin => (task.ends.stdin.take(), Direction::ToPipe),
            Stream::Stdout => (task.ends.stdout.take(), Direction::FromContainer),
            Stream::Stderr => (task.ends.stderr.take(), Direction::FromContainer),
        };
        match end {
            Some(end) => Ok(Answer::Stream(StreamPlan { end, direction, task: key })),
            None => Err(state_error("The container has no such stream, or it is attached already")),
        }
    }
}
