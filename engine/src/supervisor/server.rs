//! The control socket: a thread a call, which hands the caller on to whoever answers it.

use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hull_guest::protocol::{CallError, ErrorKind, FrameError, Stream, decode_len, read_frame};
use nix::sys::socket::{MsgFlags, getsockopt, recv, sockopt::PeerCredentials};

use super::ContainerPlan;
use super::caller::{self, Caller, state_error};
use super::control::{Answer, AttachArgs, Call, Hello, VERSION};
use super::exec;
use super::fan::Fan;
use super::shared::{NotAdded, Shared, start_thread};
use super::task::{Order, TaskHandle};

/// What a caller may take to say what it wants.
const LIMIT: Duration = Duration::from_secs(10);
/// A call that is read as soon as it is there; longer ones take a thread.
const SMALL: usize = 64 * 1024;
/// Before another try at a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);
/// Calls being read or feeding a stdin, at a time. More wait to be accepted.
const MAX: usize = 128;

pub fn start(shared: &Arc<Shared>, listener: UnixListener, starter: UnixStream) {
    let first = shared.clone();
    start_thread("starter", move || {
        // It may take its time: the container is being prepared meanwhile.
        if !serve(&first, starter, None) {
            first.tasks().iter().for_each(|task| task.tell(Order::Abandon));
        }
    });
    let shared = shared.clone();
    start_thread("control", move || accept(&shared, &listener));
}

fn accept(shared: &Arc<Shared>, listener: &UnixListener) {
    let busy = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming() {
        let Ok(connection) = connection else {
            // Out of descriptors, most likely: the connection stays in the queue, and asking again at once
            // would find it there.
            thread::sleep(PAUSE);
            continue;
        };
        if !may_call(&connection) {
            continue;
        }
        let call = is_whole(&connection).then(|| read_frame::<Call>(&mut &connection));
        match call {
            Some(Ok(call)) if !may_block(&call) => dispatch(shared, call, Caller::new(connection)),
            Some(Err(error)) => refuse(Caller::new(connection), &error),
            Some(Ok(call)) => serve_apart(shared, connection, Some(call), &busy),
            None => serve_apart(shared, connection, None, &busy),
        }
    }
}

/// Whether all of a call is there to be read: clients write it in one piece, so most of the time it is.
fn is_whole(connection: &UnixStream) -> bool {
    let mut header = [0; 4];
    let peek = |bytes: &mut [u8]| {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(connection.as_raw_fd(), bytes, flags).unwrap_or(0)
    };
    if peek(&mut header) < header.len() {
        return false;
    }
    match decode_len(header) {
        Ok(len) if len <= SMALL => peek(&mut vec![0; header.len() + len]) == header.len() + len,
        Ok(_) | Err(_) => false,
    }
}

fn refuse(caller: Caller, error: &FrameError) {
    let message = format!("The supervisor (release {}): {}", release(), caller::chain(error));
    caller.refuse(CallError { kind: ErrorKind::Invalid, message });
}

/// Whether whoever answers it may have to wait for an agent, or for the caller.
fn may_block(call: &Call) -> bool {
    match call {
        Call::Up | Call::Add(_) | Call::Stats(_) | Call::Top(_) | Call::Exec(_) => true,
        Call::End(_) | Call::Signal(_) | Call::Resize(_) | Call::Connect(_) | Call::Disconnect(_) => true,
        Call::Attach(args) => args.stream == Stream::Stdin,
        Call::Hello(_) | Call::Start(_) | Call::CloseOutput(_) | Call::Wait(_) => false,
        Call::Stop(_) | Call::Restart(_) | Call::Kill(_) | Call::Pause(_) | Call::Resume(_) => false,
        Call::Update(_) | Call::Forget(_) | Call::Export(_) => false,
    }
}

fn serve_apart(shared: &Arc<Shared>, connection: UnixStream, call: Option<Call>, busy: &Arc<AtomicUsize>) {
    if busy.load(Ordering::Acquire) >= MAX {
        return Caller::new(connection).refuse(state_error("The supervisor has too many callers; try again"));
    }
    let (shared, busy) = (shared.clone(), Busy::new(busy));
    start_thread("call", move || {
        let _busy = busy;
        match call {
            Some(call) => dispatch(&shared, call, Caller::new(connection)),
            None => drop(serve(&shared, connection, Some(LIMIT))),
        }
    });
}

/// One call more, until it is dropped: by its thread, or because there was none to be had.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(count: &Arc<AtomicUsize>) -> Busy {
        count.fetch_add(1, Ordering::AcqRel);
        Busy(count.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Root, or the user the supervisor runs as.
fn may_call(connection: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    getsockopt(connection, PeerCredentials).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// False: the connection closed before it had said anything.
fn serve(shared: &Arc<Shared>, connection: UnixStream, limit: Option<Duration>) -> bool {
    let _ = connection.set_read_timeout(limit);
    let call = read_frame::<Call>(&mut &connection);
    let _ = connection.set_read_timeout(None);
    let caller = Caller::new(connection);
    match call {
        Ok(call) => dispatch(shared, call, caller),
        Err(FrameError::Io(_)) => return false,
        Err(error) => refuse(caller, &error),
    }
    true
}

fn release() -> String {
    env!("CARGO_PKG_VERSION").to_string()
}

fn dispatch(shared: &Arc<Shared>, call: Call, caller: Caller) {
    match call {
        Call::Hello(_) => {
            let hello = Hello { version: VERSION, release: release(), pid: std::process::id() };
            caller.answer(&Ok(Answer::Hello(hello)));
        }
        Call::Up => up(shared, caller),
        Call::Add(plan) => add(shared, *plan, caller),
        Call::Start(args) => {
            order(shared, &args.container, caller, |caller| Order::Start(args.wait, caller));
        }
        Call::Attach(args) => attach(shared, args, caller),
        Call::CloseOutput(args) => match shared.task(&args.container) {
            Ok(task) => {
                task.output(args.stream).into_iter().for_each(Fan::close);
                caller.done();
            }
            Err(error) => caller.refuse(error),
        },
        Call::Wait(args) => {
            order(shared, &args.container.clone(), caller, |caller| Order::Wait(args, caller));
        }
        Call::Stop(args) => order(shared, &args.container.clone(), caller, |caller| Order::Stop {
            args,
            again: false,
            caller: Some(caller),
        }),
        Call::Restart(args) => order(shared, &args.container.clone(), caller, |caller| Order::Stop {
            args,
            again: true,
            caller: Some(caller),
        }),
        Call::Kill(args) => {
            order(shared, &args.container, caller, |caller| Order::Kill(args.signal, caller));
        }
        Call::Signal(args) => match exec::signal(shared, &args) {
            Some(reply) => caller.answer(&reply),
            None => order(shared, &args.container, caller, |caller| Order::Signal(args.signal, caller)),
        },
        Call::Resize(args) => match exec::resize(shared, &args) {
            Some(reply) => caller.answer(&reply),
            None => {
                order(shared, &args.container.clone(), caller, |caller| Order::Resize(args, caller));
            }
        },
        Call::Pause(args) => order(shared, &args.container, caller, Order::Pause),
        Call::Resume(args) => order(shared, &args.container, caller, Order::Resume),
        Call::Update(args) => {
            order(shared, &args.container.clone(), caller, |caller| Order::Update(args, caller));
        }
        Call::Forget(args) => order(shared, &args.container, caller, Order::Forget),
        Call::Export(args) => order(shared, &args.container, caller, Order::Export),
        Call::Stats(args) => caller.answer(&exec::measure(shared, args)),
        Call::Top(args) => caller.answer(&exec::list(shared, args)),
        Call::Exec(args) => exec::run(shared, *args, caller),
        Call::Connect(args) => caller.answer(&shared.connect(&args.endpoint)),
        Call::Disconnect(args) => caller.answer(&shared.disconnect(&args.endpoint)),
        Call::End(args) if shared.is_pod() => {
            shared.keep_until_end(caller);
            shared.end_pod(args.timeout_seconds);
        }
        Call::End(_) => caller.refuse(state_error("This sandbox is a container's own; stop that")),
    }
}

fn up(shared: &Arc<Shared>, caller: Caller) {
    if shared.is_ending() {
        // Its connection closes when another can be started.
        return shared.keep_until_end(caller);
    }
    match shared.sandbox() {
        Ok(_) => caller.done(),
        Err(error) => {
            caller.refuse(caller::failure(&error));
            shared.end_if_empty();
        }
    }
}

/// What comes next on the connection is the container's start.
fn add(shared: &Arc<Shared>, plan: ContainerPlan, caller: Caller) {
    if !shared.is_pod() {
        return caller.refuse(state_error("This sandbox is a container's own, and no pod"));
    }
    if let Ok(present) = shared.task(&plan.id)
        && !present.leaves()
    {
        return caller.refuse(state_error("The container runs already"));
    }
    let task = match shared.add(plan) {
        Ok(task) => task,
        Err(NotAdded::Ending) => return shared.keep_until_end(caller),
        Err(NotAdded::Thread) => return caller.refuse(state_error("There is no thread to be had for it")),
    };
    let started = caller.into_stream().is_ok_and(|connection| serve(shared, connection, None));
    if !started {
        task.tell(Order::Abandon);
    }
}

fn order(shared: &Shared, container: &str, caller: Caller, order: impl FnOnce(Caller) -> Order) {
    match shared.task(container) {
        Ok(task) => task.tell(order(caller)),
        Err(error) => caller.refuse(error),
    }
}

fn attach(shared: &Shared, args: AttachArgs, caller: Caller) {
    let task = match shared.task(&args.container) {
        Ok(task) if task.is_attachable() => task,
        Ok(_) => return caller.refuse(state_error("The container is not running")),
        Err(error) => return caller.refuse(error),
    };
    match task.output(args.stream) {
        Some(fan) => join(&task, fan, args, caller),
        None => {
            if let Ok(stream) = caller.into_stream() {
                task.input.feed(stream);
            }
        }
    }
}

fn join(task: &TaskHandle, fan: &Fan, args: AttachArgs, caller: Caller) {
    let (task, session) = (task.clone(), args.session);
    let on_drop = move || task.tell(Order::Dropped { session: session.clone() });
    if let Err(error) = fan.join(|| caller.into_stream(), args.live, Box::new(on_drop)) {
        eprintln!("Failed to attach a client: {error}");
    }
}
