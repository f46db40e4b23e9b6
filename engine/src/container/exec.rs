//! `hull exec`: one more process in a container that runs. `hull debug`: beside it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use hull_guest::protocol::{ErrorKind, ExecPlace, ExecSpec, Process, Seccomp, TerminalSize, Text};

use super::config::{Config, UnreadableConfig};
use super::env::{EnvError, Environment};
use super::reach::{self, Reached};
use super::{caps, names, start};
use crate::context::Context;
use crate::sandbox::mode::Isolation;
use crate::session::{self, Attachment, SessionError, Signals};
use crate::store::{self, ContainerRow, ContainerState, Store};
use crate::supervisor::client::ClientError;
use crate::supervisor::control::Until;

/// A process for a container, as the user described it, checked.
#[derive(Debug)]
pub struct Asked {
    pub args: Vec<Text>,
    pub env: Vec<OsString>,
    pub env_files: Vec<PathBuf>,
    pub workdir: Option<Text>,
    pub user: Option<Text>,
    pub interactive: bool,
    pub terminal: Option<TerminalSize>,
    /// Every capability, and no system call filter.
    pub privileged: bool,
    pub detached: bool,
    pub detach_keys: Vec<u8>,
    pub place: ExecPlace,
}

#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error("Failed to read /dev/urandom")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Config(#[from] UnreadableConfig),
    #[error("Container {0} is not running")]
    NotRunning(String),
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    #[error(
        "Container {0} runs in host namespaces, and what is beside it is the host; use hull exec --privileged"
    )]
    NothingBeside(String),
}

impl Reached for ExecError {
    fn client(&self) -> Option<&ClientError> {
        match self {
            ExecError::Client(error) | ExecError::Session(SessionError::Client(error)) => Some(error),
            _ => None,
        }
    }
}

impl ExecError {
    /// Docker's codes: 127 not found, 126 whatever else keeps the process from running in the container, 1
    /// where it does not come to that.
    pub fn exit_code(&self) -> u8 {
        match self.client().and_then(ClientError::kind) {
            Some(ErrorKind::CommandNotFound) => 127,
            Some(ErrorKind::CannotExecute | ErrorKind::NoUser | ErrorKind::Setup) => 126,
            _ => 1,
        }
    }
}

/// Runs the process, and stays to its end unless it is detached. The exit code.
pub fn run(context: &Context, name: &str, asked: &Asked) -> Result<u8, ExecError> {
    // As docker's, it leaves the other signals to whoever runs in the foreground here.
    let signals = Signals::block(false)?;
    let store = Store::open(&context.root, &context.run)?;
    reach::container(context, &store, name, |row| attempt(&store, row, asked, &signals))
}

fn attempt(store: &Store, row: &ContainerRow, asked: &Asked, signals: &Signals) -> Result<u8, ExecError> {
    check(row, asked.place)?;
    let config = Config::from_row(row)?;
    let spec = ExecSpec {
        container: row.id.clone(),
        exec_id: names::new_id().map_err(ExecError::Random)?,
        process: process(&config, asked)?,
        place: asked.place,
    };
    let client = start::client(store, row);
    if asked.detached {
        client.exec(spec, &[])?;
        return Ok(0);
    }
    let attachment = Attachment {
        streams: session::streams(&spec.process, |_| true),
        terminal: asked.terminal.is_some(),
        live: false,
        until: Until::NextExit,
        detach_keys: &asked.detach_keys,
    };
    Ok(session::exec(&client, spec, &attachment, signals)?)
}

fn check(row: &ContainerRow, place: ExecPlace) -> Result<(), ExecError> {
    let name = row.name.clone();
    match row.state {
        ContainerState::Running => {}
        ContainerState::Paused => return Err(ExecError::Paused(name)),
        ContainerState::Restarting => return Err(ExecError::Restarting(name)),
        ContainerState::Created
        | ContainerState::Removing
        | ContainerState::Exited
        | ContainerState::Dead => return Err(ExecError::NotRunning(name)),
    }
    if place == ExecPlace::Beside && row.mode == Isolation::Namespace {
        return Err(ExecError::NothingBeside(name));
    }
    Ok(())
}

/// The container's own process, with what the user wants otherwise.
fn process(config: &Config, asked: &Asked) -> Result<Process, EnvError> {
    let own = &config.process;
    let mut process = Process {
        args: asked.args.clone(),
        env: environment(own, asked)?,
        cwd: asked.workdir.clone().unwrap_or_else(|| own.cwd.clone()),
        user: asked.user.clone().unwrap_or_else(|| own.user.clone()),
        terminal: asked.terminal,
        stdin: asked.interactive && !asked.detached,
        init: false,
        ..own.clone()
    };
    if asked.privileged {
        process.capabilities = caps::all();
        process.seccomp = Seccomp::Unconfined;
    }
    Ok(process)
}

/// A terminal's variable is that of this process, and not of the container's.
fn environment(own: &Process, asked: &Asked) -> Result<Vec<Text>, EnvError> {
    const TERM: &[u8] = b"TERM=xterm";
    let mut env = Environment::default();
    let from_terminal = |word: &Text| own.terminal.is_some() && word.as_bytes() == TERM;
    for word in own.env.iter().filter(|word| asked.terminal.is_some() || !from_terminal(word)) {
        env.set(word.as_bytes());
    }
    if asked.terminal.is_some() && !env.has(b"TERM") {
        env.set(TERM);
    }
    for file in &asked.env_files {
        env.apply_file(file)?;
    }
    for word in &asked.env {
        env.apply(word)?;
    }
    Ok(env.into_words())
}

#[cfg(test)]
mod tests {
    use hull_guest::protocol::Rlimit;

    use super::*;

    fn own(terminal: bool) -> Config {
        let size = TerminalSize { columns: 80, rows: 24 };
        serde_json::from_value(serde_json::json!({
            "image": "i", "hostname": "h",
            "process": {
                "args": ["serve"], "cwd": "/srv", "user": "app", "stdin": true, "init": true,
                "env": ["PATH=/bin", "TERM=xterm", "A=1"], "terminal": terminal.then_some(size),
                "capabilities": ["CAP_CHOWN"], "no_new_privileges": true, "seccomp": "default",
                "rlimits": [Rlimit { name: "RLIMIT_CORE".into(), soft: 0, hard: 0 }],
            },
        }))
        .unwrap()
    }

    fn asked() -> Asked {
        Asked {
            args: vec!["id".into()],
            env: Vec::new(),
            env_files: Vec::new(),
            workdir: None,
            user: None,
            interactive: false,
            terminal: None,
            privileged: false,
            detached: false,
            detach_keys: Vec::new(),
            place: ExecPlace::Container,
        }
    }

    #[test]
    fn process_is_confined_as_the_containers_own() {
        let process = process(&own(false), &asked()).unwrap();
        assert_eq!((process.cwd, process.user), ("/srv".into(), "app".into()));
        assert_eq!(process.capabilities, ["CAP_CHOWN"]);
        assert!(process.no_new_privileges && process.seccomp == Seccomp::Default);
        assert!(process.rlimits.len() == 1 && !process.init && !process.stdin);
    }

    #[test]
    fn what_the_user_says_replaces_the_containers() {
        let asked = Asked {
            env: vec!["A=2".into(), "B=3".into()],
            user: Some("0".into()),
            workdir: Some("/".into()),
            privileged: true,
            ..asked()
        };
        let process = process(&own(false), &asked).unwrap();
        assert_eq!(process.env, ["PATH=/bin", "TERM=xterm", "A=2", "B=3"].map(Text::from));
        assert_eq!((process.user, process.cwd), ("0".into(), "/".into()));
        assert!(process.capabilities.len() > 40 && process.seccomp == Seccomp::Unconfined);
        assert!(process.no_new_privileges);
    }

    #[test]
    fn a_terminals_variable_comes_and_goes_with_the_terminal() {
        let has_term = |config: &Config, asked: &Asked| {
            process(config, asked).unwrap().env.contains(&Text::from("TERM=xterm"))
        };
        let on_terminal = Asked { terminal: own(true).process.terminal, ..asked() };
        assert!(has_term(&own(true), &on_terminal) && !has_term(&own(true), &asked()));
        // The image's own, where the container has no terminal.
        assert!(has_term(&own(false), &asked()));
    }
}
