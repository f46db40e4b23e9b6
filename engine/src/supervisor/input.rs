//! A container's stdin: clients come and go, the container sees one stream.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const CHUNK: usize = 32 * 1024;

enum Stage {
    /// No run has begun: what comes in waits.
    Waiting,
    Open(Arc<UnixStream>),
    Closed,
}

#[derive(Clone)]
pub struct Input {
    stage: Arc<(Mutex<Stage>, Condvar)>,
    terminal: bool,
    /// The first client's end is the end.
    once: bool,
}

impl Input {
    pub fn new(terminal: bool, once: bool) -> Input {
        Input { stage: Arc::new((Mutex::new(Stage::Waiting), Condvar::new())), terminal, once }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage() = stage;
        self.stage.1.notify_all();
    }

    /// A run begins, whose stdin this is.
    pub fn open(&self, container: UnixStream) {
        self.set(Stage::Open(Arc::new(container)));
    }

    /// The run has ended. Whoever writes is let go.
    pub fn close(&self) {
        let before = std::mem::replace(&mut *self.stage(), Stage::Closed);
        if let Stage::Open(container) = before {
            let _ = container.shutdown(Shutdown::Both);
        }
        self.stage.1.notify_all();
    }

    /// Before another run: what comes in waits again.
    pub fn reset(&self) {
        self.set(Stage::Waiting);
    }

    fn container(&self) -> Option<Arc<UnixStream>> {
        let mut stage = self.stage();
        loop {
            match &*stage {
                Stage::Open(container) => return Some(container.clone()),
                Stage::Closed => return None,
                Stage::Waiting => {
                    stage = self.stage.1.wait(stage).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Copies what a client sends until either side ends.
    pub fn feed(&self, mut client: UnixStream) {
        let Some(container) = self.container() else { return };
        let mut buffer = vec![0; CHUNK];
        loop {
            match client.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(len) => {
                    let mut to = &*container;
                    if to.write_all(buffer.get(..len).unwrap_or_default()).is_err() {
                        return;
                    }
                }
            }
        }
        // A terminal outlives a client that has gone without a word; one that closed its input sends the
        // end of it.
        let ends = if self.terminal { !is_gone(&client) } else { self.once };
        if ends {
            let _ = container.shutdown(Shutdown::Write);
        }
    }
}

/// Whether the peer has closed the connection, and not only its half of it.
fn is_gone(client: &UnixStream) -> bool {
    let mut fds = [PollFd::new(client.as_fd(), PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    polled.is_err() || fds[0].revents().is_some_and(|got| got.contains(PollFlags::POLLHUP))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn text(mut stream: UnixStream) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
    }

    #[test]
    fn what_comes_before_the_run_waits_for_it() {
        let input = Input::new(false, true);
        let (mut client, theirs) = UnixStream::pair().unwrap();
        let feeding = {
            let input = input.clone();
            thread::spawn(move || input.feed(theirs))
        };
        client.write_all(b"early").unwrap();
        drop(client);
        let (ours, container) = UnixStream::pair().unwrap();
        input.open(ours);
        assert_eq!(text(container).join().unwrap(), "early");
        feeding.join().unwrap();
    }

    #[test]
    fn terminal_outlives_its_client_and_is_told_an_end_that_was_sent() {
        let input = Input::new(true, true);
        let (ours, container) = UnixStream::pair().unwrap();
        input.open(ours);
        let reading = text(container);
        let (mut client, theirs) = UnixStream::pair().unwrap();
        client.write_all(b"one").unwrap();
        drop(client);
        input.feed(theirs);
        let (mut client, theirs) = UnixStream::pair().unwrap();
        client.write_all(b" two").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        input.feed(theirs);
        assert_eq!(reading.join().unwrap(), "one two");
    }

    #[test]
    fn end_of_the_run_lets_go_of_a_client_that_waits() {
        let input = Input::new(false, false);
        let (_client, theirs) = UnixStream::pair().unwrap();
        let feeding = {
            let input = input.clone();
            thread::spawn(move || input.feed(theirs))
        };
        input.close();
        feeding.join().unwrap();
    }
}
