//! What may end a start while the task waits for the start's volumes and reads no orders: a plugin, a file server or
//! another container's copy may take long.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, Weak};

use super::super::shared::held;
use super::{Order, SIGKILL};
use crate::volume::attach::{AttachError, Prepared};
use crate::volume::patience::CallOff;

/// How a start's volumes have turned out. None: the start is called off.
pub type News = Option<Result<Prepared, AttachError>>;

/// A task's, which its handles share.
#[derive(Clone)]
pub struct Starting {
    stop_signal: u8,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Orders that end a start, and that the task has not read yet.
    ends: usize,
    start: CallOff,
    /// Whoever attaches the volumes holds it up: the task hears of that one's end, too.
    news: Weak<Sender<News>>,
}

impl Starting {
    pub fn new(stop_signal: u8) -> Starting {
        Starting { stop_signal, state: Arc::default() }
    }

    /// An order is about to be sent.
    pub fn ordered(&self, order: &Order) {
        if self.is_ended_by(order) {
            let mut state = held(&self.state);
            state.ends += 1;
            state.call_off();
        }
    }

    /// The task has it.
    pub fn read(&self, order: &Order) {
        if self.is_ended_by(order) {
            held(&self.state).ends -= 1;
        }
    }

    fn is_ended_by(&self, order: &Order) -> bool {
        match order {
            Order::Kill(signal, _) => *signal == SIGKILL || *signal == self.stop_signal,
            Order::Stop { again, .. } => !again,
            Order::Abandon | Order::End { .. } => true,
            Order::Start(..) | Order::Wait(..) | Order::Forget(_) | Order::Leave(_) => false,
            Order::Signal(..) | Order::Resize(..) | Order::Pause(_) | Order::Resume(_) => false,
            Order::Update(..) | Order::Export(_) | Order::Exported => false,
            Order::Dropped { .. } | Order::Ended { .. } => false,
        }
    }

    /// A start, and both ends of what is heard of it.
    pub fn begin(&self) -> (CallOff, Arc<Sender<News>>, Receiver<News>) {
        let (sender, receiver) = mpsc::channel();
        let sender = Arc::new(sender);
        let mut state = held(&self.state);
        (state.start, state.news) = (CallOff::default(), Arc::downgrade(&sender));
        if state.ends > 0 {
            state.call_off();
        }
        (state.start.clone(), sender, receiver)
    }
}

impl State {
    fn call_off(&self) {
        self.start.call_off();
        if let Some(news) = self.news.upgrade() {
            let _ = news.send(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_is_called_off_by_an_order_that_comes_before_it_or_meanwhile_and_by_none_that_was_read() {
        let starting = Starting::new(15);
        let (start, _held, news) = starting.begin();
        starting.ordered(&Order::Exported);
        assert!(!start.is_off() && news.try_recv().is_err());
        starting.ordered(&Order::Abandon);
        assert!(start.is_off() && news.recv().is_ok_and(|news| news.is_none()));
        let (start, _held, news) = starting.begin();
        assert!(start.is_off() && news.recv().is_ok_and(|news| news.is_none()));
        starting.read(&Order::Abandon);
        let (start, sender, news) = starting.begin();
        assert!(!start.is_off());
        drop(sender);
        assert!(news.recv().is_err(), "nobody attaches volumes any more");
    }
}
