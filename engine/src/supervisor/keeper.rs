//! What takes privileges is done by the supervisor's first thread, one thing after the other: starting
//! and killing processes, the database, folders. It reads nothing that a guest or an agent sends.

use std::sync::mpsc::{self, Receiver, Sender};

use super::record::Kept;

type Job = Box<dyn FnOnce(&Kept) + Send>;

enum Message {
    Job(Job),
    End,
}

/// A handle for the other threads.
#[derive(Clone)]
pub struct Keeper(Sender<Message>);

/// The first thread's end.
pub struct Jobs(Receiver<Message>);

pub fn keeper() -> (Keeper, Jobs) {
    let (sender, receiver) = mpsc::channel();
    (Keeper(sender), Jobs(receiver))
}

/// An answer to come.
pub struct Promise<T>(Receiver<T>);

impl<T> Promise<T> {
    /// None: the supervisor is about to end.
    pub fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl Keeper {
    pub fn begin<T: Send + 'static>(&self, job: impl FnOnce(&Kept) -> T + Send + 'static) -> Promise<T> {
        let (sender, receiver) = mpsc::channel();
        let job = Box::new(move |kept: &Kept| drop(sender.send(job(kept))));
        // A keeper that has gone drops the job, and with it the sender.
        let _ = self.0.send(Message::Job(job));
        Promise(receiver)
    }

    pub fn run<T: Send + 'static>(&self, job: impl FnOnce(&Kept) -> T + Send + 'static) -> Option<T> {
        self.begin(job).wait()
    }

    /// Ends the process, after all that was begun.
    pub fn end(&self) {
        let _ = self.0.send(Message::End);
    }
}

impl Jobs {
    pub fn serve(self, kept: &Kept) {
        for message in self.0 {
            match message {
                Message::Job(job) => job(kept),
                Message::End => return,
            }
        }
    }
}
