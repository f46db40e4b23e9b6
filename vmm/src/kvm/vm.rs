//! The VM itself: memory slots, irqchip, vCPUs, notifications.

use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    KVM_CAP_SPLIT_IRQCHIP, KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_enable_cap, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_msi, kvm_msi, kvm_userspace_memory_region,
};
use kvm_ioctls::{IoEventAddress, Kvm, VcpuFd, VmFd};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::errno;
use vmm_sys_util::eventfd::EventFd;

use super::{KvmError, refused};
use crate::arch::irqchip::{MAX_PINS, Message, Messages};
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
    pub fn messages(&self) -> Box<dyn Messages> {
        Box::new(Msi { fd: self.fd.clone(), routes: Mutex::default() })
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

struct Msi {
    fd: Arc<VmFd>,
    /// By pin. KVM takes only all of them together.
    routes: Mutex<Vec<(u32, Message)>>,
}

impl Messages for Msi {
    fn send(&self, Message { address, data }: Message) {
        let message = kvm_msi { address_lo: address, data, ..Default::default() };
        // Refused only if the guest named a local APIC that does not exist: its own affair.
        let _ = self.fd.signal_msi(message);
    }

    fn route(&self, pin: u32, message: Message) -> Result<(), KvmError> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        match routes.iter_mut().find(|(other, _)| *other == pin) {
            Some((_, old)) => *old = message,
            None => routes.push((pin, message)),
        }
        let entries = routes.iter().map(|(pin, message)| entry(*pin, *message)).collect::<Vec<_>>();
        let failed = || refused("route an interrupt");
        // One a pin: never too many.
        let too_many = |_| failed()(errno::Error::new(libc::E2BIG));
        let table = KvmIrqRouting::from_entries(&entries).map_err(too_many)?;
        self.fd.set_gsi_routing(&table).map_err(failed())
    }

    fn attach(&self, pin: u32, event: &EventFd) -> Result<(), KvmError> {
        self.fd.register_irqfd(event, pin).map_err(refused("send an interrupt at an event"))
    }

    fn detach(&self, pin: u32, event: &EventFd) -> Result<(), KvmError> {
        self.fd.unregister_irqfd(event, pin).map_err(refused("forget an interrupt's event"))
    }
}

/// KVM API, 4.52. A pin's own number is its GSI: there is no other controller.
fn entry(pin: u32, Message { address, data }: Message) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi { address_lo: address, data, ..Default::default() };
    let u = kvm_irq_routing_entry__bindgen_ty_1 { msi };
    kvm_irq_routing_entry { gsi: pin, type_: KVM_IRQ_ROUTING_MSI, u, ..Default::default() }
}
