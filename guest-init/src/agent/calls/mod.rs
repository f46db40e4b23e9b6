//! The protocol's calls, one file each.

mod archive;
mod attach;
mod configure;
mod create;
mod delete;
mod exec;
mod hello;
mod list;
mod network;
mod pause;
mod resize;
mod shutdown;
mod signal;
mod start;
mod stats;
mod sync;
mod update;
mod wait;

use super::slab::Key;
use super::{Agent, Answer};
use crate::container::task::{Stage, Task};
use crate::protocol::{CallError, ErrorKind, Request};

impl Agent {
    pub(super) fn call(&mut self, session: Key, request: Request) -> Result<Answer, CallError> {
        match request {
            Request::Hello(args) => hello::call(&args),
            Request::ConfigureSandbox(config) => self.configure(&config),
            Request::CreateContainer(spec) => self.create(session, *spec),
            Request::Attach(args) => self.attach(&args),
            Request::Start(args) => self.start(session, &args),
            Request::Resize(args) => self.resize(&args),
            Request::Signal(args) => self.signal(&args),
            Request::Wait(args) => self.wait(session, &args),
            Request::List => Ok(self.list()),
            Request::Delete(args) => self.delete(session, &args),
            Request::Exec(spec) => self.exec(session, *spec),
            Request::Pause(args) => self.pause(session, &args),
            Request::Resume(args) => self.resume(&args),
            Request::Stats(args) => self.stats(&args),
            Request::Top(args) => self.top(session, &args),
            Request::Update(args) => self.update(session, &args),
            Request::Archive(args) => self.archive(session, &args),
            Request::ConnectInterface(interface) => self.connect_interface(&interface),
            Request::DisconnectInterface(args) => self.disconnect_interface(&args),
            Request::Dns => self.pass_questions_on(),
            Request::Sync => self.sync(session),
            Request::Shutdown => Ok(self.shutdown(session)),
        }
    }
}

impl Agent {
    /// Something that has been started and has not ended.
    fn running(&self, key: Key) -> Result<&Task, CallError> {
        let running = |task: &&Task| matches!(task.stage, Stage::Running) && task.process.is_some();
        self.tasks.get(key).filter(running).ok_or_else(|| state_error("The container is not running"))
    }
}

/// Not possible in the state that something is in.
fn state_error(message: &str) -> CallError {
    CallError { kind: ErrorKind::State, message: message.to_owned() }
}
