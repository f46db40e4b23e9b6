//! Console and virtio devices: address, interrupt, and the words that tell the kernel.

use std::fs::File;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

use super::{Builder, CMDLINE_LOG, CMDLINE_QUIET, MachineError};
use crate::arch::irqchip::MAX_PINS;
use crate::config::{MAX_DISKS, MAX_NETS, NetConfig, ValidConfig};
use crate::devices::serial::{self, BootLog, Console, SharedLog};
use crate::devices::virtio::balloon::Balloon;
use crate::devices::virtio::block::{Block, DiskHandle};
use crate::devices::virtio::device::VirtioDevice;
use crate::devices::virtio::fs::Fs;
use crate::devices::virtio::mmio::{MmioTransport, WINDOW, reg};
use crate::devices::virtio::net::{Net, NetHandle};
use crate::devices::virtio::rng::Rng;
use crate::devices::virtio::vsock::Vsock;
use crate::files::DiskFiles;
use crate::memory::layout;

/// First interrupt of a virtio device; those below have meanings on a PC.
const FIRST_IRQ: u8 = 5;
/// Devices that every machine has: rng and balloon.
const FIXED_DEVICES: usize = 2;

/// The largest machine, with a vsock and a file system device, has pins for all its devices.
const _: () = assert!(FIRST_IRQ as usize + MAX_DISKS + MAX_NETS + 2 + FIXED_DEVICES <= MAX_PINS as usize);

/// Interrupts up to the last one that this machine's devices use.
pub(super) fn interrupts(config: &ValidConfig) -> Result<u8, MachineError> {
    let single = usize::from(config.vsock.is_some()) + usize::from(config.fs.is_some());
    let devices = config.disks.len() + config.nets.len() + single + FIXED_DEVICES;
    let count = u8::try_from(devices).ok().and_then(|devices| FIRST_IRQ.checked_add(devices));
    count.filter(|count| *count <= MAX_PINS).ok_or(MachineError::Interrupts)
}

/// What the host does to devices once they are the guest's. In the config's order.
#[derive(Default)]
pub struct Handles {
    pub disks: Vec<DiskHandle>,
    pub nets: Vec<NetHandle>,
}

impl Builder {
    /// The serial console, if there is a log for it.
    pub(super) fn add_console(&mut self, log: Option<File>) -> Result<Option<SharedLog>, MachineError> {
        let Some(file) = log else {
            self.cmdline.add(CMDLINE_QUIET)?;
            return Ok(None);
        };
        self.cmdline.add(CMDLINE_LOG)?;
        let log = Arc::new(Mutex::new(BootLog::new(file)));
        let line = self.ioapic.line(serial::IRQ).ok_or(MachineError::Interrupts)?;
        let console = Arc::new(Mutex::new(Console::new(line, log.clone())));
        self.ports.insert(serial::PORT, serial::PORTS, console)?;
        self.irqs.push(serial::IRQ);
        Ok(Some(log))
    }

    /// Disks in their order, so that the guest names them vda, vdb and so on; then vsock, file system,
    /// network devices, rng, balloon.
    pub(super) fn add_virtio(
        &mut self,
        disks: Vec<DiskFiles>,
        nets: &[NetConfig],
        vsock: Option<(u32, UnixListener)>,
        fs: Option<(String, UnixStream)>,
    ) -> Result<Handles, MachineError> {
        let mut place = 0;
        let mut handles = Handles::default();
        for (disk, files) in disks.into_iter().enumerate() {
            let block = make_disk(disk, files)?;
            handles.disks.push(block.handle());
            self.add_device(&mut place, Box::new(block))?;
        }
        if let Some((cid, listener)) = vsock {
            self.add_device(&mut place, Box::new(Vsock::new(cid, listener)))?;
        }
        if let Some((tag, socket)) = fs {
            self.add_device(&mut place, Box::new(Fs::new(&tag, socket)))?;
        }
        for config in nets {
            let net = Net::new(config.mac, config.mtu).map_err(MachineError::Device)?;
            net.handle().limit(&config.limits);
            handles.nets.push(net.handle());
            self.add_device(&mut place, Box::new(net))?;
        }
        self.add_device(&mut place, Box::new(Rng::new()))?;
        self.add_device(&mut place, Box::new(Balloon::new()))?;
        Ok(handles)
    }

    fn add_device(&mut self, place: &mut u8, device: Box<dyn VirtioDevice>) -> Result<(), MachineError> {
        let address = layout::VIRTIO_MMIO + u64::from(*place) * WINDOW;
        let irq = FIRST_IRQ + *place;
        let line = self.ioapic.line(irq).ok_or(MachineError::Interrupts)?;
        let transport = MmioTransport::new(device, self.memory.clone(), line, self.failure.clone())
            .map_err(MachineError::Device)?;
        for (queue, event) in transport.notify_events() {
            self.vm.notify_on_write(address + reg::QUEUE_NOTIFY, queue, event)?;
        }
        self.mmio.insert(address, WINDOW, Arc::new(Mutex::new(transport)))?;
        self.cmdline.add(&format!("virtio_mmio.device={}K@{address:#x}:{irq}", WINDOW >> 10))?;
        self.irqs.push(irq);
        *place += 1;
        Ok(())
    }
}

fn make_disk(disk: usize, files: DiskFiles) -> Result<Block, MachineError> {
    let result = match files {
        DiskFiles::ReadOnly(Some(segments)) => Block::read_only(segments),
        DiskFiles::ReadWrite(Some(file)) => Block::read_write(file),
        DiskFiles::ReadOnly(None) => Ok(Block::empty_slot(true)),
        DiskFiles::ReadWrite(None) => Ok(Block::empty_slot(false)),
    };
    result.map_err(|source| MachineError::Disk { disk, source })
}
