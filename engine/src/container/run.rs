//! A container in the foreground: from the image to the exit code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use hull_guest::protocol::{ContainerArgs, ContainerSpec, ErrorKind, Request, Stream, Text};

use super::env::EnvError;
use super::record::Record;
use super::spec::{self, ImageDefaults, Options};
use super::{names, record};
use crate::context::Context;
use crate::image::{self, Image, catalog};
use crate::sandbox::agent::AgentError;
use crate::sandbox::mode::{self, Isolation, IsolationRequest, ModeError};
use crate::sandbox::{self, LaunchError, Sandbox, probe};
use crate::session::{self, SessionError, Signals, Streams};
use crate::store::{self, Store};
use crate::text::escape;

/// Everything `hull run` was asked for, checked.
#[derive(Debug)]
pub struct Foreground {
    pub image: String,
    pub name: Option<String>,
    pub remove: bool,
    pub isolation: Option<IsolationRequest>,
    pub kernel: Option<PathBuf>,
    pub env: Vec<OsString>,
    pub env_files: Vec<PathBuf>,
    pub labels: Vec<String>,
    pub options: Options,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error(transparent)]
    Mode(#[from] ModeError),
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Spec(#[from] spec::NoCommand),
    #[error(transparent)]
    Record(#[from] record::RecordError),
    #[error("Failed to start the sandbox")]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Session(SessionError),
    #[error(
        "There is no image \"{0}\" here; `hull load` brings in an archive of one, `hull import` a root file system"
    )]
    NoImage(String),
    #[error("--kernel is for virtual machines, and this container would run in host namespaces")]
    KernelNeedsVm,
    #[error("{0}")]
    Died(String),
}

impl From<SessionError> for RunError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Agent(error) => RunError::Agent(error),
            other => RunError::Session(other),
        }
    }
}

impl RunError {
    /// Docker's codes: 127 not found, 126 cannot be executed, 125 all else that is not the command's.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Agent(error) => match error.kind() {
                Some(ErrorKind::CommandNotFound) => 127,
                Some(ErrorKind::CannotExecute) => 126,
                _ => 125,
            },
            _ => 125,
        }
    }
}

/// Runs the container and answers with its exit code.
pub fn run(context: &Context, asked: Foreground) -> Result<u8, RunError> {
    let signals = Signals::block()?;
    let store = Store::open(&context.root, &context.run)?;
    sandbox::sweep::dead(&store);
    let image = catalog::resolve(&store, &asked.image).map_err(|error| match error {
        image::Error::NotFound(name) => RunError::NoImage(name),
        other => other.into(),
    })?;
    let defaults = defaults(&image);
    let (mode, warning) =
        mode::decide(asked.isolation.unwrap_or(context.config.isolation), context.config.require_vm, || {
            probe::verdict(&context.run)
        })?;
    if mode == Isolation::Namespace && asked.kernel.is_some() {
        return Err(RunError::KernelNeedsVm);
    }
    if let Some(warning) = warning {
        eprintln!("hull: warning: {}", escape(&warning));
    }
    let id = names::new_id().map_err(SessionError::Random)?;
    let env = environment(&asked, &defaults, &id)?;
    let command = spec::command(&defaults, &asked.options)?;
    let command = command.iter().map(|word| String::from_utf8_lossy(word.as_bytes()).into_owned()).collect();

    let record = Record::create(&store, &id, &image, mode, &asked, command)?;
    let ended = match run_recorded(context, &store, &record, &image, asked, env, &signals) {
        // What `rm -f` looks like from here; that nothing answers any more is no news then.
        Err(_) if record.is_being_removed(&store) => Ok(record::KILLED),
        other => other,
    };
    record.finish(&store, ended.as_ref().map_or_else(RunError::exit_code, |code| *code));
    ended
}

fn run_recorded(
    context: &Context,
    store: &Store,
    record: &Record,
    image: &Image,
    asked: Foreground,
    env: Vec<Text>,
    signals: &Signals,
) -> Result<u8, RunError> {
    let plan = sandbox::Plan {
        id: &record.id,
        dir: &record.dir,
        run_dir: &record.run_dir,
        uid: record.uid,
        root: catalog::root_for(store, image)?,
        keep_disk: !asked.remove,
        resources: &asked.options.resources,
        kernel: asked.kernel.as_ref().or(context.config.kernel.as_ref()),
        boot_log: context.config.boot_log,
    };
    let mut sandbox = match record.mode {
        Isolation::Vm => sandbox::vm::launch(&plan)?,
        Isolation::Namespace => sandbox::host::launch(&plan)?,
    };
    let (source, cgroup) = (sandbox.root_source(), sandbox.container_cgroup(&record.id));
    let spec = spec::build(&record.id, &defaults(image), asked.options, env, source, cgroup)?;
    let ended = converse(&sandbox, spec, signals);
    let ended = match ended {
        // A closed connection is the symptom; the sandbox's own last word is the cause.
        Err(RunError::Agent(AgentError::Closed)) => Err(RunError::Died(sandbox.cause_of_death())),
        other => other,
    };
    sandbox.end(ended.is_ok() && !record.removed_at_end());
    ended
}

/// The calls, in order, and the streams until the end.
fn converse(sandbox: &Sandbox, spec: ContainerSpec, signals: &Signals) -> Result<u8, RunError> {
    let agent = sandbox.agent();
    let id = spec.id.clone();
    let (terminal, interactive) = (spec.process.terminal.is_some(), spec.process.stdin);
    agent.create(spec)?;
    let attach = |wanted: bool, stream| wanted.then(|| agent.attach(&id, stream)).transpose();
    let streams = Streams {
        stdin: attach(interactive, Stream::Stdin)?,
        stdout: attach(true, Stream::Stdout)?,
        stderr: attach(!terminal, Stream::Stderr)?,
    };
    agent.done(&Request::Start(ContainerArgs { container: id.clone() }))?;
    let status = session::foreground(sandbox, &id, streams, terminal, signals)?;
    if status.oom_killed {
        eprintln!("hull: the container met its memory limit (-m) and the kernel killed a process of it");
    }
    Ok(status.code)
}

fn environment(asked: &Foreground, defaults: &ImageDefaults, id: &str) -> Result<Vec<Text>, EnvError> {
    let hostname = asked.options.hostname.clone().unwrap_or_else(|| spec::default_hostname(id));
    let mut env = spec::environment(defaults, &hostname, asked.options.terminal.is_some());
    for file in &asked.env_files {
        env.apply_file(file)?;
    }
    for word in &asked.env {
        env.apply(word)?;
    }
    Ok(env.into_words())
}

fn defaults(image: &Image) -> ImageDefaults {
    let config = image.config.config.clone();
    ImageDefaults {
        env: config.env,
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        working_dir: config.working_dir,
        user: config.user,
    }
}

/// `KEY=VALUE` words; a key alone has an empty value.
pub fn labels(words: &[String]) -> BTreeMap<String, String> {
    words
        .iter()
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}
