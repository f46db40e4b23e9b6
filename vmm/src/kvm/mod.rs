//! Everything that talks to `/dev/kvm`.

pub mod kick;
pub mod probe;
pub mod vcpu;
pub mod vm;

use kvm_ioctls::Kvm;
use vmm_sys_util::errno;

/// A refused KVM call, and on the way to what.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    #[error("Failed to open /dev/kvm: {}", open_advice(.0))]
    Open(errno::Error),
    #[error("KVM refused to {action}")]
    Call { action: &'static str, source: errno::Error },
    #[error("KVM refused memory slot {slot} at {start:#x}")]
    Slot { slot: u32, start: u64, source: errno::Error },
    #[error("KVM refused to make vCPU {id}")]
    Vcpu { id: u8, source: errno::Error },
}

/// Opens /dev/kvm.
pub fn open() -> Result<Kvm, KvmError> {
    Kvm::new().map_err(KvmError::Open)
}

/// Names the action of a refused call.
pub(crate) fn refused(action: &'static str) -> impl FnOnce(errno::Error) -> KvmError {
    move |source| KvmError::Call { action, source }
}

/// What stands in the way and what to do about it.
pub(crate) fn open_advice(error: &errno::Error) -> String {
    match error.errno() {
        libc::ENOENT => "there is no such device; the CPU's virtualisation is off in the firmware, its kernel \
                         module (kvm_intel or kvm_amd) is not loaded, or this machine is itself a virtual one \
                         without nested virtualisation"
            .into(),
        libc::EACCES | libc::EPERM => {
            "permission denied; it is for members of the group kvm: run `sudo usermod -aG kvm $USER` and log \
             in again"
                .into()
        }
        libc::ENXIO | libc::ENODEV => {
            "the device node is there but no KVM behind it; load kvm_intel or kvm_amd".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_dev_kvm_says_how_to_open_it() {
        let denied = KvmError::Open(errno::Error::new(libc::EACCES)).to_string();
        assert!(denied.contains("group kvm"), "{denied}");
        let absent = KvmError::Open(errno::Error::new(libc::ENOENT)).to_string();
        assert!(absent.contains("no such device"), "{absent}");
    }
}
