//! How a machine lives and ends.
//!
//! ```text
//!  building ──► running ──► ending(cause) ──► gone
//!      └──────────────────────┘
//! ```
//!
//! Whoever notices an end first (a vCPU, a device, the control socket) gives its cause to [`Ending`];
//! later ones are consequences and are dropped. The main thread then takes the vCPUs out of the guest
//! and reports that one cause.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// Why a machine ended. `Display` says what happened and, where something can be done, what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExitCause {
    /// The guest reset or shut down the machine in good order.
    Reset,
    /// The guest's kernel panicked.
    Panic,
    /// A fault while handling a fault while handling a fault: the guest's kernel lost its footing.
    TripleFault { vcpu: u8 },
    /// KVM met something it cannot do (KVM_EXIT_INTERNAL_ERROR).
    KvmInternal { vcpu: u8, suberror: u32, rip: Option<u64>, instruction: Vec<u8> },
    /// The CPU refused to enter the guest (KVM_EXIT_FAIL_ENTRY).
    FailEntry { vcpu: u8, reason: u64 },
    /// KVM_RUN itself failed.
    RunFailed { vcpu: u8, errno: i32 },
    /// KVM reported something that this VMM never asked for.
    UnexpectedExit { vcpu: u8, exit: String },
    /// The host wanted the machine to end.
    HostStopped { by: Stop },
    /// The host side of a device broke.
    DeviceFailed { reason: String },
    /// The process that serves the shared file system has ended, or is of no use any longer.
    FileServerFailed { reason: String },
    /// The machine never ran.
    SetupFailed { reason: String },
}

/// How the host wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The control socket's `stop` command.
    Command,
    /// The control socket was closed: the supervisor is gone.
    SocketClosed,
    /// The control socket carried something that is no command.
    ProtocolError,
}

impl ExitCause {
    /// Whether the machine ended because its guest had finished.
    pub fn is_orderly(&self) -> bool {
        matches!(self, ExitCause::Reset)
    }
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitCause::Reset => write!(f, "The guest shut the machine down."),
            ExitCause::Panic => write!(
                f,
                "The guest's kernel panicked. Its last words are in the boot log; if there is none, run again \
                 with one."
            ),
            ExitCause::TripleFault { vcpu } => write!(
                f,
                "The guest's kernel crashed without a word (triple fault on vCPU {vcpu}). Most likely its image \
                 is damaged or made for another machine; try the kernel that hull builds, or more memory."
            ),
            ExitCause::KvmInternal { vcpu, suberror, rip, instruction } => {
                write!(f, "KVM cannot go on (internal error, suberror {suberror}, vCPU {vcpu}")?;
                if let Some(rip) = rip {
                    write!(f, ", at {rip:#x}")?;
                }
                if !instruction.is_empty() {
                    write!(f, ", instruction")?;
                    instruction.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
                }
                write!(
                    f,
                    "). Some hosts' KVM cannot run an ordinary kernel; `hull-vmm --probe` tells whether this is one."
                )
            }
            ExitCause::FailEntry { vcpu, reason } => write!(
                f,
                "The CPU refused to enter the guest (vCPU {vcpu}, hardware reason {reason:#x}). This is a fault of \
                 the host's KVM or of hull-vmm; the host's kernel log says more."
            ),
            ExitCause::RunFailed { vcpu, errno } => match *errno {
                libc::EFAULT | libc::ENOMEM | libc::EHWPOISON => write!(
                    f,
                    "The host could not provide the guest's memory (vCPU {vcpu}: {}). Free memory on the host or \
                     give the machine less.",
                    io::Error::from_raw_os_error(*errno)
                ),
                errno => write!(
                    f,
                    "The host's KVM failed to run vCPU {vcpu}: {}. Its kernel log may say more.",
                    io::Error::from_raw_os_error(errno)
                ),
            },
            ExitCause::UnexpectedExit { vcpu, exit } => {
                write!(
                    f,
                    "The guest made KVM stop vCPU {vcpu} for a reason that hull-vmm does not serve: {exit}."
                )
            }
            ExitCause::HostStopped { by: Stop::Command } => write!(f, "The machine was stopped as asked."),
            ExitCause::HostStopped { by: Stop::SocketClosed } => {
                write!(f, "The machine was stopped because its supervisor is gone (control socket closed).")
            }
            ExitCause::HostStopped { by: Stop::ProtocolError } => {
                write!(
                    f,
                    "The machine was stopped because its control socket carried something unintelligible."
                )
            }
            ExitCause::DeviceFailed { reason } => {
                write!(f, "The host could not go on serving a device: {reason}.")
            }
            ExitCause::FileServerFailed { reason } => {
                write!(f, "The machine has lost its shared files: {reason}.")
            }
            ExitCause::SetupFailed { reason } => write!(f, "The machine could not be started: {reason}"),
        }
    }
}

/// An error and its causes, on one line.
pub(crate) fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The end of one machine: at most one cause, and an event that wakes the main thread.
pub struct Ending {
    cause: OnceLock<ExitCause>,
    event: EventFd,
}

impl Ending {
    pub fn new() -> io::Result<Self> {
        Ok(Self { cause: OnceLock::new(), event: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)? })
    }

    /// Ends the machine, unless it is ending already.
    pub fn set(&self, cause: ExitCause) {
        if self.cause.set(cause).is_ok() {
            // Cannot fail: this is the only write to a counter that starts at zero.
            let _ = self.event.write(1);
        }
    }

    pub fn cause(&self) -> Option<&ExitCause> {
        self.cause.get()
    }

    /// Readable once there is a cause.
    pub fn event(&self) -> &EventFd {
        &self.event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_cause_wins() {
        let ending = Ending::new().unwrap();
        assert_eq!(ending.cause(), None);
        ending.set(ExitCause::Panic);
        ending.set(ExitCause::Reset);
        assert_eq!(ending.cause(), Some(&ExitCause::Panic));
        assert_eq!(ending.event().read().unwrap(), 1);
    }

    #[test]
    fn causes_travel_with_their_kind() {
        let json = serde_json::to_string(&ExitCause::HostStopped { by: Stop::SocketClosed }).unwrap();
        assert_eq!(json, r#"{"kind":"host_stopped","by":"socket_closed"}"#);
        let back: ExitCause = serde_json::from_str(r#"{"kind":"triple_fault","vcpu":1}"#).unwrap();
        assert_eq!(back, ExitCause::TripleFault { vcpu: 1 });
    }

    #[test]
    fn every_cause_survives_the_way_to_the_supervisor_and_has_words() {
        let text = || "why".to_owned();
        let causes = [
            ExitCause::Reset,
            ExitCause::Panic,
            ExitCause::TripleFault { vcpu: 63 },
            ExitCause::KvmInternal { vcpu: 0, suberror: 1, rip: None, instruction: Vec::new() },
            ExitCause::FailEntry { vcpu: 0, reason: u64::MAX },
            ExitCause::RunFailed { vcpu: 0, errno: libc::EFAULT },
            ExitCause::RunFailed { vcpu: 0, errno: libc::EIO },
            ExitCause::UnexpectedExit { vcpu: 0, exit: text() },
            ExitCause::HostStopped { by: Stop::Command },
            ExitCause::HostStopped { by: Stop::SocketClosed },
            ExitCause::HostStopped { by: Stop::ProtocolError },
            ExitCause::DeviceFailed { reason: text() },
            ExitCause::FileServerFailed { reason: text() },
            ExitCause::SetupFailed { reason: text() },
        ];
        let mut told = std::collections::HashSet::new();
        for cause in causes {
            let json = serde_json::to_string(&cause).unwrap();
            assert_eq!(serde_json::from_str::<ExitCause>(&json).unwrap(), cause);
            assert_eq!(cause.is_orderly(), cause == ExitCause::Reset);
            assert!(told.insert(cause.to_string()), "{cause}: two causes, one text");
        }
    }

    #[test]
    fn kvm_error_names_the_instruction() {
        let cause = ExitCause::KvmInternal {
            vcpu: 0,
            suberror: 1,
            rip: Some(0x100_0000),
            instruction: vec![0xf3, 0x0f],
        };
        let text = cause.to_string();
        assert!(
            text.contains("suberror 1") && text.contains("0x1000000") && text.contains("f3 0f"),
            "{text}"
        );
    }
}
