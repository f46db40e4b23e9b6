//! The child: the only one that hears the machine, and through it the guest.

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use vhost::vhost_user::{Error as VhostUserError, Listener};
use vhost_user_backend::{Error as DaemonError, VhostUserDaemon};
use virtiofsd::passthrough::{CachePolicy, Config, InodeFileHandlesMode, NegotiationMode, PassthroughFs};
use virtiofsd::vhost_user::{Error as BackendError, VhostUserFsBackendBuilder};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use crate::capabilities::{self, CapabilityError};
use crate::filter::{self, FilterError};
use crate::shares::Shares;
use crate::staging::{self, StagingError};
use crate::{chain, log};

/// Descriptors that are not for the guest's files: guest memory comes as up to 509 regions (the limit of
/// vhost-user-backend), queues and sockets take a few.
const OWN_FILES: u64 = 640;
/// Fewer for the guest are of no use.
const LEAST_FILES: u64 = 128;

/// How long a guest may believe what it knows of names and attributes. The host, and other sandboxes, change
/// the same files: within a second everybody sees it. A longer time spares little more, since a second is
/// many look-ups of a busy tree already.
const TRUST: Duration = Duration::from_secs(1);

/// The exit code that Rust's own end after a panic has.
const PANICKED: i32 = 101;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("Failed to {action}")]
    Step { action: &'static str, source: Errno },
    #[error("The limit of open files is {0}: at least {least} are needed", least = OWN_FILES + LEAST_FILES)]
    FewFiles(u64),
    #[error("Failed to enter the shares' root")]
    Staging(#[from] StagingError),
    #[error("Failed to give up privileges")]
    Capability(#[from] CapabilityError),
    #[error("Failed to filter system calls")]
    Filter(#[from] FilterError),
    #[error("Failed to open the shares")]
    Open(#[source] io::Error),
    #[error("Failed to set up the file system's device")]
    Backend(#[source] BackendError),
    #[error("Failed to talk to the machine's monitor: {0}")]
    Monitor(DaemonError),
}

/// Serves one connection; the exit code. `entered` is written to once the root has changed.
pub fn run(listener: OwnedFd, entered: OwnedFd) -> i32 {
    log::begin();
    end_with_any_thread();
    match serve(listener, entered) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("hull-fs: {}", chain(&error));
            1
        }
    }
}

fn serve(listener: OwnedFd, entered: OwnedFd) -> Result<(), ServerError> {
    let step = |action| move |source| ServerError::Step { action, source };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("end with the parent"))?;
    share_one_heap();
    survive_file_size_limit();
    let own_descriptors = staging::own_descriptors()?;
    staging::enter()?;
    // Who has died already has closed the pipe, and everybody else's death is told by a signal.
    rustix::io::write(&entered, b".").map_err(step("tell the parent"))?;
    drop(entered);
    forbid_core_dumps()?;
    let guest_files = guest_files()?;
    capabilities::keep(capabilities::SERVER)?;
    let shares = PassthroughFs::new(config(own_descriptors, guest_files))
        .map(Shares::new)
        .map_err(ServerError::Open)?;
    filter::confine(filter::SERVER)?;
    // Without a pool: one thread does what the guest asks, in the order asked. Who has an answer knows that what
    // was asked for before has been done; closing files, for one.
    let device = VhostUserFsBackendBuilder::default().build(shares).map_err(ServerError::Backend)?;
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let mut daemon =
        VhostUserDaemon::new("vhost-user".into(), Arc::new(device), memory).map_err(ServerError::Monitor)?;
    // SAFETY: the descriptor is owned here, and handed over.
    let mut listener = unsafe { Listener::from_raw_fd(listener.into_raw_fd()) };
    daemon.start(&mut listener).map_err(ServerError::Monitor)?;
    drop(listener);
    match daemon.wait() {
        // The machine has ended, maybe in the middle of a word.
        Ok(())
        | Err(DaemonError::HandleRequest(VhostUserError::Disconnected | VhostUserError::PartialMessage)) => {
            Ok(())
        }
        Err(error) => Err(ServerError::Monitor(error)),
    }
}

fn config(own_descriptors: OwnedFd, guest_files: u64) -> Config {
    Config {
        root_dir: staging::SHARES.into(),
        cache_policy: CachePolicy::Auto,
        entry_timeout: TRUST,
        attr_timeout: TRUST,
        readdirplus: true,
        // Attributes, POSIX ACLs and file capabilities are the host's, as they are for a container there.
        xattr: true,
        posix_acl: NegotiationMode::Auto,
        security_label: NegotiationMode::Never,
        // A write takes set-user-ID away; the guest's kernel need not ask for attributes before each.
        killpriv_v2: true,
        // Shares are different file systems whose inode numbers may be the same.
        announce_submounts: true,
        // Handles would need DAC_READ_SEARCH, which opens any file of the file systems beneath.
        inode_file_handles: InodeFileHandlesMode::Never,
        // Others write to the same files.
        writeback: false,
        // O_DIRECT of a guest passes its own cache; the host's serves every sandbox.
        allow_direct_io: false,
        // Only of use where the guest's page cache is not.
        allow_mmap: false,
        proc_sfd_rawfd: Some(own_descriptors.into()),
        guest_fd_limit: guest_files,
        ..Config::default()
    }
}

/// How many descriptors are left for the guest: each file that its kernel knows is one.
fn guest_files() -> Result<u64, ServerError> {
    // None: as many as the kernel gives.
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX));
    let for_guest = files.checked_sub(OWN_FILES).filter(|files| *files >= LEAST_FILES);
    for_guest.ok_or(ServerError::FewFiles(files))
}

fn forbid_core_dumps() -> Result<(), ServerError> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .map_err(|source| ServerError::Step { action: "forbid core dumps", source })
}

/// A request that virtiofsd did not think of ends the process, and not only the thread that all others wait
/// for.
fn end_with_any_thread() {
    panic::set_hook(Box::new(|panic| {
        eprintln!("hull-fs: {}", log::printable(&panic.to_string()));
        // SAFETY: ends the process, without destructors that might wait.
        unsafe { libc::_exit(PANICKED) }
    }));
}

/// Who writes beyond RLIMIT_FSIZE gets EFBIG, and is not killed (setrlimit(2)).
fn survive_file_size_limit() {
    // SAFETY: ignores a signal; no handler runs.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// One heap for all threads, where glibc would make one for each that allocates.
fn share_one_heap() {
    // SAFETY: sets a number in the allocator, before there is a second thread.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}
