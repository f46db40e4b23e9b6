//! The system calls each of the two may make; another one ends it.
//!
//! Neither list has execve, ptrace, sockets, signals to others, or files by handle. What a guest can make the
//! server do is on the second; what it cannot, but threads and the heap need, is marked.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("Failed to compile the filter")]
    Compile(#[from] seccompiler::BackendError),
    #[error("Failed to load the filter")]
    Load(#[from] seccompiler::Error),
}

/// Which arguments of a call are allowed.
#[derive(Debug, Clone, Copy)]
pub enum Allowed {
    Always,
    /// All these bits of an argument.
    With {
        argument: u8,
        bits: u32,
    },
    /// None of these bits.
    Without {
        argument: u8,
        bits: u32,
    },
    /// One of these values, of the bits of a mask.
    OneOf {
        argument: u8,
        mask: u32,
        values: &'static [u32],
    },
}

use Allowed::{Always, OneOf, With, Without};

type List = &'static [(c_long, Allowed)];

/// Memory that is never code.
const NO_CODE: Allowed = Without { argument: 2, bits: libc::PROT_EXEC.cast_unsigned() };

pub const STAGER: List = &[
    // The supervisor's commands.
    (libc::SYS_ppoll, Always),
    (libc::SYS_recvmsg, Always),
    (libc::SYS_sendmsg, Always),
    (libc::SYS_statx, Always),
    (libc::SYS_mount_setattr, Always),
    (libc::SYS_mkdirat, Always),
    (libc::SYS_openat, Always),
    (libc::SYS_unlinkat, Always),
    (libc::SYS_move_mount, Always),
    (libc::SYS_umount2, Always),
    (libc::SYS_close, Always),
    // A debug build looks at each descriptor before it closes it.
    (libc::SYS_fcntl, OneOf { argument: 1, mask: u32::MAX, values: &[libc::F_GETFD.cast_unsigned()] }),
    // The server's end, and its own. A signal goes to a descriptor: the server's is the only one there.
    (libc::SYS_pidfd_send_signal, Always),
    (libc::SYS_waitid, Always),
    (libc::SYS_write, Always),
    (libc::SYS_sigaltstack, Always),
    (libc::SYS_exit_group, Always),
    // The heap.
    (libc::SYS_brk, Always),
    (libc::SYS_mmap, NO_CODE),
    (libc::SYS_mremap, Always),
    (libc::SYS_munmap, Always),
    (libc::SYS_madvise, Always),
    (libc::SYS_futex, Always),
    (libc::SYS_rt_sigreturn, Always),
    (libc::SYS_restart_syscall, Always),
];

pub const SERVER: List = &[
    // vhost-user: one connection, messages with descriptors, then queues.
    (libc::SYS_accept4, Always),
    (libc::SYS_recvmsg, Always),
    (libc::SYS_sendmsg, Always),
    (libc::SYS_epoll_create1, Always),
    (libc::SYS_epoll_ctl, Always),
    (libc::SYS_epoll_wait, Always),
    (libc::SYS_eventfd2, Always),
    (libc::SYS_read, Always),
    (libc::SYS_write, Always),
    (libc::SYS_dup, Always),
    (libc::SYS_fcntl, Always),
    (libc::SYS_close, Always),
    // Names.
    (libc::SYS_openat, Always),
    (libc::SYS_openat2, Always),
    (libc::SYS_statx, Always),
    (libc::SYS_readlinkat, Always),
    (libc::SYS_mkdirat, Always),
    // No devices, for which it has no capability either.
    (libc::SYS_mknodat, OneOf { argument: 2, mask: libc::S_IFMT, values: NODES }),
    (libc::SYS_symlinkat, Always),
    (libc::SYS_linkat, Always),
    (libc::SYS_unlinkat, Always),
    (libc::SYS_renameat2, Always),
    (libc::SYS_umask, Always),
    // Setxattr and its like of what cannot be opened go by way of the working directory.
    (libc::SYS_fchdir, Always),
    // Folders and files.
    (libc::SYS_getdents64, Always),
    (libc::SYS_lseek, Always),
    (libc::SYS_preadv2, Always),
    (libc::SYS_pwritev2, Always),
    (libc::SYS_copy_file_range, Always),
    (libc::SYS_fallocate, Always),
    (libc::SYS_ftruncate, Always),
    (libc::SYS_fsync, Always),
    (libc::SYS_fdatasync, Always),
    (libc::SYS_syncfs, Always),
    (libc::SYS_fstatfs, Always),
    // Attributes.
    (libc::SYS_fchmod, Always),
    (libc::SYS_fchmodat, Always),
    (libc::SYS_fchownat, Always),
    (libc::SYS_utimensat, Always),
    (libc::SYS_getxattr, Always),
    (libc::SYS_setxattr, Always),
    (libc::SYS_listxattr, Always),
    (libc::SYS_removexattr, Always),
    (libc::SYS_fgetxattr, Always),
    (libc::SYS_fsetxattr, Always),
    (libc::SYS_flistxattr, Always),
    (libc::SYS_fremovexattr, Always),
    // Acting for a user: ids and capabilities of one thread, for one request.
    (libc::SYS_geteuid, Always),
    (libc::SYS_getegid, Always),
    (libc::SYS_setresuid, Always),
    (libc::SYS_setresgid, Always),
    (libc::SYS_setgroups, Always),
    (libc::SYS_capget, Always),
    (libc::SYS_capset, Always),
    (libc::SYS_prctl, OneOf { argument: 0, mask: u32::MAX, values: PRCTL }),
    // Threads of its own, and nothing else that clone(2) can make.
    (libc::SYS_clone, With { argument: 0, bits: THREAD }),
    (libc::SYS_set_robust_list, Always),
    (libc::SYS_rseq, Always),
    (libc::SYS_sched_getaffinity, Always),
    (libc::SYS_sched_yield, Always),
    (libc::SYS_futex, Always),
    (libc::SYS_gettid, Always),
    (libc::SYS_getpid, Always),
    (libc::SYS_sigaltstack, Always),
    (libc::SYS_rt_sigprocmask, Always),
    (libc::SYS_rt_sigaction, Always),
    (libc::SYS_rt_sigreturn, Always),
    (libc::SYS_restart_syscall, Always),
    (libc::SYS_exit, Always),
    (libc::SYS_exit_group, Always),
    // To itself: how abort(3) ends. There is nobody else in its PID namespace.
    (libc::SYS_tgkill, Always),
    // The heap, stacks, and the guest's memory.
    (libc::SYS_brk, Always),
    (libc::SYS_mmap, NO_CODE),
    (libc::SYS_mprotect, NO_CODE),
    (libc::SYS_mremap, Always),
    (libc::SYS_munmap, Always),
    (libc::SYS_madvise, Always),
    (libc::SYS_getrandom, Always),
    (libc::SYS_clock_gettime, Always),
];

/// Pipes and sockets, which are the guest's own; 0 is a regular file (mknod(2)).
const NODES: &[u32] = &[0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK];
/// What pthread_create(3) asks for, and nothing that makes a process or a namespace lacks it.
const THREAD: u32 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND).cast_unsigned();
const PRCTL: &[u32] = &[
    libc::PR_SET_NAME.cast_unsigned(),
    libc::PR_CAPBSET_READ.cast_unsigned(),
    libc::PR_CAP_AMBIENT.cast_unsigned(),
];

/// Puts the list on this process, for good. Needs no_new_privs and a single thread.
pub fn confine(list: List) -> Result<(), FilterError> {
    // clone3's flags lie behind a pointer, where no filter can look: the C library falls back to clone.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let enosys = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    load(SeccompFilter::new(absent, SeccompAction::Allow, enosys, TargetArch::x86_64)?)?;
    let mut allowed = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for &(number, arguments) in list {
        allowed.insert(number, rules(arguments)?);
    }
    load(SeccompFilter::new(allowed, SeccompAction::KillProcess, SeccompAction::Allow, TargetArch::x86_64)?)
}

fn load(filter: SeccompFilter) -> Result<(), FilterError> {
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

/// Any of them allows; none at all is always.
fn rules(allowed: Allowed) -> Result<Vec<SeccompRule>, FilterError> {
    let rule = |argument, mask: u32, value: u32| {
        let masked = SeccompCmpOp::MaskedEq(mask.into());
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, masked, value.into())?;
        SeccompRule::new(vec![condition])
    };
    let rules = match allowed {
        Always => Ok(Vec::new()),
        With { argument, bits } => rule(argument, bits, bits).map(|rule| vec![rule]),
        Without { argument, bits } => rule(argument, bits, 0).map(|rule| vec![rule]),
        OneOf { argument, mask, values } => values.iter().map(|&value| rule(argument, mask, value)).collect(),
    };
    Ok(rules?)
}
