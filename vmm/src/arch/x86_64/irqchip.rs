//! The IOAPIC (Intel 82093AA): pins of devices on one side, messages to local APICs on the other.
//!
//! KVM's split irqchip keeps the local APICs in the kernel and leaves this one to us. It is
//! edge-only: every device here has an edge-triggered line, so there is no EOI to broadcast and a
//! guest that programs a pin as level-triggered merely gets its edges.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use crate::devices::bus::BusDevice;
use crate::devices::irq::{IrqLine, Wiring};
use crate::devices::virtio::failure::Failure;
use crate::kvm::KvmError;
use crate::lifecycle::{ExitCause, in_words};

/// Most pins, so interrupts that a machine's devices may have. A real 82093AA has 24; a kernel goes by the
/// number in the version register.
pub const MAX_PINS: u8 = 32;

/// Offsets in the register window: index and data.
const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
/// Registers behind the window.
const ID: u8 = 0;
const VERSION: u8 = 1;
const ARBITRATION: u8 = 2;
const FIRST_REDIRECTION: u8 = 0x10;
/// Of the 82093AA; the number of the last pin goes above.
const VERSION_VALUE: u32 = 0x11;

/// Redirection entry: what the guest may not write, and what is asked about it.
const READ_ONLY: u64 = 1 << 12 | 1 << 14;
const TRIGGER_LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;

/// What carries messages to local APICs, in the MSI format of Intel SDM 3A, 11.11.
pub trait Messages: Send + Sync {
    fn send(&self, message: Message);

    /// What pin `pin` says from now on when its event is signalled.
    fn route(&self, pin: u32, message: Message) -> Result<(), KvmError>;

    /// Has `event` send the message of `pin`'s route, at once if it was signalled before.
    fn attach(&self, pin: u32, event: &EventFd) -> Result<(), KvmError>;

    fn detach(&self, pin: u32, event: &EventFd) -> Result<(), KvmError>;
}

/// Where to and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub address: u32,
    pub data: u32,
}

/// The IOAPIC, shared by its registers and its lines.
pub struct Ioapic {
    state: Mutex<State>,
    messages: Box<dyn Messages>,
    failure: Failure,
}

struct State {
    select: u8,
    id: u32,
    pins: Vec<Pin>,
}

#[derive(Clone)]
struct Pin {
    redirection: u64,
    /// An edge came while the pin was masked: one is kept and delivered on unmasking, so that a guest
    /// that masks a line for a moment loses nothing.
    pending: bool,
    wire: Option<Wire>,
}

/// An event that stands for edges of a pin.
#[derive(Clone)]
struct Wire {
    event: Arc<EventFd>,
    /// What it sends. None while the pin is masked: the event then keeps what is signalled.
    route: Option<Message>,
}

impl Ioapic {
    /// With as many pins as the machine has use for, [`MAX_PINS`] at most: a kernel saves and restores
    /// each of them at boot, eight exits a pin.
    pub fn new(pins: u8, messages: Box<dyn Messages>, failure: Failure) -> Arc<Self> {
        let pin = Pin { redirection: MASKED, pending: false, wire: None };
        let pins = vec![pin; pins.clamp(1, MAX_PINS).into()];
        Arc::new(Self { state: Mutex::new(State { select: 0, id: 0, pins }), messages, failure })
    }

    /// The line into `pin`; None if there is no such pin.
    pub fn line(self: &Arc<Self>, pin: u8) -> Option<Arc<dyn IrqLine>> {
        let pin = usize::from(pin);
        let there = pin < self.state().pins.len();
        there.then(|| Arc::new(Line { ioapic: self.clone(), pin }) as Arc<dyn IrqLine>)
    }

    /// What the guest sees of it on the MMIO bus.
    pub fn registers(self: &Arc<Self>) -> IoapicRegisters {
        IoapicRegisters(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn edge(&self, pin: usize) {
        if let Some(pin) = self.state().pins.get_mut(pin) {
            pin.pending = true;
            self.deliver(pin);
        }
    }

    fn deliver(&self, pin: &mut Pin) {
        if pin.pending && pin.redirection & MASKED == 0 {
            pin.pending = false;
            self.messages.send(message(pin.redirection));
        }
    }

    fn wire(&self, index: usize, event: Arc<EventFd>) -> bool {
        let mut state = self.state();
        let Some(pin) = state.pins.get_mut(index) else { return false };
        pin.wire = Some(Wire { event, route: None });
        let is_wired = self.settle(index, pin).is_ok();
        if !is_wired {
            pin.wire = None;
        }
        is_wired
    }

    fn unwire(&self, index: usize) {
        let mut state = self.state();
        let Some(Wire { event, route: Some(_) }) = state.pins.get_mut(index).and_then(|pin| pin.wire.take())
        else {
            return;
        };
        if let Err(error) = self.messages.detach(number(index), &event) {
            self.report(index, &error);
        }
    }

    /// Makes a pin's wire do what its entry says. A change of route waits for a grace period, so it is only made
    /// where there is one.
    fn settle(&self, index: usize, pin: &mut Pin) -> Result<(), KvmError> {
        let wanted = (pin.redirection & MASKED == 0).then(|| message(pin.redirection));
        let Some(Wire { event, route }) = pin.wire.as_mut().filter(|wire| wire.route != wanted) else {
            return Ok(());
        };
        match wanted {
            Some(message) => {
                self.messages.route(number(index), message)?;
                if route.is_none() {
                    self.messages.attach(number(index), event)?;
                }
            }
            None => self.messages.detach(number(index), event)?,
        }
        *route = wanted;
        Ok(())
    }

    /// The guest would wait for an interrupt for ever.
    fn report(&self, pin: usize, error: &KvmError) {
        let reason = format!("Interrupt {pin} cannot be routed: {}", in_words(error));
        self.failure.report(ExitCause::DeviceFailed { reason });
    }

    fn read_register(&self) -> u32 {
        let state = self.state();
        match state.select {
            ID | ARBITRATION => state.id,
            VERSION => {
                let last = u32::try_from(state.pins.len() - 1).unwrap_or(0);
                VERSION_VALUE | last << 16
            }
            select => match state.pins.get(pin_of(select)) {
                Some(pin) if is_high(select) => high(pin.redirection),
                Some(pin) => low(pin.redirection),
                None => 0,
            },
        }
    }

    fn write_register(&self, value: u32) {
        let mut state = self.state();
        let State { select, id, pins } = &mut *state;
        if *select == ID {
            *id = value & 0x0f00_0000;
            return;
        }
        let index = pin_of(*select);
        if let Some(pin) = pins.get_mut(index) {
            let old = pin.redirection;
            pin.redirection = match is_high(*select) {
                true => u64::from(low(old)) | u64::from(value) << 32,
                false => u64::from(high(old)) << 32 | u64::from(value) & !READ_ONLY,
            };
            self.deliver(pin);
            if let Err(error) = self.settle(index, pin) {
                self.report(index, &error);
            }
        }
    }
}

/// The guest's view: two 32-bit registers.
pub struct IoapicRegisters(Arc<Ioapic>);

impl BusDevice for IoapicRegisters {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let value = match offset {
            SELECT => self.0.state().select.into(),
            WINDOW => self.0.read_register(),
            _ => return,
        };
        if let Ok(data) = <&mut [u8; 4]>::try_from(data) {
            *data = value.to_le_bytes();
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (SELECT, [select, ..]) => self.0.state().select = *select,
            (WINDOW, [a, b, c, d]) => self.0.write_register(u32::from_le_bytes([*a, *b, *c, *d])),
            _ => {}
        }
    }
}

struct Line {
    ioapic: Arc<Ioapic>,
    pin: usize,
}

impl IrqLine for Line {
    fn trigger(&self) {
        self.ioapic.edge(self.pin);
    }

    fn wiring(&self) -> Option<&dyn Wiring> {
        Some(self)
    }
}

impl Wiring for Line {
    fn wire(&self, event: Arc<EventFd>) -> bool {
        self.ioapic.wire(self.pin, event)
    }

    fn unwire(&self) {
        self.ioapic.unwire(self.pin);
    }
}

/// A pin as KVM counts them; there are [`MAX_PINS`] at most.
fn number(pin: usize) -> u32 {
    u32::try_from(pin).unwrap_or(u32::MAX)
}

/// A redirection entry as the MSI it stands for: destination and its mode into the address; vector,
/// delivery mode into the data. Lowest-priority delivery is asked for by the redirection hint.
fn message(entry: u64) -> Message {
    const BASE: u32 = 0xfee0_0000;
    const LOWEST_PRIORITY: u32 = 1;
    let entry_low = low(entry & !TRIGGER_LEVEL);
    let (destination, logical) = (high(entry) >> 24, entry_low >> 11 & 1);
    let delivery = entry_low >> 8 & 7;
    let hint = u32::from(delivery == LOWEST_PRIORITY);
    let address = BASE | destination << 12 | hint << 3 | logical << 2;
    Message { address, data: entry_low & 0x7ff }
}

/// The pin whose entry register `select` is half of; out of range for registers below the first.
fn pin_of(select: u8) -> usize {
    select.checked_sub(FIRST_REDIRECTION).map_or(usize::MAX, |index| usize::from(index / 2))
}

fn is_high(select: u8) -> bool {
    select & 1 == 1
}

fn low(entry: u64) -> u32 {
    let [a, b, c, d, ..] = entry.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn high(entry: u64) -> u32 {
    low(entry >> 32)
}

#[cfg(test)]
mod tests;
