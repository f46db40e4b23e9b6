//! What a task is told, and by whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};

use hull_guest::protocol::{ExitStatus, ResizeArgs, Stream};

use super::super::caller::Caller;
use super::super::control;
use super::super::fan::Fan;
use super::super::input::Input;
use super::starting::Starting;
use crate::sandbox::agent::AgentError;

pub enum Order {
    Start(Option<control::WaitArgs>, Caller),
    /// Whoever started the supervisor is gone, and has not said `Start`.
    Abandon,
    Stop {
        args: control::StopArgs,
        again: bool,
        caller: Option<Caller>,
    },
    Kill(u8, Caller),
    Signal(u8, Caller),
    Resize(ResizeArgs, Caller),
    Pause(Caller),
    Resume(Caller),
    Update(Box<control::UpdateArgs>, Caller),
    Wait(control::WaitArgs, Caller),
    /// It is to be removed, and does not run.
    Forget(Caller),
    /// Another task is to take its place, if it does not run; true: it has gone.
    Leave(Sender<bool>),
    /// The pod ends. The sender goes with the task.
    End {
        timeout_seconds: Option<i64>,
        ended: Sender<()>,
    },
    /// The container's files are wanted.
    Export(Caller),
    /// Whoever wanted them has read them, or has gone.
    Exported,
    /// A client that fell behind and was dropped.
    Dropped {
        session: String,
    },
    /// What the agent said of a run's end.
    Ended {
        run: u64,
        result: Result<ExitStatus, AgentError>,
    },
}

/// The others' end of a task.
#[derive(Clone)]
pub struct TaskHandle {
    pub(super) orders: Sender<Order>,
    pub stdout: Fan,
    pub stderr: Fan,
    pub input: Input,
    /// Whether a stream of it can be attached to.
    pub(super) attachable: Arc<AtomicBool>,
    pub(super) starting: Starting,
}

impl TaskHandle {
    pub fn tell(&self, order: Order) {
        self.starting.ordered(&order);
        // A task that is over drops the order, and the caller in it sees its connection close.
        let _ = self.orders.send(order);
    }

    /// Ends the task of a container that does not run. False: it does.
    pub fn leaves(&self) -> bool {
        let (sender, answer) = mpsc::channel();
        self.tell(Order::Leave(sender));
        // One that is over has gone.
        answer.recv().unwrap_or(true)
    }

    /// Whether both are the same task's.
    pub fn is(&self, other: &TaskHandle) -> bool {
        Arc::ptr_eq(&self.attachable, &other.attachable)
    }

    pub fn output(&self, stream: Stream) -> Option<&Fan> {
        match stream {
            Stream::Stdin => None,
            Stream::Stdout => Some(&self.stdout),
            Stream::Stderr => Some(&self.stderr),
        }
    }

    pub fn is_attachable(&self) -> bool {
        self.attachable.load(Ordering::Acquire)
    }
}
