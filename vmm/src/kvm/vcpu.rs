//! A vCPU's thread: enters the guest, serves what it leaves for, until the machine ends.

use std::sync::Arc;

use kvm_bindings::kvm_run;
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::kick::Kickable;
use crate::devices::bus::Bus;
use crate::lifecycle::{Ending, ExitCause};

/// KVM_SYSTEM_EVENT types (KVM API, 5).
const SYSTEM_SHUTDOWN: u32 = 1;
const SYSTEM_RESET: u32 = 2;
const SYSTEM_CRASH: u32 = 3;

/// A vCPU ready to enter the guest.
pub struct Vcpu {
    pub id: u8,
    pub fd: VcpuFd,
    pub ports: Arc<Bus>,
    pub mmio: Arc<Bus>,
    pub ending: Arc<Ending>,
}

/// What an exit leaves to do.
enum Next {
    Enter,
    /// A signal came; it is only news if the machine is ending.
    Interrupted,
    End(ExitCause),
    /// As [`Next::End`], with details to be read from the run structure.
    InternalError,
}

impl Vcpu {
    /// Runs until the machine ends, be it by this vCPU or another's doing.
    pub fn run(mut self) {
        let _kickable = Kickable::new(&mut self.fd);
        while self.ending.cause().is_none() {
            match self.enter() {
                Next::Enter => {}
                Next::Interrupted => self.fd.set_kvm_immediate_exit(0),
                Next::End(cause) => self.ending.set(cause),
                Next::InternalError => {
                    let cause = self.internal_error();
                    self.ending.set(cause);
                }
            }
        }
    }

    fn enter(&mut self) -> Next {
        let vcpu = self.id;
        match self.fd.run() {
            Ok(VcpuExit::IoOut(port, data)) => self.ports.write(port.into(), data),
            Ok(VcpuExit::IoIn(port, data)) => self.ports.read(port.into(), data),
            Ok(VcpuExit::MmioWrite(address, data)) => self.mmio.write(address, data),
            Ok(VcpuExit::MmioRead(address, data)) => self.mmio.read(address, data),
            Ok(VcpuExit::Intr) => return Next::Interrupted,
            Ok(VcpuExit::Shutdown) => return Next::End(ExitCause::TripleFault { vcpu }),
            Ok(VcpuExit::FailEntry(reason, _cpu)) => return Next::End(ExitCause::FailEntry { vcpu, reason }),
            Ok(VcpuExit::InternalError) => return Next::InternalError,
            Ok(VcpuExit::SystemEvent(SYSTEM_SHUTDOWN | SYSTEM_RESET, _)) => {
                return Next::End(ExitCause::Reset);
            }
            Ok(VcpuExit::SystemEvent(SYSTEM_CRASH, _)) => return Next::End(ExitCause::Panic),
            // A level-triggered interrupt's end; there are none here, whatever the guest set up.
            Ok(VcpuExit::IoapicEoi(_)) => {}
            Ok(VcpuExit::MemoryFault { .. }) => {
                return Next::End(ExitCause::RunFailed { vcpu, errno: libc::EFAULT });
            }
            Ok(other) => {
                return Next::End(ExitCause::UnexpectedExit { vcpu, exit: format!("{other:?}") });
            }
            Err(error) => match error.errno() {
                libc::EINTR => return Next::Interrupted,
                libc::EAGAIN => {}
                errno => return Next::End(ExitCause::RunFailed { vcpu, errno }),
            },
        }
        Next::Enter
    }

    fn internal_error(&mut self) -> ExitCause {
        let (suberror, instruction) = internal_error_details(self.fd.get_kvm_run());
        let rip = self.fd.get_regs().ok().map(|registers| registers.rip);
        ExitCause::KvmInternal { vcpu: self.id, suberror, rip, instruction }
    }
}

/// The suberror and, for a failed emulation, the bytes of the instruction where KVM gives them
/// (KVM API, 5, KVM_EXIT_INTERNAL_ERROR). To be called after such an exit.
pub(super) fn internal_error_details(run: &kvm_run) -> (u32, Vec<u8>) {
    const EMULATION: u32 = 1;
    const HAS_INSTRUCTION_BYTES: u64 = 1;
    // SAFETY: every field of the union is plain data; KVM filled in this one for the exit that the
    // caller has seen.
    let emulation = unsafe { run.__bindgen_anon_1.emulation_failure };
    if emulation.suberror != EMULATION || emulation.ndata < 3 || emulation.flags & HAS_INSTRUCTION_BYTES == 0
    {
        return (emulation.suberror, Vec::new());
    }
    // SAFETY: plain data, filled in according to the flag just checked.
    let bytes = unsafe { emulation.__bindgen_anon_1.__bindgen_anon_1 };
    let len = bytes.insn_bytes.len().min(bytes.insn_size.into());
    (emulation.suberror, bytes.insn_bytes[..len].to_vec())
}
