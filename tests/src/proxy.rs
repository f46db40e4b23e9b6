//! A TCP proxy that stops where a case wants it to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// What may pass, from the server to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    /// So many bytes of each connection; what is behind them waits.
    Hold(usize),
    /// Connections are closed, also new ones.
    Cut,
}

struct State {
    gate: Gate,
    /// Whether a connection has come to the end of what may pass.
    reached: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Passes everything on at first.
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn to(server: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State { gate: Gate::Open, reached: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let (server, inner) = (server.to_owned(), shared.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (from_client, to_client) = (client.try_clone().unwrap(), client);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                let inner = inner.clone();
                std::thread::spawn(move || copy(from_client, to_server, None));
                std::thread::spawn(move || copy(from_server, to_client, Some(&inner)));
            }
        });
        Proxy { address, shared }
    }

    /// Holds every connection back behind its first so many bytes.
    pub fn hold_after(&self, bytes: usize) {
        self.set(Gate::Hold(bytes));
    }

    /// Cuts every connection, also those to come.
    pub fn cut(&self) {
        self.set(Gate::Cut);
    }

    /// Lets everything pass again.
    pub fn open(&self) {
        self.set(Gate::Open);
    }

    fn set(&self, gate: Gate) {
        let mut state = self.shared.state.lock().unwrap();
        *state = State { gate, reached: false };
        self.shared.changed.notify_all();
    }

    /// Waits until a connection is held back.
    pub fn wait_until_held(&self) {
        let timeout = crate::paths::patience();
        let state = self.shared.state.lock().unwrap();
        let (state, _) =
            self.shared.changed.wait_timeout_while(state, timeout, |state| !state.reached).unwrap();
        assert!(state.reached, "not that many bytes came through the proxy");
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, shared: Option<&Shared>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let mut bytes = &buffer[..n];
        while !bytes.is_empty() {
            let may = shared.map_or(Some(bytes.len()), |shared| shared.pass(passed, bytes.len()));
            let (now, later) = bytes.split_at(may.unwrap_or(0));
            if may.is_none() || to.write_all(now).is_err() {
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
            passed += now.len();
            bytes = later;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

impl Shared {
    /// How many of so many bytes may pass now, behind those of a connection that have, waiting until some
    /// may; none where the connection is cut.
    fn pass(&self, passed: usize, wanted: usize) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        loop {
            match state.gate {
                Gate::Open => return Some(wanted),
                Gate::Hold(bytes) if bytes > passed => return Some(wanted.min(bytes - passed)),
                Gate::Hold(_) => {
                    state.reached = true;
                    self.changed.notify_all();
                    state = self.changed.wait(state).unwrap();
                }
                Gate::Cut => return None,
            }
        }
    }
}
