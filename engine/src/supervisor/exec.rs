//! `hull exec`: processes beside the command. The agent knows them by ids of their own; the supervisor
//! only sees to it that each is waited for, and forgotten.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use hull_guest::protocol::{
    CallError, ContainerArgs, ErrorKind, ExecSpec, ExitStatus, Request, ResizeArgs, SignalArgs,
};

use super::caller::{self, Caller, state_error};
use super::control::{Answer, ExecStartArgs, Exit, OutputArgs, Reply};
use super::shared::{Shared, held, start_thread};
use crate::sandbox::agent::{Agent, AgentError};

/// At most so many at a time, of all containers of the sandbox: each takes a thread here.
const MAX: usize = 256;

#[derive(Default)]
pub struct Execs(Mutex<HashMap<String, Exec>>);

struct Exec {
    container: String,
    command: String,
    waiters: Vec<Caller>,
}

impl Execs {
    fn container(&self, id: &str) -> Option<String> {
        held(&self.0).get(id).map(|exec| exec.container.clone())
    }
}

fn agent(shared: &Shared) -> Result<Agent, CallError> {
    let sandbox = shared.running_sandbox();
    sandbox.map(|sandbox| sandbox.agent().clone()).ok_or_else(|| state_error("The container is not running"))
}

fn refused(error: AgentError) -> CallError {
    match error {
        AgentError::Refused(error) => error,
        error => caller::failure(&error),
    }
}

pub fn create(shared: &Shared, spec: ExecSpec) -> Reply {
    shared.task(&spec.container)?;
    let (id, container) = (spec.exec_id.clone(), spec.container.clone());
    let words = spec.process.args.iter().map(|word| String::from_utf8_lossy(word.as_bytes()));
    let command = words.collect::<Vec<_>>().join(" ");
    if held(&shared.execs.0).len() >= MAX {
        return Err(state_error(format!("There are {MAX} execs in this sandbox already")));
    }
    agent(shared)?.exec(spec).map_err(refused)?;
    record(shared, &container, format!("exec_create: {command}"), &id, None);
    held(&shared.execs.0).insert(id, Exec { container, command, waiters: Vec::new() });
    Ok(Answer::Done)
}

/// The agent's own stream, for the client: nobody is between them from here on.
pub fn attach(shared: &Shared, args: &OutputArgs) -> Result<UnixStream, CallError> {
    agent(shared)?.attach(&args.container, args.stream).map_err(refused)
}

pub fn start(shared: &Arc<Shared>, args: &ExecStartArgs, caller: Caller) {
    let id = &args.exec_id;
    let started = begin(shared, id);
    let agent = match started {
        Ok(agent) => agent,
        Err(error) => return caller.refuse(error),
    };
    if !args.wait {
        caller.done();
    } else if caller.promise()
        && let Some(exec) = held(&shared.execs.0).get_mut(id)
    {
        exec.waiters.push(caller);
    }
    let (of_reaper, id) = (shared.clone(), id.clone());
    // Without a thread it stays until its container ends.
    start_thread("exec", move || {
        let waited = agent.wait_begin(&id).and_then(|waiting| agent.wait_reply(&waiting));
        end(&of_reaper, &agent, &id, exit(waited));
    });
}

fn begin(shared: &Shared, id: &str) -> Result<Agent, CallError> {
    let agent = agent(shared)?;
    let known = held(&shared.execs.0).get(id).map(|exec| (exec.container.clone(), exec.command.clone()));
    let (container, command) = known.ok_or_else(|| no_exec(id))?;
    if let Err(error) = agent.done(&Request::Start(ContainerArgs { container: id.to_string() })) {
        let error = refused(error);
        let code = match error.kind {
            ErrorKind::CommandNotFound => 127,
            ErrorKind::CannotExecute => 126,
            _ => 128,
        };
        end(shared, &agent, id, Exit { code, oom_killed: false, error: error.message.clone() });
        return Err(error);
    }
    record(shared, &container, format!("exec_start: {command}"), id, None);
    Ok(agent)
}

fn exit(waited: Result<ExitStatus, AgentError>) -> Exit {
    match waited {
        Ok(status) => Exit { code: status.code.into(), oom_killed: status.oom_killed, error: String::new() },
        // It ended with the container, or with the sandbox.
        Err(_) => Exit { code: 137, ..Exit::default() },
    }
}

fn end(shared: &Shared, agent: &Agent, id: &str, exit: Exit) {
    let _ = agent.done(&Request::Delete(ContainerArgs { container: id.to_string() }));
    let Some(exec) = held(&shared.execs.0).remove(id) else { return };
    record(shared, &exec.container, "exec_die".to_string(), id, Some(exit.code));
    for waiter in exec.waiters {
        waiter.answer(&Ok(Answer::Exited(exit.clone())));
    }
}

/// A signal or a size for an exec; None: the id is none of an exec.
pub fn signal(shared: &Shared, args: &SignalArgs) -> Option<Reply> {
    shared.execs.container(&args.container)?;
    Some(ask(shared, &Request::Signal(args.clone())))
}

pub fn resize(shared: &Shared, args: &ResizeArgs) -> Option<Reply> {
    shared.execs.container(&args.container)?;
    Some(ask(shared, &Request::Resize(args.clone())))
}

fn ask(shared: &Shared, request: &Request) -> Reply {
    agent(shared)?.done(request).map(|()| Answer::Done).map_err(refused)
}

/// Any question whose answer is the agent's own.
pub fn question(shared: &Shared, request: &Request) -> Reply {
    agent(shared)?.ask(request).map(Answer::Agent).map_err(refused)
}

fn no_exec(id: &str) -> CallError {
    CallError { kind: ErrorKind::NoContainer, message: format!("There is no exec {id}") }
}

fn record(shared: &Shared, container: &str, action: String, exec: &str, code: Option<i32>) {
    let (container, exec) = (container.to_string(), exec.to_string());
    // Nobody waits for it.
    drop(shared.keeper.begin(move |kept| {
        let code = code.map(|code| code.to_string());
        let mut attributes = vec![("execID", exec.as_str())];
        attributes.extend(code.as_deref().map(|code| ("exitCode", code)));
        kept.event(&container, &action, &attributes);
    }));
}
