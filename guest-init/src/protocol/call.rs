//! The calls and their answers.

use serde::{Deserialize, Serialize};

use super::network::{DisconnectArgs, Interface};
use super::resources::UpdateArgs;
use super::types::*;
use super::usage::{ProcessInfo, Stats};

/// What the host asks, one a connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "call", content = "args", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Comes first. Answered by [`Outcome::Hello`].
    Hello(HelloArgs),
    /// Clock and entropy of the sandbox, its network, and a pod's namespaces; once, before the first
    /// container. If it fails, nothing is left to be done but `Shutdown`.
    ConfigureSandbox(SandboxConfig),
    /// Prepares everything up to the exec: namespaces, root, limits. The process waits for `Start`.
    /// Closing the connection before the answer cancels it, and leaves nothing.
    CreateContainer(Box<ContainerSpec>),
    /// Turns this connection into one of the container's standard streams. Between create and start,
    /// so that nothing is lost. An output nobody attaches to is dropped, an input is at its end.
    Attach(AttachArgs),
    /// Runs the container's command. Answers when exec has succeeded or failed.
    Start(ContainerArgs),
    /// The terminal's size.
    Resize(ResizeArgs),
    /// Sends a signal to the container's first process.
    Signal(SignalArgs),
    /// Answers when the container has ended; any number of times until `Delete`.
    Wait(ContainerArgs),
    /// The state of every container.
    List,
    /// Kills what still runs, unmounts, removes the cgroup, forgets the container.
    Delete(ContainerArgs),
    /// Prepares a process in a running container: everything up to the exec. From then on `exec_id` is
    /// addressed like a container in Attach, Start, Resize, Signal, Wait and Delete. Answered by
    /// [`Outcome::Created`]. It ends with the container at the latest, whose `Delete` takes it along.
    Exec(Box<ExecSpec>),
    /// Freezes every process of the container, those of its execs among them.
    Pause(ContainerArgs),
    /// Thaws what `Pause` froze.
    Resume(ContainerArgs),
    /// Sets the limits named, and leaves the others.
    Update(UpdateArgs),
    /// What the container uses. Answered by [`Outcome::Stats`].
    Stats(ContainerArgs),
    /// Its processes. Answered by [`Outcome::Processes`].
    Top(ContainerArgs),
    /// The container's root file system as a tar archive, without what is mounted in it; from its creation
    /// on, until it has ended. Data follow the answer, as [`super::DataReader`] reads them.
    Archive(ContainerArgs),
    /// One more device for a sandbox with a network of its own.
    ConnectInterface(Interface),
    /// A device of the sandbox's goes. In a guest it is as it was before it came, and can come again; on a
    /// host it is removed, with its other end.
    DisconnectInterface(DisconnectArgs),
    /// Turns this connection into the stream of all questions for names that the sandbox's containers send
    /// to 127.0.0.11:53, and their answers: [`super::DnsQuestion`], [`super::DnsAnswer`]. One at a time: a
    /// later one takes the place of the one before. Until there is one, questions wait.
    Dns,
    /// Writes everything the guest holds to its disks.
    Sync,
    /// Deletes all containers, syncs and ends: the machine in a guest, the process on a host. The
    /// answer comes before the end.
    Shutdown,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Ok(Outcome),
    Error(CallError),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "value", rename_all = "snake_case")]
pub enum Outcome {
    Done,
    Hello(HelloReply),
    Created(Created),
    Exited(ExitStatus),
    Containers(Vec<ContainerInfo>),
    Stats(Stats),
    Processes(Vec<ProcessInfo>),
}

/// Why a call failed, for the host to act on (`kind`) and for the user to read (`message`).
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    pub kind: ErrorKind,
    /// One line, without the call's name; says what was tried on what.
    pub message: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request could not be read: not JSON, unknown call or field, a value out of bounds.
    Invalid,
    /// The protocol versions differ.
    Version,
    /// No container of that id.
    NoContainer,
    /// Not possible in the container's present state.
    State,
    /// The command does not exist in the container (exit code 127).
    CommandNotFound,
    /// The command exists and cannot be executed (exit code 126).
    CannotExecute,
    /// The user or group is not in the image, or malformed (exit code 125).
    NoUser,
    /// The host or guest refused a step of the set-up (exit code 125).
    Setup,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_with_an_unknown_field_is_refused_by_name() {
        let wire = r#"{"call":"start","args":{"container":"a","privileged":false}}"#;
        let error = serde_json::from_str::<Request>(wire).unwrap_err().to_string();
        assert!(error.contains("unknown field `privileged`"), "{error}");
    }

    #[test]
    fn reply_with_an_unknown_field_is_accepted() {
        let wire = r#"{"ok":{"outcome":"hello","value":{"version":2,"features":[],"kernel":"6","later":1}}}"#;
        assert!(matches!(serde_json::from_str(wire), Ok(Reply::Ok(Outcome::Hello(_)))));
    }

    #[test]
    fn calls_of_version_2_have_their_names_and_shapes() {
        let wire = r#"{"call":"exec","args":{"container":"a","exec_id":"b","place":"beside","process":{
            "args":["sh"],"env":[],"cwd":"/","user":"","terminal":null,"stdin":false,"capabilities":[],
            "no_new_privileges":false,"seccomp":"default","rlimits":[],"init":false}}}"#;
        let Ok(Request::Exec(exec)) = serde_json::from_str(wire) else { panic!() };
        assert_eq!(exec.place, ExecPlace::Beside);
        let wire = r#"{"call":"update","args":{"container":"a","resources":{"pids":7}}}"#;
        let Ok(Request::Update(update)) = serde_json::from_str(wire) else { panic!() };
        assert_eq!(update.resources.pids, Some(7));
        for call in ["pause", "resume", "stats", "top", "archive"] {
            let wire = format!(r#"{{"call":"{call}","args":{{"container":"a"}}}}"#);
            let request: Request = serde_json::from_str(&wire).unwrap();
            assert_eq!(serde_json::to_string(&request).unwrap(), wire);
        }
    }

    #[test]
    fn pod_and_shared_namespaces_may_be_left_out() {
        let Ok(config) = serde_json::from_str::<SandboxConfig>("{}") else { panic!() };
        assert!(config.pod.is_none());
        let wire =
            r#"{"call":"configure_sandbox","args":{"clock_ns":null,"entropy":null,"pod":{"hostname":"p"}}}"#;
        let Ok(Request::ConfigureSandbox(config)) = serde_json::from_str(wire) else { panic!() };
        assert_eq!(config.pod.map(|pod| pod.hostname).as_deref(), Some("p"));
        let share: Share = serde_json::from_str(r#"{"pid":"x"}"#).unwrap();
        assert_eq!((share.pid.as_deref(), share.network), (Some("x"), None));
    }
}
