//! One output stream of a container: read once, to the log, then to every client.
//!
//! The container waits for its foreground client (`live`): what that does not take is not read. A later
//! client that falls [`BEHIND`] back is dropped, and told so. The log waits for nobody.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Bytes a client that nobody waits for may be behind.
pub const BEHIND: usize = 1 << 20;
const CHUNK: usize = 64 * 1024;

/// Takes each chunk of the stream, and its end.
pub trait Log: Send {
    fn write(&mut self, bytes: &[u8]);
    fn end(&mut self);
}

/// Told when a client is dropped.
pub type OnDrop = Box<dyn Fn() + Send>;

struct Client {
    socket: UnixStream,
    live: bool,
    pending: VecDeque<u8>,
    on_drop: OnDrop,
}

#[derive(Default)]
struct State {
    joining: Vec<Client>,
    /// The reader of the output is to go.
    closing: bool,
    /// The container has ended: what it wrote is read, whoever takes it.
    ended: bool,
    /// And nothing more of it is.
    cut: bool,
}

/// Where clients come in. Outlives the container's runs.
#[derive(Clone)]
pub struct Fan {
    state: Arc<Mutex<State>>,
    wake: Arc<EventFd>,
}

impl Fan {
    pub fn new() -> io::Result<Fan> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Fan { state: Arc::default(), wake: Arc::new(wake) })
    }

    /// From the next output on. `accept` tells the client so, and yields its socket: no output comes before
    /// that, and none is missed by a client that has been told.
    pub fn join(
        &self,
        accept: impl FnOnce() -> io::Result<UnixStream>,
        live: bool,
        on_drop: OnDrop,
    ) -> io::Result<()> {
        let mut state = self.state();
        let socket = accept()?;
        socket.set_nonblocking(true)?;
        state.joining.push(Client { socket, live, pending: VecDeque::new(), on_drop });
        drop(state);
        self.wake();
        Ok(())
    }

    /// Ends the stream for the container, whose next write meets a closed pipe.
    pub fn close(&self) {
        self.state().closing = true;
        self.wake();
    }

    /// The container has ended. No client holds the rest of its output up any more.
    pub fn ended(&self) {
        self.state().ended = true;
        self.wake();
    }

    /// No more is read, whatever an agent goes on to send.
    pub fn cut(&self) {
        self.state().cut = true;
        self.wake();
    }

    /// Before another run.
    pub fn reset(&self) {
        let mut state = self.state();
        (state.closing, state.ended, state.cut) = (false, false, false);
    }

    /// Clients of a run that did not come to be.
    pub fn release(&self) {
        self.state().joining.clear();
    }

    fn wake(&self) {
        // Only a counter at its limit refuses, and that is awake.
        let _ = self.wake.write(1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one run's output, until it has ended and every client has the rest. `drained` hears when all
    /// of it is in the log.
    pub fn carry(&self, source: UnixStream, log: Box<dyn Log>, drained: Sender<()>) {
        let carrier =
            Carrier { fan: self, source: Some(source), log, clients: Vec::new(), drained: Some(drained) };
        carrier.run();
    }
}

struct Carrier<'a> {
    fan: &'a Fan,
    /// None: at its end.
    source: Option<UnixStream>,
    log: Box<dyn Log>,
    clients: Vec<Client>,
    drained: Option<Sender<()>>,
}

impl Carrier<'_> {
    fn run(mut self) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let ended = self.heed_orders();
            if self.source.is_none() && self.clients.iter().all(|client| client.pending.is_empty()) {
                break;
            }
            let may_read = ended || !self.clients.iter().any(|c| c.live && !c.pending.is_empty());
            if !self.wait(may_read) {
                break;
            }
            self.deliver();
            if may_read {
                self.read(&mut buffer);
            }
        }
        self.end_source();
        for client in &self.clients {
            let _ = client.socket.shutdown(Shutdown::Both);
        }
    }

    /// Takes in who has come, and closes what is to be closed. Whether the container has ended.
    ///
    /// At its source's end a carrier has only the rest to deliver: who comes then, and what is ordered, is
    /// for the next run's, which may be there already.
    fn heed_orders(&mut self) -> bool {
        if self.source.is_none() {
            return true;
        }
        let mut state = self.fan.state();
        self.clients.append(&mut state.joining);
        let (closing, ended, cut) = (state.closing, state.ended, state.cut);
        drop(state);
        if cut || closing && !ended {
            self.end_source();
        }
        ended
    }

    /// Until something can be done. False: nothing ever will.
    fn wait(&mut self, may_read: bool) -> bool {
        let reading = self.source.is_some();
        let mut fds = Vec::with_capacity(2 + self.clients.len());
        fds.extend(reading.then(|| readable(self.fan.wake.as_fd())));
        fds.extend(self.source.iter().filter(|_| may_read).map(|s| readable(s.as_fd())));
        for client in &self.clients {
            let wanted = if client.pending.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            fds.push(PollFd::new(client.socket.as_fd(), wanted));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
        let from = fds.len() - self.clients.len();
        let gone = |fd: &PollFd| {
            fd.revents().is_some_and(|got| got.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
        };
        let left: Vec<bool> = fds.iter().skip(from).map(gone).collect();
        let mut left = left.into_iter();
        self.clients.retain(|_| !left.next().unwrap_or(false));
        if reading {
            let _ = self.fan.wake.read();
        }
        true
    }

    /// What clients are behind by.
    fn deliver(&mut self) {
        self.clients.retain_mut(|client| client.pending.is_empty() || flush(client).is_ok());
    }

    fn read(&mut self, buffer: &mut [u8]) {
        let Some(source) = &mut self.source else { return };
        // It may be another descriptor that woke us.
        let mut ready = [readable(source.as_fd())];
        if !matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1..)) {
            return;
        }
        match source.read(buffer) {
            Ok(len @ 1..) => {
                let bytes = buffer.get(..len).unwrap_or_default();
                self.log.write(bytes);
                // Whoever came while this was waited for was told that it misses nothing.
                self.clients.append(&mut self.fan.state().joining);
                self.clients.retain_mut(|client| hand(client, bytes));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => self.end_source(),
        }
    }

    fn end_source(&mut self) {
        if self.source.take().is_some() {
            self.log.end();
        }
        if let Some(drained) = self.drained.take() {
            let _ = drained.send(());
        }
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

/// False: the client goes.
fn hand(client: &mut Client, bytes: &[u8]) -> bool {
    let written = if client.pending.is_empty() {
        match write(&mut client.socket, bytes) {
            Ok(written) => written,
            Err(_) => return false,
        }
    } else {
        0
    };
    client.pending.extend(bytes.get(written..).unwrap_or_default());
    if client.pending.len() > BEHIND {
        (client.on_drop)();
        let _ = client.socket.shutdown(Shutdown::Both);
        return false;
    }
    true
}

fn flush(client: &mut Client) -> io::Result<()> {
    while !client.pending.is_empty() {
        let (front, _) = client.pending.as_slices();
        let written = write(&mut client.socket, front)?;
        if written == 0 {
            return Ok(());
        }
        client.pending.drain(..written);
    }
    if client.pending.capacity() > CHUNK {
        client.pending = VecDeque::new();
    }
    Ok(())
}

/// As much as the socket takes now.
fn write(socket: &mut UnixStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match socket.write(rest) {
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<(usize, bool)>>);

    impl Log for Memory {
        fn write(&mut self, bytes: &[u8]) {
            self.0.lock().unwrap().0 += bytes.len();
        }

        fn end(&mut self) {
            self.0.lock().unwrap().1 = true;
        }
    }

    struct Run {
        fan: Fan,
        container: UnixStream,
        log: Memory,
        drained: mpsc::Receiver<()>,
        carrier: thread::JoinHandle<()>,
    }

    fn start() -> Run {
        run_of(&Fan::new().unwrap())
    }

    fn run_of(fan: &Fan) -> Run {
        let fan = fan.clone();
        let (source, container) = UnixStream::pair().unwrap();
        let log = Memory::default();
        let (sender, drained) = mpsc::channel();
        let carrier = {
            let (fan, log) = (fan.clone(), log.clone());
            thread::spawn(move || fan.carry(source, Box::new(log), sender))
        };
        Run { fan, container, log, drained, carrier }
    }

    fn join(run: &Run, live: bool) -> (UnixStream, mpsc::Receiver<()>) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let (dropped, told) = mpsc::channel();
        run.fan.join(|| Ok(theirs), live, Box::new(move || dropped.send(()).unwrap_or_default())).unwrap();
        (ours, told)
    }

    #[test]
    fn every_client_and_the_log_get_everything() {
        let mut run = start();
        let clients = [join(&run, true), join(&run, false)];
        run.container.write_all(b"hello").unwrap();
        drop(run.container);
        run.drained.recv().unwrap();
        for (mut client, _) in clients {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        }
        run.carrier.join().unwrap();
        assert_eq!(*run.log.0.lock().unwrap(), (5, true));
    }

    #[test]
    fn later_client_that_does_not_read_is_dropped_and_told() {
        let mut run = start();
        let (_idle, told) = join(&run, false);
        run.container.write_all(&vec![b'x'; 4 * BEHIND]).unwrap();
        told.recv().unwrap();
        drop(run.container);
        run.carrier.join().unwrap();
        assert_eq!(run.log.0.lock().unwrap().0, 4 * BEHIND);
    }

    #[test]
    fn container_waits_for_its_foreground_client_until_it_ends() {
        let run = start();
        let (mut client, _told) = join(&run, true);
        run.container.set_nonblocking(true).unwrap();
        let mut wrote = 0;
        let mut container = run.container.try_clone().unwrap();
        let fill = vec![b'x'; CHUNK];
        // Until nothing is taken any more, seen twice in a row.
        let mut refused = 0;
        while refused < 3 {
            match container.write(&fill) {
                Ok(len) => (wrote, refused) = (wrote + len, 0),
                Err(_) => {
                    refused += 1;
                    thread::sleep(std::time::Duration::from_millis(50));
                }
            }
        }
        assert!(wrote < 4 * BEHIND, "{wrote}");
        run.fan.ended();
        drop((container, run.container));
        run.drained.recv().unwrap();
        assert_eq!(*run.log.0.lock().unwrap(), (wrote, true));
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), wrote);
        run.carrier.join().unwrap();
    }

    #[test]
    fn client_that_is_still_behind_takes_nobody_of_the_next_run_with_it() {
        let mut run = start();
        let (_behind, _told) = join(&run, false);
        run.container.write_all(&vec![b'x'; BEHIND / 2]).unwrap();
        run.fan.ended();
        drop(run.container);
        run.drained.recv().unwrap();
        run.fan.reset();
        let mut next = run_of(&run.fan);
        let (mut client, _told) = join(&next, true);
        next.container.write_all(b"hello").unwrap();
        drop(next.container);
        next.drained.recv().unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        next.carrier.join().unwrap();
        assert!(!run.carrier.is_finished());
    }

    #[test]
    fn output_without_an_end_is_cut() {
        let mut run = start();
        run.fan.ended();
        run.fan.cut();
        run.drained.recv().unwrap();
        assert!(run.container.write_all(&[0; 16]).is_err());
        run.carrier.join().unwrap();
    }

    #[test]
    fn closed_output_is_closed_for_the_container() {
        let mut run = start();
        run.fan.close();
        run.drained.recv().unwrap();
        assert!(run.container.write_all(&[0; 16]).is_err());
        run.carrier.join().unwrap();
    }
}
