//! The MMIO transport: registers on one side, a device on the other (VirtIO 1.2, 4.2).

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::EventFd;

use super::device::{Activation, VirtioDevice};
use super::failure::Failure;
use super::feature;
use super::interrupt::Interrupt;
use super::queue::{Queue, QueueConfig, QueueError, new_kick};
use super::status::{self, Move};
use super::worker::Worker;
use crate::devices::bus::BusDevice;
use crate::devices::irq::IrqLine;
use crate::lifecycle::{ExitCause, in_words};
use crate::memory::GuestMemory;

/// Registers (VirtIO 1.2, 4.2.2), by their offset from the start of the window.
pub mod reg {
    pub const MAGIC_VALUE: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const VENDOR_ID: u64 = 0x00c;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_NUM_MAX: u64 = 0x034;
    pub const QUEUE_NUM: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC_LOW: u64 = 0x080;
    pub const QUEUE_DESC_HIGH: u64 = 0x084;
    pub const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub const SHM_LEN_LOW: u64 = 0x0b0;
    pub const SHM_BASE_HIGH: u64 = 0x0bc;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
    /// The device's configuration space, to the window's end.
    pub const CONFIG: u64 = 0x100;
}

/// Bytes of a device's register window.
pub const WINDOW: u64 = 0x1000;

/// "virt".
const MAGIC: u32 = 0x7472_6976;
/// Not legacy.
const VERSION: u32 = 2;
/// "hull".
const VENDOR: u32 = 0x6c6c_7568;
/// What a shared memory region that does not exist shows as its length and base.
const NO_REGION: u32 = u32::MAX;

/// A virtio device as the guest's registers show it.
pub struct MmioTransport {
    device: Box<dyn VirtioDevice>,
    memory: Arc<GuestMemory>,
    interrupt: Interrupt,
    failure: Failure,
    /// One a queue; the queues themselves come and go.
    kicks: Vec<Arc<EventFd>>,
    state: State,
    /// There from DRIVER_OK to reset.
    worker: Option<Worker>,
}

/// All that the driver can write.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    status: u32,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    queues: Vec<QueueConfig>,
}

impl State {
    fn new(queues: usize) -> Self {
        Self {
            status: status::RESET,
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            queue_sel: 0,
            queues: vec![QueueConfig::default(); queues],
        }
    }
}

impl MmioTransport {
    pub fn new(
        device: Box<dyn VirtioDevice>,
        memory: Arc<GuestMemory>,
        line: Arc<dyn IrqLine>,
        failure: Failure,
    ) -> io::Result<Self> {
        let kicks = device.queue_sizes().iter().map(|_| new_kick()).collect::<io::Result<Vec<_>>>()?;
        let state = State::new(kicks.len());
        Ok(Self { device, memory, interrupt: Interrupt::new(line), failure, kicks, state, worker: None })
    }

    /// For each queue the event that stands for a write of its number to
    /// [`reg::QUEUE_NOTIFY`]: the machine may have KVM signal it without an exit to here.
    pub fn notify_events(&self) -> Vec<(u32, &EventFd)> {
        (0..).zip(self.kicks.iter().map(AsRef::as_ref)).collect()
    }

    fn read_register(&self, offset: u64) -> u32 {
        match offset {
            reg::MAGIC_VALUE => MAGIC,
            reg::VERSION => VERSION,
            reg::DEVICE_ID => self.device.id(),
            reg::VENDOR_ID => VENDOR,
            reg::DEVICE_FEATURES => half(self.device.features(), self.state.device_features_sel),
            reg::QUEUE_NUM_MAX => self.selected_max().into(),
            reg::QUEUE_READY => self.selected().is_some_and(|queue| queue.ready).into(),
            reg::INTERRUPT_STATUS => self.interrupt.pending(),
            reg::STATUS => self.status(),
            reg::SHM_LEN_LOW..=reg::SHM_BASE_HIGH => NO_REGION,
            reg::CONFIG_GENERATION => self.device.config_generation(),
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        match offset {
            reg::DEVICE_FEATURES_SEL => self.state.device_features_sel = value,
            reg::DRIVER_FEATURES_SEL => self.state.driver_features_sel = value,
            reg::DRIVER_FEATURES => self.choose_features(value),
            reg::QUEUE_SEL => self.state.queue_sel = value,
            reg::QUEUE_NOTIFY => self.notify(value),
            reg::INTERRUPT_ACK => self.interrupt.acknowledge(value),
            reg::STATUS => self.write_status(value),
            _ => self.configure_queue(offset, value),
        }
    }

    fn status(&self) -> u32 {
        let broken = if self.interrupt.is_broken() { status::DEVICE_NEEDS_RESET } else { 0 };
        self.state.status | broken
    }

    fn write_status(&mut self, value: u32) {
        // Drivers write back what they read, which may hold the device's own bit; it is not theirs to set.
        let value = value & !status::DEVICE_NEEDS_RESET;
        match status::step(self.state.status, value) {
            Some(Move::Reset) => self.reset(),
            Some(Move::Acknowledge | Move::Driver) => self.state.status = value,
            // The driver reads the bit back to learn whether it was granted.
            Some(Move::CheckFeatures) if self.features_fit() => self.state.status = value,
            Some(Move::CheckFeatures) | None => {}
            Some(Move::Start) => {
                self.state.status = value;
                self.start();
            }
            Some(Move::GiveUp) => self.state.status |= status::FAILED,
        }
    }

    fn reset(&mut self) {
        // Waits for the thread: from here on the device touches no guest memory (VirtIO 1.2, 2.4.1).
        self.worker = None;
        self.interrupt.reset();
        for kick in &self.kicks {
            // Fails only when there is nothing to clear.
            let _ = kick.read();
        }
        self.state = State::new(self.kicks.len());
    }

    fn choose_features(&mut self, value: u32) {
        if self.state.status & status::FEATURES_OK != 0 {
            return;
        }
        let (value, chosen) = (u64::from(value), &mut self.state.driver_features);
        match self.state.driver_features_sel {
            0 => *chosen = (*chosen & !0xffff_ffff) | value,
            1 => *chosen = (*chosen & 0xffff_ffff) | (value << 32),
            // No feature has a number that high.
            _ => {}
        }
    }

    fn features_fit(&self) -> bool {
        let chosen = self.state.driver_features;
        chosen & !self.device.features() == 0 && chosen & feature::VERSION_1 != 0
    }

    fn start(&mut self) {
        self.interrupt.go_live();
        let Ok(queues) = self.activate_queues() else {
            return self.interrupt.needs_reset();
        };
        let activation = Activation {
            memory: Arc::clone(&self.memory),
            features: self.state.driver_features,
            queues,
            interrupt: self.interrupt.clone(),
            failure: self.failure.clone(),
        };
        match self.device.activate(activation) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                self.interrupt.needs_reset();
                let device = self.device.name();
                let reason = format!("Failed to start device {device}: {}", in_words(&error));
                self.failure.report(ExitCause::DeviceFailed { reason });
            }
        }
    }

    fn activate_queues(&self) -> Result<Vec<Queue>, QueueError> {
        let event_idx = self.state.driver_features & feature::EVENT_IDX != 0;
        self.state
            .queues
            .iter()
            .zip(self.device.queue_sizes())
            .zip(&self.kicks)
            .map(|((config, max), kick)| config.activate(*max, &self.memory, event_idx, Arc::clone(kick)))
            .collect()
    }

    /// A notification that came as a plain write.
    fn notify(&self, queue: u32) {
        let kick = usize::try_from(queue).ok().and_then(|index| self.kicks.get(index));
        if let (Some(kick), Some(_)) = (kick, &self.worker) {
            // Fails only when the counter is full: then the event is readable already.
            let _ = kick.write(1);
        }
    }

    fn selected_max(&self) -> u16 {
        let index = usize::try_from(self.state.queue_sel).ok();
        index.and_then(|index| self.device.queue_sizes().get(index)).copied().unwrap_or(0)
    }

    fn selected(&self) -> Option<&QueueConfig> {
        self.state.queues.get(usize::try_from(self.state.queue_sel).ok()?)
    }

    /// Queue registers are writable between FEATURES_OK and DRIVER_OK (VirtIO 1.2, 3.1.1).
    fn configure_queue(&mut self, offset: u64, value: u32) {
        let phase = self.state.status & (status::FEATURES_OK | status::DRIVER_OK);
        let index = usize::try_from(self.state.queue_sel).ok();
        let Some(queue) = index.and_then(|index| self.state.queues.get_mut(index)) else { return };
        if phase != status::FEATURES_OK {
            return;
        }
        match offset {
            reg::QUEUE_NUM => queue.size = value,
            reg::QUEUE_READY => queue.ready = value == 1,
            reg::QUEUE_DESC_LOW => set_low(&mut queue.desc, value),
            reg::QUEUE_DESC_HIGH => set_high(&mut queue.desc, value),
            reg::QUEUE_DRIVER_LOW => set_low(&mut queue.driver, value),
            reg::QUEUE_DRIVER_HIGH => set_high(&mut queue.driver, value),
            reg::QUEUE_DEVICE_LOW => set_low(&mut queue.device, value),
            reg::QUEUE_DEVICE_HIGH => set_high(&mut queue.device, value),
            _ => {}
        }
    }
}

impl BusDevice for MmioTransport {
    /// Registers take aligned 32-bit accesses; the configuration space takes any
    /// (VirtIO 1.2, 4.2.2.2).
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let Some(field) = offset.checked_sub(reg::CONFIG) {
            self.device.read_config(field, data);
        } else if let Ok(register) = <&mut [u8; 4]>::try_from(data) {
            *register = self.read_register(offset).to_le_bytes();
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let (None, Ok(value)) = (offset.checked_sub(reg::CONFIG), <[u8; 4]>::try_from(data)) {
            self.write_register(offset, u32::from_le_bytes(value));
        }
    }
}

/// The half of a 64-bit field that a selector register names; 0 the low one.
fn half(value: u64, selector: u32) -> u32 {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    match selector {
        0 => u32::from_le_bytes([a, b, c, d]),
        1 => u32::from_le_bytes([e, f, g, h]),
        _ => 0,
    }
}

fn set_low(field: &mut u64, value: u32) {
    *field = (*field & !0xffff_ffff) | u64::from(value);
}

fn set_high(field: &mut u64, value: u32) {
    *field = (*field & 0xffff_ffff) | (u64::from(value) << 32);
}
