//! A server that answers as its test tells it, one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What came, and which one it is.
#[derive(Debug, Clone)]
pub struct Seen {
    pub number: usize,
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub enum Reply {
    /// These bytes, then the connection ends.
    Bytes(Vec<u8>),
    /// These bytes, then nothing, as long as the test runs.
    Hang(Vec<u8>),
    /// The first once, the second until nobody listens.
    Endless(Vec<u8>, Vec<u8>),
    /// The bytes to another server, and back.
    Tunnel(SocketAddr),
}

/// An answer with a length.
pub fn reply(status: &str, headers: &str, body: &[u8]) -> Reply {
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

pub fn ok(body: &[u8]) -> Reply {
    reply("200 OK", "", body)
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    tls: Option<Arc<ServerConfig>>,
    seen: Mutex<Vec<Seen>>,
    held: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

pub struct TestServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub fn new(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Box::new(script), None)
    }

    pub fn with_tls(config: ServerConfig, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Box::new(script), Some(Arc::new(config)))
    }

    fn start(script: Box<Script>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            tls,
            seen: Mutex::default(),
            held: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.over.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, stream) = (Arc::clone(&serving), stream.unwrap());
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// `127.0.0.1:port`
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.line().to_owned()).collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        // A client that hangs must not hang the test for ever.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut first = [0];
        let is_tls = matches!(stream.peek(&mut first), Ok(1)) && first == [0x16];
        match &self.tls {
            Some(config) if is_tls => {
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                let socket = stream.try_clone().unwrap();
                let _ = self.answer(StreamOwned::new(connection, stream), socket);
            }
            None if !is_tls => {
                let socket = stream.try_clone().unwrap();
                let _ = self.answer(stream, socket);
            }
            _ => {}
        }
    }

    fn answer(&self, mut stream: impl Read + Write, socket: TcpStream) -> std::io::Result<()> {
        let Some(seen) = self.read_request(&mut stream)? else { return Ok(()) };
        match (self.script)(&seen) {
            Reply::Bytes(bytes) => {
                stream.write_all(&bytes)?;
                stream.flush()?;
            }
            Reply::Hang(bytes) => {
                stream.write_all(&bytes)?;
                stream.flush()?;
                self.held.lock().unwrap().push(socket);
            }
            Reply::Endless(first, again) => {
                stream.write_all(&first)?;
                while !self.over.load(Ordering::SeqCst) {
                    stream.write_all(&again)?;
                }
            }
            Reply::Tunnel(to) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                tunnel(socket, TcpStream::connect(to)?);
            }
        }
        Ok(())
    }

    fn read_request(&self, stream: &mut impl Read) -> std::io::Result<Option<Seen>> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte)? == 0 {
                return Ok(None);
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut seen = self.seen.lock().unwrap();
        let mut request = Seen { number: seen.len(), head, body: Vec::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        stream.take(length).read_to_end(&mut request.body)?;
        seen.push(request.clone());
        Ok(Some(request))
    }
}

fn tunnel(one: TcpStream, other: TcpStream) {
    let (mut from, mut to) = (one.try_clone().unwrap(), other.try_clone().unwrap());
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut to, &mut from);
        let _ = from.shutdown(std::net::Shutdown::Both);
    });
    let (mut one, mut other) = (one, other);
    let _ = std::io::copy(&mut one, &mut other);
    let _ = other.shutdown(std::net::Shutdown::Write);
    let _ = back.join();
}
