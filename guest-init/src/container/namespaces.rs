//! What a new set of namespaces needs to be of use.

use std::ffi::c_ulong;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

use crate::error::{Step, StepError};

/// Makes the caller's cgroup the root of what it sees.
pub fn enter_cgroup_namespace() -> Result<(), StepError> {
    // SAFETY: NEWCGROUP touches neither descriptors nor memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) }.step("make a cgroup namespace")
}

/// Does something in another mount namespace, and returns from it. Back here, the root is this one's.
pub fn visit<T>(mounts: &OwnedFd, errand: impl FnOnce() -> T) -> Result<T, StepError> {
    let own = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step("open the mount namespace")?;
    let enter =
        |namespace: &OwnedFd| move_into_thread_name_spaces(namespace.as_fd(), ThreadNameSpaceType::MOUNT);
    enter(mounts).step("visit another mount namespace")?;
    let brought = errand();
    enter(&own).step("return from another mount namespace")?;
    Ok(brought)
}

/// A session keyring of its own: the agent's, inherited, would hand out the host's keys. keyrings(7)
pub fn join_session_keyring() -> Result<(), StepError> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    };
    match if result < 0 { Err(crate::sys::last_errno()) } else { Ok(()) } {
        // A kernel without keys has none to leak.
        Err(Errno::NOSYS) => Ok(()),
        other => other.step("make a session keyring"),
    }
}

/// Lets any user of this network namespace, which belongs to the container alone, bind low ports and
/// send pings, as docker does.
pub fn open_to_users() {
    let defaults = [
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", b"0".as_slice()),
        ("/proc/sys/net/ipv4/ping_group_range", b"0 2147483647"),
    ];
    for (path, value) in defaults {
        let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        // Where /proc/sys is read-only, root inside the container can do both all the same.
        let _ = file.and_then(|file| rustix::io::write(file, value));
    }
}

/// Sets what the caller's UTS namespace is called. Without a domain it keeps that of the one it was
/// made from.
pub fn set_names(hostname: &str, domainname: &str) -> Result<(), StepError> {
    rustix::system::sethostname(hostname.as_bytes()).step("set the hostname")?;
    if domainname.is_empty() {
        return Ok(());
    }
    rustix::system::setdomainname(domainname.as_bytes()).step("set the domain's name")
}

/// Brings the loopback device up. netdevice(7)
pub fn loopback_up() -> Result<(), StepError> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .step("open a socket for the loopback device")?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: libc::c_short::try_from(libc::IFF_UP).unwrap_or(1),
        },
    };
    for (slot, &byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = libc::c_char::try_from(byte).unwrap_or(0);
    }
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives here.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), c_ulong::from(libc::SIOCSIFFLAGS), &raw const request) };
    if result < 0 { Err(crate::sys::last_errno()) } else { Ok(()) }.step("bring the loopback device up")
}
