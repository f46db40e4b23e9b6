//! The VM itself: memory slots, irqchip, vCPUs, notifications.

use std::sync::Arc;

use kvm_bindings::{KVM_CAP_SPLIT_IRQCHIP, kvm_enable_cap, kvm_msi, kvm_userspace_memory_region};
use kvm_ioctls::{IoEventAddress, Kvm, VcpuFd, VmFd};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;

use super::{KvmError, refused};
use crate::arch::irqchip::{MAX_PINS, SendMsi};
use crate::memory::{GuestMemory, layout};

/// A VM with its memory and interrupt controller, and no vCPUs yet.
pub struct Vm {
    fd: Arc<VmFd>,
    /// Mapped into the VM, so it lives at least as long.
    _memory: Arc<GuestMemory>,
}

impl Vm {
    /// Memory slots come first: each one set after the irqchip exists waits for a grace period of
    /// several milliseconds on many kernels.
    pub fn new(kvm: &Kvm, memory: Arc<GuestMemory>) -> Result<Self, KvmError> {
        let fd = create(kvm)?;
        for (slot, region) in (0..).zip(memory.iter()) {
            let start = region.start_addr().raw_value();
            let range = kvm_userspace_memory_region {
                slot,
                flags: 0,
                guest_phys_addr: start,
                memory_size: region.len(),
                userspace_addr: region.as_ptr() as u64,
            };
            // SAFETY: the range is a mapping of this process that `_memory` keeps for the VM's life,
            // and regions do not overlap.
            unsafe { fd.set_user_memory_region(range) }.map_err(|source| KvmError::Slot {
                slot,
                start,
                source,
            })?;
        }
        let tss = usize::try_from(layout::KVM_TSS).unwrap_or_default();
        fd.set_tss_address(tss).map_err(refused("place the TSS"))?;
        let split = kvm_enable_cap {
            cap: KVM_CAP_SPLIT_IRQCHIP,
            args: [MAX_PINS.into(), 0, 0, 0],
            ..Default::default()
        };
        fd.enable_cap(&split).map_err(refused("split the interrupt controller"))?;
        Ok(Self { fd: Arc::new(fd), _memory: memory })
    }

    pub fn create_vcpu(&self, id: u8) -> Result<VcpuFd, KvmError> {
        self.fd.create_vcpu(id.into()).map_err(|source| KvmError::Vcpu { id, source })
    }

    /// Makes the guest's write of `value`, 32 bits, to `address` signal `event` without leaving the
    /// kernel.
    pub fn notify_on_write(&self, address: u64, value: u32, event: &EventFd) -> Result<(), KvmError> {
        self.fd
            .register_ioevent(event, &IoEventAddress::Mmio(address), value)
            .map_err(refused("watch a queue's notification register"))
    }

    /// How the interrupt controller of ours reaches the local APICs.
    pub fn msi_sender(&self) -> Box<dyn SendMsi> {
        Box::new(Msi(self.fd.clone()))
    }
}

fn create(kvm: &Kvm) -> Result<VmFd, KvmError> {
    loop {
        match kvm.create_vm() {
            // KVM_CREATE_VM is interrupted by any signal on some kernels.
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result.map_err(refused("make a VM")),
        }
    }
}

struct Msi(Arc<VmFd>);

impl SendMsi for Msi {
    fn send(&self, address: u32, data: u32) {
        let message = kvm_msi { address_lo: address, data, ..Default::default() };
        // Refused only if the guest named a local APIC that does not exist: its own affair.
        let _ = self.0.signal_msi(message);
    }
}
