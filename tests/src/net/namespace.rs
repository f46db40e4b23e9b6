//! A network namespace that is there as long as somebody has its descriptor: it has no name that could be left.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use crate::paths;

/// How long a connection or datagram that should not come is waited for.
const UNANSWERED: Duration = Duration::from_secs(2);

pub struct Namespace {
    file: File,
}

impl Namespace {
    /// An empty one, its loopback up.
    pub fn new() -> Namespace {
        // A thread of its own: a namespace is a thread's, and this one has nowhere to go back to.
        let file = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Namespace { file: file.join().unwrap() };
        namespace.ip("link set lo up");
        namespace
    }

    /// What `act` does it does in there.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The command will run in there.
    pub fn place(&self, command: &mut Command) {
        let fd = self.file.try_clone().unwrap();
        // SAFETY: setns(2) is one system call, without locks or memory of the parent's.
        unsafe { command.pre_exec(move || Ok(setns(fd.as_fd(), CloneFlags::CLONE_NEWNET)?)) };
    }

    /// Where others find it as long as this value lives; ip(8) takes it for `netns`.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// `ip WORDS` in there, which must succeed; what it wrote.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        self.run("ip", words.split(' '))
    }

    /// A line of ip(8) each, in there.
    #[track_caller]
    pub fn ip_batch(&self, lines: &str) {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        self.place(&mut command);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("ip: {e}; use tests/run"));
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Any program in there, which must succeed; what it wrote.
    #[track_caller]
    pub fn run<'a>(&self, program: &str, words: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = Command::new(program);
        command.args(words);
        self.place(&mut command);
        let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}; use tests/run"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The body of an answer to `GET /` at an address, asked for from in there.
    pub fn get(&self, at: &str) -> io::Result<String> {
        self.get_path(at, "/")
    }

    pub fn get_path(&self, at: &str, path: &str) -> io::Result<String> {
        self.fetch(at, path, paths::answered_within())
    }

    /// Whether anything answers there, when most likely nothing does.
    pub fn reaches(&self, at: &str) -> bool {
        self.fetch(at, "/", UNANSWERED).is_ok()
    }

    fn fetch(&self, at: &str, path: &str, connected_within: Duration) -> io::Result<String> {
        let at: SocketAddr = at.parse().unwrap();
        self.enter(|| {
            let mut stream = TcpStream::connect_timeout(&at, connected_within)?;
            stream.set_read_timeout(Some(paths::patience()))?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let body = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?.1;
            Ok(body.trim_end().to_owned())
        })
    }

    /// What comes back for a datagram sent from in there.
    pub fn datagram(&self, to: &str, payload: &str) -> io::Result<String> {
        let to: SocketAddr = to.parse().unwrap();
        self.enter(|| {
            let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            socket.set_read_timeout(Some(UNANSWERED))?;
            socket.connect(to)?;
            socket.send(payload.as_bytes())?;
            let mut answer = [0; 1500];
            let length = socket.recv(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).trim_end().to_owned())
        })
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Namespace::new()
    }
}
