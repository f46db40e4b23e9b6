//! `hull exec`: processes beside the command. The agent knows them by ids of their own; the supervisor
//! only sees to it that each is waited for, and forgotten.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use hull_guest::protocol::{
    CallError, ContainerArgs, ExitStatus, Outcome, Request, ResizeArgs, SignalArgs, Stream,
};

use super::caller::{self, Caller, state_error};
use super::control::{Answer, ExecArgs, Exit, Measured, Reply};
use super::shared::{Shared, held, start_thread};
use crate::sandbox::agent::{Agent, AgentError};

/// At most so many at a time, of all containers of the sandbox: each takes a thread here.
const MAX: usize = 256;

/// Those that run, each with its container.
#[derive(Default)]
pub struct Execs(Mutex<HashMap<String, String>>);

impl Execs {
    fn knows(&self, id: &str) -> bool {
        held(&self.0).contains_key(id)
    }
}

/// One that the agent has prepared. Dropping it forgets it.
struct Exec {
    shared: Arc<Shared>,
    agent: Agent,
    id: String,
    container: String,
}

impl Exec {
    fn args(&self) -> ContainerArgs {
        ContainerArgs { container: self.id.clone() }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        let _ = self.agent.done(&Request::Delete(self.args()));
        held(&self.shared.execs.0).remove(&self.id);
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

/// Starts the process, hands its streams over, and says how it ended when it has. A caller that leaves takes
/// nothing with it.
pub fn run(shared: &Arc<Shared>, args: ExecArgs, caller: Caller) {
    // A terminal outlives a client that goes without a word: its input stays open here, too.
    let input = args.streams.iter().position(|stream| *stream == Stream::Stdin);
    let input = input.filter(|_| args.spec.process.terminal.is_some());
    let (exec, mut streams, waiting) = match begin(shared, args) {
        Ok(begun) => begun,
        Err(error) => return caller.refuse(error),
    };
    let _ = caller.hand_over(&streams);
    let input = input.map(|place| streams.swap_remove(place));
    drop(streams);
    // The thread that read the call goes back to those there are for that.
    let waiter = start_thread("exec", move || {
        let _input = input;
        let exit = exit(exec.agent.wait_reply(&waiting));
        record(&exec.shared, &exec.container, "exec_die".to_string(), &exec.id, Some(exit.code));
        drop(exec);
        caller.answer(&Ok(Answer::Exited(exit)));
    });
    // Those that end with the container are told before the supervisor ends.
    waiter.into_iter().for_each(|waiter| shared.remember(waiter));
}

/// From what was asked for to a process that runs, its streams and the connection that its end comes by.
fn begin(shared: &Arc<Shared>, args: ExecArgs) -> Result<(Exec, Vec<UnixStream>, UnixStream), CallError> {
    let ExecArgs { spec, streams } = args;
    shared.task(&spec.container)?;
    let agent = agent(shared)?;
    let (id, container) = (spec.exec_id.clone(), spec.container.clone());
    let words = spec.process.args.iter().map(|word| String::from_utf8_lossy(word.as_bytes()));
    let command = words.collect::<Vec<_>>().join(" ");
    {
        let mut all = held(&shared.execs.0);
        if all.len() >= MAX {
            return Err(state_error(format!("There are {MAX} execs in this sandbox already")));
        }
        all.insert(id.clone(), container.clone());
    }
    let exec = Exec { shared: shared.clone(), agent, id, container };
    exec.agent.exec(spec).map_err(refused)?;
    record(shared, &exec.container, format!("exec_create: {command}"), &exec.id, None);
    let attached = streams.iter().map(|stream| exec.agent.attach(&exec.id, *stream).map_err(refused));
    let attached = attached.collect::<Result<Vec<_>, _>>()?;
    let waiting = exec.agent.wait_begin(&exec.id).map_err(refused)?;
    exec.agent.done(&Request::Start(exec.args())).map_err(refused)?;
    record(shared, &exec.container, format!("exec_start: {command}"), &exec.id, None);
    Ok((exec, attached, waiting))
}

fn exit(waited: Result<ExitStatus, AgentError>) -> Exit {
    match waited {
        Ok(status) => Exit { code: status.code.into(), oom_killed: status.oom_killed, error: String::new() },
        // It ended with the container, or with the sandbox.
        Err(_) => Exit { code: 137, ..Exit::default() },
    }
}

/// A signal or a size for an exec; None: the id is none of an exec.
pub fn signal(shared: &Shared, args: &SignalArgs) -> Option<Reply> {
    shared.execs.knows(&args.container).then(|| ask(shared, &Request::Signal(args.clone())))
}

pub fn resize(shared: &Shared, args: &ResizeArgs) -> Option<Reply> {
    shared.execs.knows(&args.container).then(|| ask(shared, &Request::Resize(args.clone())))
}

fn ask(shared: &Shared, request: &Request) -> Reply {
    agent(shared)?.done(request).map(|()| Answer::Done).map_err(refused)
}

/// A container's processes, in the agent's words.
pub fn list(shared: &Shared, args: ContainerArgs) -> Reply {
    shared.task(&args.container)?;
    agent(shared)?.ask(&Request::Top(args)).map(Answer::Agent).map_err(refused)
}

/// What a container uses, and who on the host there is for it.
pub fn measure(shared: &Shared, args: ContainerArgs) -> Reply {
    shared.task(&args.container)?;
    let sandbox = shared.running_sandbox().map(|sandbox| sandbox.pid());
    let pids = [Some(std::process::id()), sandbox].into_iter().flatten().collect();
    match agent(shared)?.ask(&Request::Stats(args)).map_err(refused)? {
        Outcome::Stats(stats) => Ok(Answer::Measured(Box::new(Measured { stats, pids }))),
        _ => Err(caller::failure(&AgentError::Unexpected("stats"))),
    }
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
