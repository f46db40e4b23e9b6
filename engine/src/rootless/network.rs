//! The user's network namespace, which pasta(1) connects to the outside.
//!
//! Its holder has three children: one that is in the namespace and does nothing, pasta (where the host has a
//! way to the outside), and one that waits
//! until nobody uses the namespace. They are killed with it. A pasta that ends is started again: what is in
//! the namespace stays.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hull_guest::netlink::route::Rtnetlink;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{wait, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pause};

use super::lock::{NamespaceFile, heard, say};
use super::{RootlessError, hold, lock, program};
use crate::network::host_leads_outside;
use crate::sandbox::{Spawn, cgroup};
use crate::supervisor::give_up;

const FILE: &str = "network";
/// The loopback device is the first of each network namespace.
const LOOPBACK: u32 = 1;
/// pasta's device in the namespace.
const DEVICE: &str = "host0";
/// A pasta that ended sooner than that would only do so again.
const LASTING: Duration = Duration::from_secs(1);

/// The namespace's file, used by this process from the first question to its end.
static USED: Mutex<Option<NamespaceFile>> = Mutex::new(None);

/// The network namespace in which hull has the say: the user's, with pasta started where it does not run.
/// None: this process may do as it likes with the one it is in, as root may with the machine's.
pub fn network_namespace(run: &Path) -> Result<Option<OwnedFd>, RootlessError> {
    if owns_network() {
        return Ok(None);
    }
    let mut used = USED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if used.is_none() {
        lock::ensure_folder(run)?;
        let file = NamespaceFile::open(run, FILE)?;
        file.join()?;
        *used = Some(file);
    }
    let Some(file) = used.as_ref() else { return Ok(None) };
    if let Some(namespace) = existing(file)? {
        return Ok(Some(namespace));
    }
    start(run)?;
    let gone = || RootlessError::Holder(FILE, "as soon as it was there".to_owned());
    existing(file)?.map(Some).ok_or_else(gone)
}

/// Whether networks can be had, for who wants to know before it is too late.
pub fn check() -> Result<(), RootlessError> {
    if owns_network() || program::find("pasta").is_some() { Ok(()) } else { Err(RootlessError::NoPasta) }
}

/// Whether the present network namespace is this user namespace's, or the machine's own. ioctl_ns(2): the
/// owner is told to those in it and above it only.
fn owns_network() -> bool {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    if !super::in_user_namespace() {
        return true;
    }
    let Ok(namespace) = File::open("/proc/self/ns/net") else { return true };
    // SAFETY: takes no argument and returns a new descriptor, which becomes owned at once.
    let owner = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if owner < 0 {
        return false;
    }
    // SAFETY: the descriptor is new and nobody else's.
    drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(owner) });
    true
}

fn existing(file: &NamespaceFile) -> Result<Option<OwnedFd>, RootlessError> {
    let Some((pid, process)) = file.holder_process()? else { return Ok(None) };
    let path = format!("/proc/{pid}/ns/net");
    match File::open(&path) {
        // Its number was that of the process, if it lives now.
        Ok(namespace) if !has_ended(&process) => Ok(Some(namespace.into())),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RootlessError::file("open", path)(error)),
    }
}

fn has_ended(process: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) != Ok(0)
}

/// Starts the holder and waits until the namespace is connected.
fn start(run: &Path) -> Result<(), RootlessError> {
    check()?;
    let _alone = lock::alone(run, "network-start.lock")?;
    let file = NamespaceFile::open(run, FILE)?;
    if file.holder()?.is_some() {
        return Ok(());
    }
    // The network is in the user namespace, which must not end before it.
    let user = NamespaceFile::open(run, "user")?;
    user.join()?;
    let (ours, theirs) = UnixStream::pair().map_err(RootlessError::system("make a socket pair"))?;
    let program = File::open("/proc/self/exe").map_err(RootlessError::system("open hull itself"))?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(RootlessError::system("open /dev/null"))?;
    let mut words = crate::sandbox::LastWords::new().map_err(RootlessError::system("make a memory file"))?;
    let group = cgroup::supervisors().ok().flatten();
    let args = ["hull", hold::COMMAND, hold::NETWORK].map(|word| CString::new(word).unwrap_or_default());
    let child = Spawn {
        program: program.as_fd(),
        args: &args,
        null: null.as_fd(),
        stderr: words.writer(),
        handed: &[file.as_fd(), theirs.as_fd(), user.as_fd()],
        cgroup: group.as_ref().map(AsFd::as_fd),
    }
    .start()
    .map_err(RootlessError::system("start the namespace's holder"))?;
    drop(theirs);
    if heard(ours.as_fd()) {
        return Ok(());
    }
    child.reap();
    Err(RootlessError::Holder(FILE, words.text()))
}

/// The holder. `_user` keeps the user namespace for as long.
pub fn hold(file: NamespaceFile, starter: OwnedFd, _user: OwnedFd) -> Result<(), RootlessError> {
    let inside = child(|ready| be_inside(&file, ready))?;
    // On a host that leads nowhere neither does the namespace, and pasta has nothing to go by.
    let mut pasta = if host_leads_outside() { Some(Pasta::start(inside)?) } else { None };
    say(starter.as_fd());
    drop(starter);
    let gate = child(|ready| {
        say(ready);
        drop(file.wait_for_nobody());
    })?;
    loop {
        match wait().map(|status| status.pid()) {
            Ok(Some(ended)) if pasta.as_ref().is_some_and(|pasta| ended == pasta.pid) => {
                pasta = pasta.map(|pasta| pasta.again(inside)).transpose()?;
            }
            Ok(Some(ended)) if ended == inside || ended == gate => break,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(RootlessError::system("wait for pasta")(errno)),
        }
    }
    // The exclusive lock came along from the gate, whose description of the file is this one: who waits for
    // it finds nobody.
    for process in pasta.map(|pasta| pasta.pid).into_iter().chain([inside]) {
        let _ = kill(process, Signal::SIGKILL);
        let _ = waitpid(process, None);
    }
    Ok(())
}

/// Forks a process that ends with this one, and waits for it to say that it is there.
fn child(act: impl FnOnce(std::os::fd::BorrowedFd<'_>)) -> Result<Pid, RootlessError> {
    let (ours, theirs) = UnixStream::pair().map_err(RootlessError::system("make a socket pair"))?;
    let parent = nix::unistd::getpid();
    // SAFETY: the holder has a single thread.
    match unsafe { fork() }.map_err(RootlessError::system("fork"))? {
        ForkResult::Child => {
            drop(ours);
            let bound = set_pdeathsig(Signal::SIGKILL);
            // The parent may have ended before that.
            if bound.is_ok() && nix::unistd::getppid() == parent {
                act(theirs.as_fd());
            }
            // SAFETY: _exit(2) is always sound.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            if heard(ours.as_fd()) {
                return Ok(child);
            }
            Err(RootlessError::Holder(FILE, "it could not make the namespace".to_owned()))
        }
    }
}

/// In the namespace, and without capabilities: pasta, which keeps few, may look at a process that has none.
fn be_inside(file: &NamespaceFile, ready: std::os::fd::BorrowedFd<'_>) {
    let made = unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
    let made = made.and_then(|()| loopback_up()).and_then(|()| give_up()).and_then(|()| file.hold());
    match made {
        Ok(()) => {
            say(ready);
            loop {
                pause();
            }
        }
        Err(error) => eprintln!("Failed to make a network namespace: {error}"),
    }
}

fn loopback_up() -> io::Result<()> {
    let up = Rtnetlink::open().and_then(|mut route| route.set_up(LOOPBACK));
    up.map_err(io::Error::other)
}

struct Pasta {
    pid: Pid,
    since: Instant,
}

impl Pasta {
    /// Returns when it has set up its device: it writes its number to stdout then.
    fn start(inside: Pid) -> Result<Pasta, RootlessError> {
        let path = program::find("pasta").ok_or(RootlessError::NoPasta)?;
        let mut command = Command::new(path);
        command.args(["--config-net", "--foreground", "--quiet", "--runas", "0:0", "--ns-ifname", DEVICE]);
        // Nothing of the host's is forwarded by itself, and its loopback is not the gateway's address.
        command.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"]);
        command.args(["--pid", "/dev/stdout", "--netns", &format!("/proc/{inside}/ns/net")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // SAFETY: prctl(2) is async-signal-safe, and nothing is allocated.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let mut child = command.spawn().map_err(RootlessError::system("start pasta"))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let ready = child.stdout.take().is_some_and(|stdout| heard(stdout.as_fd()));
        if !ready {
            let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(RootlessError::Holder(FILE, format!("pasta ended with {status}")));
        }
        Ok(Pasta { pid, since: Instant::now() })
    }

    /// One that was killed is started again, one that fails by itself is not.
    fn again(self, inside: Pid) -> Result<Pasta, RootlessError> {
        if self.since.elapsed() < LASTING {
            return Err(RootlessError::Holder(FILE, "pasta ends again and again".to_owned()));
        }
        Pasta::start(inside)
    }
}
