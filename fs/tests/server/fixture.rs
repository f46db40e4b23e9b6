//! A hull-fs, its supervisor's end and a guest that has mounted it.

use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hull_fs::control::{Client, ControlError};
use rustix::fs::CWD;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tempfile::TempDir;

use crate::fuse::Guest;
use crate::machine::Machine;

/// Whether what the tests do is allowed, devices and any owner among it; says so if not.
fn allowed() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let everybody = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    let root = everybody && rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: this needs root of the host");
    }
    root
}

pub struct Server {
    pub process: Child,
    pub control: Option<Client>,
    pub folder: TempDir,
    socket: Option<UnixStream>,
}

impl Server {
    pub fn start<const N: usize>(options: [&str; N]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vhost.sock");
        let listener = OwnedFd::from(UnixListener::bind(&path).unwrap());
        let socket = UnixStream::connect(&path).unwrap();
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hull-fs"));
        command.arg("--control-fd").arg(theirs.as_raw_fd().to_string());
        command.arg("--listen-fd").arg(listener.as_raw_fd().to_string());
        command.args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let (control_fd, listen_fd) = (theirs.as_raw_fd(), listener.as_raw_fd());
        // SAFETY: fcntl(2) only, on descriptors that are open until spawn returns.
        unsafe {
            command.pre_exec(move || {
                for fd in [control_fd, listen_fd] {
                    fcntl_setfd(std::os::fd::BorrowedFd::borrow_raw(fd), FdFlags::empty())?;
                }
                Ok(())
            });
        }
        let process = command.spawn().unwrap();
        let control = Some(Client::new(ours, Duration::from_secs(20)).unwrap());
        Server { process, control, folder, socket: Some(socket) }
    }

    /// A folder to share, empty.
    pub fn source(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    pub fn share(&self, name: &str, source: &Path) -> Result<(), ControlError> {
        self.share_tree(name, tree(source))
    }

    pub fn share_tree(&self, name: &str, tree: OwnedFd) -> Result<(), ControlError> {
        self.control.as_ref().unwrap().add(&name.parse().unwrap(), tree.as_fd())
    }

    pub fn make_read_only(&self, name: &str) -> Result<(), ControlError> {
        self.control.as_ref().unwrap().make_read_only(&name.parse().unwrap())
    }

    pub fn unshare(&self, name: &str) -> Result<(), ControlError> {
        self.control.as_ref().unwrap().remove(&name.parse().unwrap())
    }

    pub fn mount(&mut self) -> Guest {
        Guest::mount(Machine::boot(self.socket.take().unwrap()))
    }

    /// The process that serves: the only child of the one started.
    pub fn server_pid(&self) -> i32 {
        let pid = self.process.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    /// How it ended, and its words.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.process.wait().unwrap();
        let mut words = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        (status, words)
    }
}

/// Whether the test may go on; a server to begin with.
pub fn server() -> Option<Server> {
    server_with([])
}

pub fn server_with<const N: usize>(options: [&str; N]) -> Option<Server> {
    allowed().then(|| Server::start(options))
}

/// A guest that sees one empty folder as `data`, and the folder.
pub fn guest() -> Option<(Server, Guest, PathBuf)> {
    let mut server = server()?;
    let source = server.source("source");
    server.share("data", &source).unwrap();
    let guest = server.mount();
    Some((server, guest, source))
}

/// What the supervisor does to a read-only share (mount_setattr(2)).
pub fn read_only(tree: OwnedFd) -> OwnedFd {
    let attributes = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: an empty path, and four numbers that are a `struct mount_attr`.
    let result = unsafe {
        let attributes = attributes.as_ptr();
        libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, attributes, 32)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    tree
}

/// As the supervisor opens what is shared.
pub fn tree(source: &Path) -> OwnedFd {
    let path = CString::new(source.to_str().unwrap()).unwrap();
    let recursive = OpenTreeFlags::AT_RECURSIVE;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive;
    open_tree(CWD, path, flags).unwrap()
}
