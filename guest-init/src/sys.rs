//! The few system calls that rustix does not offer, each behind a safe signature.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, RawPid, WaitOptions, pidfd_open, waitpid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

/// The calling thread's `errno`.
pub fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Turns a libc result into a descriptor.
pub fn owned(result: libc::c_int) -> Result<OwnedFd, Errno> {
    if result < 0 {
        return Err(last_errno());
    }
    // SAFETY: the call that returned `result` has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Closes every descriptor from 3 up that is not in `keep`. The owners of the closed ones must never
/// be used or dropped again: only for a process that ends in exec or exit.
pub fn close_all_but(keep: &mut [RawFd]) {
    keep.sort_unstable();
    let mut from: u32 = 3;
    for fd in keep.iter().filter_map(|&fd| u32::try_from(fd).ok()) {
        if fd > from {
            close_range(from, fd - 1);
        }
        from = from.max(fd + 1);
    }
    close_range(from, u32::MAX);
}

/// Closes one descriptor long before its owner goes. The same holds for that as for those of [`close_all_but`].
pub fn close_early(fd: &OwnedFd) {
    if let Ok(number) = u32::try_from(fd.as_raw_fd()) {
        close_range(number, number);
    }
}

fn close_range(first: u32, last: u32) {
    // SAFETY: takes no pointers. It cannot fail with these arguments on the kernels hull runs on
    // (5.9 and later); were it to, the descriptors are close-on-exec all the same.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// Highest signal number (signal(7), real-time signals).
const LAST_SIGNAL: libc::c_int = 64;

/// Sets an empty signal mask and default actions, as a new program expects them: who started hull
/// may have ignored signals, and ignoring survives exec.
pub fn reset_signals() {
    /// The kernel's `struct sigaction`, all zeros: SIG_DFL. libc's has another shape, and libc keeps
    /// the two signals of its threads to itself.
    const DEFAULT: [u64; 4] = [0; 4];
    const MASK_BYTES: usize = 8;
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: `DEFAULT` has the size of the kernel's structure (rt_sigaction(2)) on x86-64. The
        // kernel refuses SIGKILL and SIGSTOP, whose actions are fixed.
        unsafe {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, MASK_BYTES);
        }
    }
    // SAFETY: `set` is initialised by sigemptyset.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Holds every signal back for [`wait_for_signal`].
pub fn block_all_signals() {
    // SAFETY: `set` is initialised by sigfillset.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// The next signal of those held back.
pub fn wait_for_signal() -> libc::c_int {
    // SAFETY: `set` is initialised by sigfillset; no information beside the number is asked for.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigwaitinfo(&raw const set, std::ptr::null_mut())
    }
}

/// Writing to a closed pipe or socket is an error to handle, not an end.
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// dup2(2) onto a standard stream; the copy survives exec.
pub fn duplicate_onto(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    // SAFETY: takes no pointers. Numbers 0 to 2 belong to nobody in this program: it never holds them
    // as an `OwnedFd`.
    let result = unsafe { libc::dup2(fd.as_raw_fd(), number) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// A blocked set of signals as a descriptor. signalfd(2)
pub fn signal_fd(signals: &[libc::c_int]) -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is initialised by sigemptyset before it is used.
    let fd = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    owned(fd)
}

/// Sends any signal number, real-time ones included.
pub fn kill(pid: Pid, signal: u8) -> Result<(), Errno> {
    // SAFETY: takes no pointers; `pid` is positive, so exactly one process is meant.
    let result = unsafe { libc::kill(pid.as_raw_nonzero().get(), libc::c_int::from(signal)) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Ends this process at once, without running destructors or exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit is always sound.
    unsafe { libc::_exit(code) }
}

/// Which side of a fork this is.
pub enum Fork {
    Parent(Pid),
    Child,
}

/// Plain fork(2), which a container's system call filter allows.
///
/// # Safety
///
/// As [`clone_into`].
pub unsafe fn fork() -> Result<Fork, Errno> {
    // SAFETY: the caller vouches for the single thread.
    match unsafe { libc::fork() } {
        pid if pid < 0 => Err(last_errno()),
        pid => Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent)),
    }
}

/// The PID namespace of a new process.
#[derive(Clone, Copy)]
pub enum PidNamespace<'a> {
    /// That of the caller, unless the fork makes one.
    Own,
    /// That of the process behind a pidfd.
    Of(&'a OwnedFd),
}

/// [`clone_into`], in another PID namespace if need be. The new process is still a child of the caller.
///
/// # Safety
///
/// As [`clone_into`].
pub unsafe fn clone_in(
    namespace: PidNamespace<'_>,
    namespaces: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Fork, Errno> {
    let PidNamespace::Of(other) = namespace else {
        // SAFETY: the caller vouches for the single thread.
        return unsafe { clone_into(namespaces, cgroup) };
    };
    if in_user_namespace() {
        // SAFETY: the caller vouches for the single thread.
        return unsafe { clone_beside(other, namespaces, cgroup) };
    }
    let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    move_into_thread_name_spaces(other.as_fd(), ThreadNameSpaceType::PROCESS_ID)?;
    // SAFETY: the caller vouches for the single thread.
    let fork = unsafe { clone_into(namespaces, cgroup) };
    if matches!(fork, Ok(Fork::Child)) {
        return fork;
    }
    if move_into_thread_name_spaces(own.as_fd(), ThreadNameSpaceType::PROCESS_ID).is_err() {
        // Whatever it forked from here on would be a process of that container.
        std::process::abort();
    }
    fork
}

/// [`clone_in`] for an agent that could not return to its PID namespace, which is not its user namespace's:
/// a child enters the other one and forks a sibling of its own (CLONE_PARENT, clone(2)).
///
/// # Safety
///
/// As [`clone_into`].
unsafe fn clone_beside(
    other: &OwnedFd,
    namespaces: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Fork, Errno> {
    let (told, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: the caller vouches for the single thread.
    let between = match unsafe { fork() }? {
        Fork::Parent(between) => between,
        Fork::Child => {
            let entered = move_into_thread_name_spaces(other.as_fd(), ThreadNameSpaceType::PROCESS_ID);
            // SAFETY: a fork has one thread.
            let fork = entered.and_then(|()| unsafe { clone_into(namespaces | libc::CLONE_PARENT, cgroup) });
            let number = match fork {
                Ok(Fork::Child) => return Ok(Fork::Child),
                Ok(Fork::Parent(process)) => process.as_raw_nonzero().get(),
                Err(cause) => -cause.raw_os_error(),
            };
            let _ = rustix::io::write(&tell, &number.to_ne_bytes());
            exit_now(0)
        }
    };
    drop(tell);
    let mut number = [0; size_of::<RawPid>()];
    // Less than PIPE_BUF bytes come at once (pipe(7)).
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut number));
    let _ = rustix::io::retry_on_intr(|| waitpid(Some(between), WaitOptions::empty()));
    match RawPid::from_ne_bytes(number) {
        _ if read? < number.len() => Err(Errno::CHILD),
        negative if negative < 0 => Err(Errno::from_raw_os_error(-negative)),
        process => Pid::from_raw(process).map(Fork::Parent).ok_or(Errno::CHILD),
    }
}

/// `struct clone_args` of linux/sched.h, version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// fork(2) into new namespaces and, on v2, straight into a cgroup: moving a process there afterwards
/// would wait for an RCU grace period.
///
/// # Safety
///
/// The process must have a single thread, so that no lock is held in the child.
pub unsafe fn clone_into(namespaces: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork, Errno> {
    let mut args = CloneArgs {
        flags: u64::try_from(namespaces).map_err(|_| Errno::INVAL)?,
        exit_signal: u64::try_from(libc::SIGCHLD).map_err(|_| Errno::INVAL)?,
        ..CloneArgs::default()
    };
    if namespaces & libc::CLONE_PARENT != 0 {
        // A sibling's is that of whoever forks it.
        args.exit_signal = 0;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::BADF)?;
    }
    // SAFETY: `args` is a live struct of the size passed. Without CLONE_VM and without a stack this
    // is fork(2): the child goes on with a copy of all memory.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match RawPid::try_from(result).map_err(|_| Errno::OVERFLOW)? {
        pid if pid < 0 => Err(last_errno()),
        pid => Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent)),
    }
}

/// Whether this process is in a user namespace and not in the machine's own: there the kernel makes no
/// device nodes and loads no device filters. user_namespaces(7)
pub fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether a group has a number in this process' user namespace.
pub fn has_group(wanted: u32) -> bool {
    let map = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    map.is_empty()
        || map.lines().any(|line| {
            let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
            match (numbers.next().flatten(), numbers.nth(1).flatten()) {
                (Some(first), Some(count)) => wanted.checked_sub(first).is_some_and(|at| at < count),
                _ => false,
            }
        })
}
