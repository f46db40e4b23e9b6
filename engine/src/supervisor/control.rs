//! The control socket's calls: the agent's way of speaking (one call, one connection, length-prefixed
//! JSON, a stream behind the answer where one is asked for), with what a supervisor has of its own.
//!
//! A supervisor and a `hull` of different releases may meet: `Hello` tells the versions, calls and fields
//! that the other does not know are refused by name, and unknown fields in answers are ignored.

use hull_guest::protocol::{
    CallError, ContainerArgs, ExecSpec, HelloArgs, Outcome, ResizeArgs, Resources, SignalArgs, Stats, Stream,
};
use serde::{Deserialize, Serialize};

use super::ContainerPlan;
use crate::container::restart::RestartPolicy;

/// Goes up with a change that a peer of the version before would misread; new calls are no such change.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "call", content = "args", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Answered by [`Answer::Hello`].
    Hello(HelloArgs),
    /// Answered when the sandbox is there, or why it is not.
    Up,
    /// Brings another container into a pod, or one that has ended there into it again. It is started like
    /// the first, by [`Call::Start`], which is best said on the same connection: closed without it, the
    /// container is let go of.
    Add(Box<ContainerPlan>),
    /// Answered when the container's command runs, or why it does not; with `wait`, once more when it has
    /// ended, by [`Answer::Exited`]. One connection for both, so that no end is missed.
    Start(StartArgs),
    /// Turns this connection into one of the container's standard streams, from its next output on. May
    /// come before the start.
    Attach(AttachArgs),
    /// Ends one of the container's outputs, as if the reader of a pipe had gone.
    CloseOutput(OutputArgs),
    /// Answered by [`Answer::Done`] when an end to come will be told, and then by [`Answer::Exited`].
    Wait(WaitArgs),
    /// Asks the container to end, and makes it end after a while. Answered when it has.
    Stop(StopArgs),
    /// The same, and starts it again.
    Restart(StopArgs),
    /// A signal from a user. SIGKILL and the container's stop signal are taken for a wish that it ends.
    Kill(SignalArgs),
    /// A signal that a foreground client passes on.
    Signal(SignalArgs),
    Resize(ResizeArgs),
    Pause(ContainerArgs),
    Resume(ContainerArgs),
    Update(Box<UpdateArgs>),
    /// A container that does not run leaves the pod.
    Forget(ContainerArgs),
    /// [`Answer::Measured`].
    Stats(ContainerArgs),
    /// [`Answer::Agent`] with the agent's own.
    Top(ContainerArgs),
    /// Runs one more process in a container. Answered by [`Answer::Done`] when it runs, with the streams asked
    /// for as descriptors: the agent's own, without anybody between. [`Answer::Exited`] follows on the
    /// connection when it has ended. Until then its id is good for `Signal` and `Resize`.
    Exec(Box<ExecArgs>),
    /// The container's files, as a tar archive. Answered by [`Answer::Done`] with one descriptor, the agent's own:
    /// data as [`hull_guest::protocol::DataReader`] reads them. Of one that is not started, it is the last call
    /// for it: once this connection is closed the container is let go of, and then the other end is, too.
    Export(ContainerArgs),
    /// Connects the sandbox, which is up, to a network: its endpoint's row is there.
    Connect(EndpointArgs),
    /// Takes an endpoint from the sandbox, and leaves its row.
    Disconnect(EndpointArgs),
    /// Ends every container and the sandbox of a pod. The connection closes when that is done.
    End(EndArgs),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartArgs {
    pub container: String,
    #[serde(default)]
    pub wait: Option<WaitArgs>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachArgs {
    pub container: String,
    pub stream: Stream,
    /// Names the client, so that its `Wait` can tell it that it was dropped.
    pub session: String,
    /// The output waits for this client. Others that fall too far behind are dropped.
    pub live: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecArgs {
    pub spec: ExecSpec,
    /// The descriptors come in this order. An output that nobody asks for is dropped.
    pub streams: Vec<Stream>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputArgs {
    pub container: String,
    pub stream: Stream,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitArgs {
    pub container: String,
    pub until: Until,
    #[serde(default)]
    pub session: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// It does not run, now or later, and will not start again by itself.
    NotRunning,
    /// Its next end, even if a policy starts it again.
    NextExit,
    /// It is removed.
    Removed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopArgs {
    pub container: String,
    /// In place of the container's own.
    pub signal: Option<u8>,
    pub timeout_seconds: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndArgs {
    /// In place of the containers' own.
    pub timeout_seconds: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointArgs {
    /// The endpoint's id.
    pub endpoint: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateArgs {
    pub container: String,
    pub resources: Resources,
    pub restart: Option<RestartPolicy>,
}

/// What came of a call.
pub type Reply = Result<Answer, CallError>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "snake_case")]
pub enum Answer {
    Done,
    Hello(Hello),
    Exited(Exit),
    Agent(Outcome),
    Measured(Box<Measured>),
}

/// What a container uses, and whom on the host that takes beside it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    pub stats: Stats,
    /// The supervisor, and the VMM or the agent.
    pub pids: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    /// Of the hull that the supervisor is.
    pub release: String,
    /// The supervisor's process.
    #[serde(default)]
    pub pid: u32,
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: i32,
    #[serde(default)]
    pub oom_killed: bool,
    /// Why, where it was not the container's command that ended.
    #[serde(default)]
    pub error: String,
}
