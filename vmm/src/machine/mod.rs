//! Building the machine, in short named steps.

mod devices;

pub use devices::Handles;

use std::io;
use std::sync::{Arc, Mutex};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm};
use vm_memory::GuestMemoryError;

use crate::arch::irqchip::Ioapic;
use crate::arch::{self, cpuid, mptable, msr, paging};
use crate::boot::{self, Cmdline, Kernel, cmdline, initrd, kernel};
use crate::config::{ConfigError, ValidConfig};
use crate::devices::bus::{Bus, Overlap};
use crate::devices::i8042::{self, I8042};
use crate::devices::serial::SharedLog;
use crate::devices::virtio::block::BackendError;
use crate::devices::virtio::failure::Failure;
use crate::files::Files;
use crate::kvm::vcpu::Vcpu;
use crate::kvm::vm::Vm;
use crate::kvm::{KvmError, refused};
use crate::lifecycle::Ending;
use crate::memory::{self, GuestMemory, MemoryError, layout};

/// Words that every guest gets: the reset that tells a panic from a shutdown (see
/// [`crate::devices::i8042`]), and no waiting after a panic.
const CMDLINE: &str = "reboot=k,panic_warm panic=-1";
/// With a boot log: from the first line on, by way of the early console. It comes last, since it
/// starts to print where it stands, and a `quiet` behind it would be too late.
const CMDLINE_LOG: &str = "console=ttyS0 earlycon=uart8250,io,0x3f8";
/// Without: the kernel does not even look for serial ports.
const CMDLINE_QUIET: &str = "quiet 8250.nr_uarts=0";
/// Nothing of the kernel's text needs its LOCK prefixes: spares rewriting it, 4 million instructions.
const CMDLINE_ONE_VCPU: &str = "noreplace-smp";

#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error(transparent)]
    Kernel(#[from] kernel::KernelError),
    #[error(transparent)]
    Initrd(#[from] initrd::InitrdError),
    #[error(transparent)]
    Cmdline(#[from] cmdline::TooLong),
    #[error(transparent)]
    Bus(#[from] Overlap),
    #[error("Failed to write {what} into guest memory")]
    Tables { what: &'static str, source: GuestMemoryError },
    #[error("Failed to use disk {disk}")]
    Disk { disk: usize, source: BackendError },
    #[error("Failed to make a virtio device")]
    Device(#[source] io::Error),
    #[error("Failed to make an event descriptor")]
    Event(#[source] io::Error),
    #[error("There are more devices than interrupts")]
    Interrupts,
}

/// A machine whose guest has not run yet.
pub struct Machine {
    pub vcpus: Vec<Vcpu>,
    pub ending: Arc<Ending>,
    pub failure: Failure,
    pub handles: Handles,
    pub boot_log: Option<SharedLog>,
    /// Keeps the VM and its memory for as long as the vCPUs.
    _vm: Vm,
}

/// What the steps fill in.
struct Builder {
    vm: Vm,
    memory: Arc<GuestMemory>,
    ioapic: Arc<Ioapic>,
    ports: Bus,
    mmio: Bus,
    cmdline: Cmdline,
    /// ISA interrupts in use.
    irqs: Vec<u8>,
    failure: Failure,
    ending: Arc<Ending>,
}

impl Machine {
    /// Builds it from a valid config and its opened files. `kvm` is closed when this returns.
    pub fn build(config: &ValidConfig, mut files: Files, kvm: Kvm) -> Result<Self, MachineError> {
        let allocate = if config.fs.is_some() { memory::allocate_shared } else { memory::allocate };
        let memory = Arc::new(allocate(config.memory_bytes)?);
        let vm = Vm::new(&kvm, memory.clone())?;
        let mut builder = Builder::new(vm, memory, devices::interrupts(config)?)?;
        builder.cmdline.add(CMDLINE)?;
        if config.vcpus == 1 {
            builder.cmdline.add(CMDLINE_ONE_VCPU)?;
        }
        let disks = std::mem::take(&mut files.disks);
        let handles = builder.add_virtio(disks, &config.nets, files.vsock.take(), files.fs.take())?;
        for (disk, config) in handles.disks.iter().zip(&config.disks) {
            disk.limit(config.limits());
        }
        builder.cmdline.add(&config.cmdline)?;
        let boot_log = builder.add_console(files.boot_log.take())?;
        let kernel = builder.load_guest(config, &mut files)?;
        mptable::write(&builder.memory, config.vcpus, &builder.irqs)
            .map_err(|source| MachineError::Tables { what: "the MP table", source })?;
        builder.finish(config, &kernel, &kvm, boot_log, handles)
    }
}

impl Builder {
    fn new(vm: Vm, memory: Arc<GuestMemory>, interrupts: u8) -> Result<Self, MachineError> {
        let ending = Arc::new(Ending::new().map_err(MachineError::Event)?);
        let failure = Failure::new().map_err(MachineError::Event)?;
        let ioapic = Ioapic::new(interrupts, vm.messages(), failure.clone());
        let (mut ports, mut mmio) = (Bus::default(), Bus::default());
        let i8042 = I8042::new(memory.clone(), ending.clone());
        ports.insert(i8042::PORT, 1, Arc::new(Mutex::new(i8042)))?;
        let registers = Arc::new(Mutex::new(ioapic.registers()));
        mmio.insert(layout::IOAPIC, layout::IOAPIC_SIZE, registers)?;
        let (cmdline, irqs) = (Cmdline::default(), Vec::new());
        Ok(Self { vm, memory, ioapic, ports, mmio, cmdline, irqs, failure, ending })
    }

    /// Kernel, initrd and what tells the kernel of them.
    fn load_guest(&self, config: &ValidConfig, files: &mut Files) -> Result<Kernel, MachineError> {
        let bytes = config.memory_bytes;
        let kernel = boot::kernel::load(&mut files.kernel, &self.memory, bytes)?;
        let initrd = match &mut files.initrd {
            Some(file) => Some(initrd::load(file, &self.memory, bytes, &kernel)?),
            None => None,
        };
        arch::boot::write_boot_params(&self.memory, bytes, &kernel, &self.cmdline, initrd)
            .map_err(|source| MachineError::Tables { what: "boot parameters", source })?;
        paging::write_tables(&self.memory)
            .map_err(|source| MachineError::Tables { what: "page tables", source })?;
        Ok(kernel)
    }

    fn finish(
        self,
        config: &ValidConfig,
        kernel: &Kernel,
        kvm: &Kvm,
        boot_log: Option<SharedLog>,
        handles: Handles,
    ) -> Result<Machine, MachineError> {
        let (ports, mmio) = (Arc::new(self.ports), Arc::new(self.mmio));
        let mut cpuid = supported_cpuid(kvm)?;
        let mut vcpus = Vec::with_capacity(config.vcpus.into());
        for id in 0..config.vcpus {
            let fd = self.vm.create_vcpu(id)?;
            cpuid::set_topology(&mut cpuid, id, config.vcpus);
            fd.set_cpuid2(&cpuid).map_err(refused("set a vCPU's CPUID"))?;
            msr::set(&fd).map_err(refused("set a vCPU's model-specific registers"))?;
            let (ports, mmio, ending) = (ports.clone(), mmio.clone(), self.ending.clone());
            vcpus.push(Vcpu { id, fd, ports, mmio, ending });
        }
        // The others wait in KVM until the guest sends them a start-up message.
        if let Some(Vcpu { fd, .. }) = vcpus.first() {
            let reset = fd.get_sregs().map_err(refused("read a vCPU's system registers"))?;
            fd.set_sregs(&paging::long_mode(reset)).map_err(refused("set a vCPU's system registers"))?;
            let registers = paging::entry_registers(kernel.entry, layout::BOOT_PARAMS);
            fd.set_regs(&registers).map_err(refused("set a vCPU's registers"))?;
        }
        let Self { vm, failure, ending, .. } = self;
        Ok(Machine { vcpus, ending, failure, handles, boot_log, _vm: vm })
    }
}

fn supported_cpuid(kvm: &Kvm) -> Result<CpuId, KvmError> {
    let mut cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(refused("list the CPU features it supports"))?;
    cpuid::filter(&mut cpuid, kvm.check_extension(Cap::TscDeadlineTimer));
    Ok(cpuid)
}
