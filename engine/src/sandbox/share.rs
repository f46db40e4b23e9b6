//! hull-fs beside hull-vmm: the process that shows a machine those of the host's files that it may see.
//!
//! Its life is the control socket's, like a VMM's; what it serves is added and removed through that socket, while the
//! machine runs.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use hull_fs::control::{BadName, Client, ControlError, ShareName};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::death::{self, LastWords};
use super::spawn::{Child, Ending, FIRST_FD, Spawn};
use super::{DYING, END_LIMIT, LaunchError, held, socket};

/// An answer takes a few system calls; a host that swaps may take its time.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    #[error("The sandbox has no file server")]
    None,
    #[error("The sandbox's file server is ending")]
    Ending,
    #[error("The sandbox's file server did not take it")]
    Control(#[from] ControlError),
    #[error(transparent)]
    Name(#[from] BadName),
}

/// The socket that machine and file server meet at. It has no name any more when this is made.
pub struct Meeting {
    listener: UnixListener,
    machine: UnixStream,
}

impl Meeting {
    /// In the sandbox's folder of sockets, which is nobody's else.
    pub fn new(run_dir: &Path) -> Result<Meeting, LaunchError> {
        let path = run_dir.join("fs.sock");
        let failed = |source| LaunchError::file("listen on the socket", &path, source);
        // Of a machine that was killed in between.
        let _ = fs::remove_file(&path);
        let listener = socket::listen(&path).map_err(failed)?;
        let machine = socket::connect(&path).map_err(failed)?;
        fs::remove_file(&path).map_err(failed)?;
        Ok(Meeting { listener, machine })
    }

    /// The machine's end, which is in the listener's queue already.
    pub fn machine(&self) -> io::Result<OwnedFd> {
        Ok(self.machine.try_clone()?.into())
    }
}

#[derive(Debug)]
pub struct FileServer {
    child: Child,
    control: Mutex<Option<Control>>,
    last_words: Mutex<LastWords>,
}

#[derive(Debug)]
struct Control {
    client: Client,
    /// Names are never used twice: a guest may hold on to what it had.
    next: u64,
}

impl FileServer {
    /// Starts it, in the sandbox's cgroup where there is one. `max_files`: what it may have open.
    pub fn start(
        program: &File,
        meeting: Meeting,
        cgroup: Option<BorrowedFd<'_>>,
        max_files: u64,
    ) -> Result<FileServer, LaunchError> {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (ours, theirs) = pair.map_err(|e| LaunchError::system("make a socket pair")(e.into()))?;
        let client = Client::new(ours, PATIENCE)
            .map_err(|e| LaunchError::system("prepare a socket")(io::Error::other(e)))?;
        let last_words = LastWords::new().map_err(LaunchError::system("make a memory file"))?;
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(LaunchError::system("open /dev/null"))?;
        let numbers = [FIRST_FD, FIRST_FD + 1].map(|number| number.to_string());
        let [control, listen] = &numbers;
        let files = max_files.to_string();
        let args = ["hull-fs", "--control-fd", control, "--listen-fd", listen, "--max-files", &files];
        let args = args.map(|word| CString::new(word).unwrap_or_default());
        let child = Spawn {
            program: program.as_fd(),
            args: &args,
            null: null.as_fd(),
            stderr: last_words.writer(),
            handed: &[theirs.as_fd(), meeting.listener.as_fd()],
            cgroup,
        }
        .start()
        .map_err(LaunchError::system("start hull-fs"))?;
        let control = Mutex::new(Some(Control { client, next: 0 }));
        Ok(FileServer { child, control, last_words: Mutex::new(last_words) })
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Shows a detached mount, and returns the name that the guest finds it under.
    pub fn add(&self, tree: BorrowedFd<'_>) -> Result<String, ShareError> {
        let mut control = held(&self.control);
        let control = control.as_mut().ok_or(ShareError::Ending)?;
        let name: ShareName = format!("s{}", control.next).parse()?;
        control.next += 1;
        control.client.add(&name, tree)?;
        Ok(name.into())
    }

    /// Takes all writing from what is shown.
    pub fn make_read_only(&self, name: &str) -> Result<(), ShareError> {
        let control = held(&self.control);
        let control = control.as_ref().ok_or(ShareError::Ending)?;
        Ok(control.client.make_read_only(&name.parse()?)?)
    }

    pub fn remove(&self, name: &str) -> Result<(), ShareError> {
        let control = held(&self.control);
        let control = control.as_ref().ok_or(ShareError::Ending)?;
        Ok(control.client.remove(&name.parse()?)?)
    }

    /// How it came to its end, in words; none if that was not its own, or has not come. `for_memory`: the kernel has
    /// killed a process of the sandbox for want of memory.
    pub fn last_words(&self, for_memory: bool) -> Option<String> {
        let ending = self.child.ending(DYING)?;
        let text = held(&self.last_words).text();
        Some(match (ending, text.trim_end_matches([';', ' '])) {
            // It knows how its child ended that served the guest.
            (Ending::Exited(_), said) if !said.is_empty() => {
                let killer = "; the host's OOM killer was at work";
                format!("{said}{}", if for_memory { killer } else { "" })
            }
            // Its machine has hung up.
            (Ending::Exited(0), _) => return None,
            (ending, said) => death::told("hull-fs", Some(ending), for_memory, said),
        })
    }

    /// Ends it, which it does by itself when its machine has.
    pub fn end(&self) {
        held(&self.control).take();
        self.child.end(END_LIMIT);
    }

    pub fn kill(&self) {
        held(&self.control).take();
        self.child.kill();
        self.child.reap();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn machine_waits_at_a_socket_that_nobody_else_finds() {
        let folder = tempfile::tempdir().unwrap();
        // What a killed one left.
        fs::write(folder.path().join("fs.sock"), "").unwrap();
        let meeting = Meeting::new(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut machine = UnixStream::from(meeting.machine().unwrap());
        let (mut accepted, _) = meeting.listener.accept().unwrap();
        accepted.write_all(b"x").unwrap();
        let mut byte = [0];
        io::Read::read_exact(&mut machine, &mut byte).unwrap();
    }

    #[test]
    fn server_that_has_ended_takes_nothing_and_tells_how() {
        let folder = tempfile::tempdir().unwrap();
        let program = File::open("/bin/false").unwrap();
        let server = FileServer::start(&program, Meeting::new(folder.path()).unwrap(), None, 1000).unwrap();
        assert_eq!(server.last_words(false).unwrap(), "hull-fs ended with exit code 1");
        held(&server.last_words)
            .writer()
            .try_clone_to_owned()
            .map(File::from)
            .unwrap()
            .write_all(b"why\n")
            .unwrap();
        assert_eq!(server.last_words(false).unwrap(), "why");
        assert!(server.last_words(true).unwrap().contains("OOM killer"));
        let mount = File::open("/").unwrap();
        assert!(matches!(server.add(mount.as_fd()), Err(ShareError::Control(_))));
        assert!(matches!(server.make_read_only("s0"), Err(ShareError::Control(_))));
        server.end();
        assert!(matches!(server.remove("s0"), Err(ShareError::Ending)));
    }
}
