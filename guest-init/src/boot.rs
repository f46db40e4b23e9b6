//! hull-init as PID 1: what has to be there before the agent can serve.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::agent::Agent;
use crate::agent::listener::{HOST_CID, Listener, address_length, vsock_address};
use crate::container::spec::Place;
use crate::container::{cgroup, namespaces};
use crate::error::{Step, StepError};
use crate::power;
use crate::protocol::{CallError, READY_PORT};
use crate::sys;

/// A file system of the early machine.
struct Early {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static std::ffi::CStr,
}

const SEALED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// In this order; the targets are made. No device nodes but the kernel's.
const EARLY: [Early; 4] = [
    Early { kind: "proc", target: "/proc", flags: SEALED, options: c"" },
    Early { kind: "sysfs", target: "/sys", flags: SEALED, options: c"" },
    Early { kind: "devtmpfs", target: "/dev", flags: MountFlags::NOSUID, options: c"mode=755" },
    Early { kind: "cgroup2", target: "/sys/fs/cgroup", flags: SEALED, options: c"" },
];

/// Serves until the host says `Shutdown`, then ends the machine.
pub fn run() -> ! {
    if let Err(error) = serve() {
        complain(&CallError::from(error).message);
    }
    power::off()
}

fn serve() -> Result<(), StepError> {
    open_standard_streams();
    sys::ignore_sigpipe();
    // Inherited by what enters containers: they must not trace it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step("become non-dumpable")?;
    leave_the_first_root()?;
    for early in EARLY {
        make_folder(early.target)?;
        mount(early.kind, early.target, early.kind, early.flags, early.options)
            .step(format_args!("mount {}", early.target))?;
    }
    cgroup::enable_all("/sys/fs/cgroup", "hull")?;
    set_default_limits()?;
    namespaces::loopback_up()?;
    let listener = Listener::vsock().step("listen on vsock")?;
    let agent = Agent::new(Place::Guest, listener, None, None, None)?;
    // Held until the refusal has come; the kernel then forgets it.
    let _doorbell = ring_doorbell();
    agent.run().map(drop)
}

/// The kernel starts init without them if there is no console. Descriptors 0 to 2 must not become
/// sockets, so something has to be there.
fn open_standard_streams() {
    let null = || {
        let _ = mknodat(CWD, "/null", FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(1, 3));
        rustix::fs::open("/null", OFlags::RDWR, Mode::empty())
    };
    while let Ok(fd) = null() {
        if fd.as_raw_fd() > 2 {
            break;
        }
        // The number is what counts: it stays open for good.
        std::mem::forget(fd);
    }
    let _ = rustix::fs::unlink("/null");
}

/// pivot_root(2) does not work from the initramfs, and containers need it. So the machine moves onto a
/// tmpfs on top of it, as switch_root(8) does.
fn leave_the_first_root() -> Result<(), StepError> {
    make_folder("/root")?;
    mount(c"tmpfs", c"/root", c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755,size=1m")
        .step("mount the root")?;
    rustix::process::chdir("/root").step("enter the root")?;
    mount_move(c".", c"/").step("move the root into place")?;
    rustix::process::chroot(".").step("make the root the root")?;
    rustix::process::chdir("/").step("enter the root")
}

/// Containers inherit them. The kernel's own for init are those of a small machine of long ago; these
/// are what containers have under dockerd as systemd starts it.
fn set_default_limits() -> Result<(), StepError> {
    let descriptors = Rlimit { current: Some(1024), maximum: Some(524_288) };
    setrlimit(Resource::Nofile, descriptors).step("set the limit of open files")?;
    setrlimit(Resource::Nproc, Rlimit { current: None, maximum: None }).step("set the limit of processes")
}

fn make_folder(path: &str) -> Result<(), StepError> {
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(cause) => Err(cause).step(format_args!("make {path}")),
    }
}

/// Tells the VMM that connections will be answered: it sees the attempt, and refuses it.
fn ring_doorbell() -> Option<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointers.
    let socket = sys::owned(unsafe { libc::socket(libc::AF_VSOCK, kind, 0) }).ok()?;
    let address = vsock_address(HOST_CID, READY_PORT);
    // SAFETY: `address` is a live sockaddr_vm of the length passed.
    unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), address_length(&address)) };
    Some(socket)
}

/// To the kernel's log, which the console shows and the VMM keeps.
fn complain(message: &str) {
    let mode = Mode::from_raw_mode(0o600);
    let _ = mknodat(CWD, "/kmsg", FileType::CharacterDevice, mode, makedev(1, 11));
    if let Ok(kmsg) = rustix::fs::open("/kmsg", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        // Level 2: critical.
        let _ = rustix::io::write(kmsg, format!("<2>hull-init: {message}\n").as_bytes());
    }
}
