//! A driver for tests: plays the guest's side of a device through its registers and rings, in plain
//! memory and without KVM.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use nix::sys::memfd::{MFdFlags, memfd_create};
use vm_memory::{Bytes, FileOffset, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device::VirtioDevice;
use super::failure::Failure;
use super::mmio::{MmioTransport, reg};
use super::status;
use crate::devices::bus::BusDevice;
use crate::devices::irq::{IrqLine, Wiring};
use crate::memory::GuestMemory;

pub const MEMORY: u64 = 32 << 20;
/// Rings lie below, buffers above.
const BUFFERS: u64 = 1 << 20;
/// Longer than any machine under load takes; only a failing test waits for it.
const PATIENCE_MS: i32 = 20_000;

/// Flags of descriptors (VirtIO 1.2, 2.7.5).
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// An interrupt line that counts edges.
pub struct Line {
    edges: EventFd,
    /// None: nothing can be soldered to it.
    wire: Option<Mutex<Option<Arc<EventFd>>>>,
}

impl Line {
    fn new(wire: Option<Mutex<Option<Arc<EventFd>>>>) -> Arc<Self> {
        Arc::new(Self { edges: EventFd::new(EFD_NONBLOCK).unwrap(), wire })
    }

    fn wire(&self) -> Option<Arc<EventFd>> {
        self.wire.as_ref().and_then(|wire| wire.lock().unwrap().clone())
    }

    /// Has an edge come, or does one within the time?
    fn is_pending(&self, timeout_ms: i32) -> bool {
        let wire = self.wire();
        let fds = [Some(self.edges.as_raw_fd()), wire.as_ref().map(|wire| wire.as_raw_fd())];
        any_readable(fds.into_iter().flatten(), timeout_ms)
    }

    fn clear(&self) {
        let _ = self.edges.read();
        let _ = self.wire().map(|wire| wire.read());
    }
}

impl IrqLine for Line {
    fn trigger(&self) {
        self.edges.write(1).unwrap();
    }

    fn wiring(&self) -> Option<&dyn Wiring> {
        self.wire.as_ref().map(|_| self as &dyn Wiring)
    }
}

impl Wiring for Line {
    fn wire(&self, event: Arc<EventFd>) -> bool {
        assert!(self.wire.as_ref().unwrap().lock().unwrap().replace(event).is_none(), "wired twice");
        true
    }

    fn unwire(&self) {
        assert!(self.wire.as_ref().unwrap().lock().unwrap().take().is_some(), "not wired");
    }
}

/// A descriptor, as it lies in memory.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    pub address: u64,
    pub len: u32,
    pub flags: u16,
    pub next: u16,
}

impl Descriptor {
    pub fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.flags.to_le_bytes());
        bytes[14..].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }
}

/// A buffer of a chain.
#[derive(Debug, Clone)]
pub enum Buffer<'a> {
    /// For the device to read.
    Out(&'a [u8]),
    /// For the device to write.
    In(u32),
}

/// What came back.
#[derive(Debug)]
pub struct Used {
    pub head: u16,
    pub len: u32,
    /// All writable buffers of the chain, joined.
    pub data: Vec<u8>,
}

pub struct RingAddresses {
    pub size: u16,
    pub desc: u64,
    pub avail: u64,
    pub used: u64,
}

struct DriverQueue {
    ring: RingAddresses,
    free: Vec<u16>,
    avail_idx: u16,
    used_idx: u16,
    /// By head.
    open: HashMap<u16, OpenChain>,
}

/// A chain that the device has.
#[derive(Default)]
struct OpenChain {
    descriptors: Vec<u16>,
    /// Address and length.
    writable: Vec<(u64, u32)>,
}

pub struct Driver {
    pub memory: Arc<GuestMemory>,
    pub transport: MmioTransport,
    pub failure: Failure,
    line: Arc<Line>,
    queues: Vec<DriverQueue>,
    next_buffer: u64,
}

impl Driver {
    pub fn new(device: Box<dyn VirtioDevice>) -> Self {
        let ranges = [(GuestAddress(0), usize::try_from(MEMORY).unwrap())];
        Self::with_memory(device, GuestMemory::from_ranges(&ranges).unwrap(), Line::new(None))
    }

    /// In memory that a process outside of this one could map.
    pub fn on_shared_memory(device: Box<dyn VirtioDevice>) -> Self {
        Self::with_memory(device, shared_memory(), Line::new(None))
    }

    /// The same, on a line that others can be soldered to.
    pub fn on_wires(device: Box<dyn VirtioDevice>) -> Self {
        Self::with_memory(device, shared_memory(), Line::new(Some(Mutex::default())))
    }

    fn with_memory(device: Box<dyn VirtioDevice>, memory: GuestMemory, line: Arc<Line>) -> Self {
        let memory = Arc::new(memory);
        let failure = Failure::new().unwrap();
        let transport =
            MmioTransport::new(device, Arc::clone(&memory), line.clone(), failure.clone()).unwrap();
        Self { memory, transport, failure, line, queues: Vec::new(), next_buffer: BUFFERS }
    }

    /// A device whose driver is up.
    pub fn started(device: Box<dyn VirtioDevice>) -> Self {
        let mut driver = Self::new(device);
        driver.start();
        driver
    }

    pub fn read(&mut self, register: u64) -> u32 {
        let mut data = [0xff; 4];
        self.transport.read(register, &mut data);
        u32::from_le_bytes(data)
    }

    pub fn write(&mut self, register: u64, value: u32) {
        self.transport.write(register, &value.to_le_bytes());
    }

    pub fn config<const N: usize>(&mut self, offset: u64) -> [u8; N] {
        let mut data = [0xff; N];
        self.transport.read(reg::CONFIG + offset, &mut data);
        data
    }

    pub fn status(&mut self) -> u32 {
        self.read(reg::STATUS)
    }

    pub fn offered(&mut self) -> u64 {
        self.write(reg::DEVICE_FEATURES_SEL, 1);
        let high = u64::from(self.read(reg::DEVICE_FEATURES));
        self.write(reg::DEVICE_FEATURES_SEL, 0);
        high << 32 | u64::from(self.read(reg::DEVICE_FEATURES))
    }

    pub fn reset(&mut self) {
        self.write(reg::STATUS, 0);
        assert_eq!(self.status(), 0);
        self.queues.clear();
        self.next_buffer = BUFFERS;
        self.line.clear();
    }

    /// From reset to FEATURES_OK.
    pub fn negotiate(&mut self, features: u64) {
        self.reset();
        self.write(reg::STATUS, status::ACKNOWLEDGE);
        self.write(reg::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        for (selector, half) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.write(reg::DRIVER_FEATURES_SEL, selector);
            self.write(reg::DRIVER_FEATURES, u32::try_from(half).unwrap());
        }
        self.write(reg::STATUS, status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
    }

    /// Where queue `index` lies and how large it is.
    pub fn layout(&mut self, index: u32) -> RingAddresses {
        self.write(reg::QUEUE_SEL, index);
        let size = u16::try_from(self.read(reg::QUEUE_NUM_MAX)).unwrap();
        let base = u64::from(index) * 0x10000;
        RingAddresses { size, desc: base, avail: base + 0x8000, used: base + 0xc000 }
    }

    pub fn write_layout(&mut self, index: u32, size: u32, ring: &RingAddresses) {
        self.write(reg::QUEUE_SEL, index);
        self.write(reg::QUEUE_NUM, size);
        for (register, address) in [
            (reg::QUEUE_DESC_LOW, ring.desc),
            (reg::QUEUE_DRIVER_LOW, ring.avail),
            (reg::QUEUE_DEVICE_LOW, ring.used),
        ] {
            self.write(register, u32::try_from(address & 0xffff_ffff).unwrap());
            self.write(register + 4, u32::try_from(address >> 32).unwrap());
        }
    }

    pub fn setup_queues(&mut self) {
        let mut index = 0;
        loop {
            let ring = self.layout(index);
            if ring.size == 0 {
                return;
            }
            self.memory.write_slice(&[0; 0x8000], GuestAddress(ring.avail)).unwrap();
            self.write_layout(index, ring.size.into(), &ring);
            self.write(reg::QUEUE_READY, 1);
            let free = (0..ring.size).rev().collect();
            self.queues.push(DriverQueue { ring, free, avail_idx: 0, used_idx: 0, open: HashMap::new() });
            index += 1;
        }
    }

    pub fn go(&mut self) {
        self.write(reg::STATUS, 15);
    }

    /// Brings the device up with every feature it has.
    pub fn start(&mut self) {
        let features = self.offered();
        self.start_with(features);
    }

    pub fn start_with(&mut self, features: u64) {
        self.negotiate(features);
        assert_eq!(self.status(), 11);
        self.setup_queues();
        self.go();
        assert_eq!(self.status(), 15);
    }

    /// Room in guest memory that nothing else uses until the next reset.
    pub fn allocate(&mut self, len: u32) -> u64 {
        let address = self.next_buffer;
        self.next_buffer += (u64::from(len) + 15) & !15;
        if self.next_buffer > MEMORY {
            self.next_buffer = BUFFERS + ((u64::from(len) + 15) & !15);
            return BUFFERS;
        }
        address
    }

    /// Makes a chain available without a notification.
    pub fn add(&mut self, queue: usize, buffers: &[Buffer<'_>]) -> u16 {
        let mut writable = Vec::new();
        let mut descriptors = Vec::new();
        for buffer in buffers {
            let (len, flags) = match buffer {
                Buffer::Out(data) => (u32::try_from(data.len()).unwrap(), 0),
                Buffer::In(len) => (*len, WRITE),
            };
            let address = self.allocate(len);
            match buffer {
                Buffer::Out(data) => self.memory.write_slice(data, GuestAddress(address)).unwrap(),
                Buffer::In(_) => writable.push((address, len)),
            }
            descriptors.push(Descriptor { address, len, flags, next: 0 });
        }
        let indexes = (0..descriptors.len())
            .map(|_| self.queues[queue].free.pop().expect("the ring is full"))
            .collect::<Vec<_>>();
        for (at, descriptor) in descriptors.iter_mut().enumerate() {
            if let Some(next) = indexes.get(at + 1) {
                descriptor.flags |= NEXT;
                descriptor.next = *next;
            }
            self.write_descriptor(queue, indexes[at], *descriptor);
        }
        let head = indexes[0];
        self.queues[queue].open.insert(head, OpenChain { descriptors: indexes, writable });
        self.make_available(queue, head);
        head
    }

    pub fn write_descriptor(&mut self, queue: usize, index: u16, descriptor: Descriptor) {
        let address = self.queues[queue].ring.desc + 16 * u64::from(index);
        self.memory.write_slice(&descriptor.bytes(), GuestAddress(address)).unwrap();
    }

    pub fn make_available(&mut self, queue: usize, head: u16) {
        let queue = &mut self.queues[queue];
        let slot = u64::from(queue.avail_idx % queue.ring.size);
        self.memory.write_obj(head, GuestAddress(queue.ring.avail + 4 + 2 * slot)).unwrap();
        queue.avail_idx = queue.avail_idx.wrapping_add(1);
        let index = queue.avail_idx;
        self.memory
            .store(index, GuestAddress(queue.ring.avail + 2), std::sync::atomic::Ordering::SeqCst)
            .unwrap();
    }

    pub fn set_avail_idx(&mut self, queue: usize, index: u16) {
        self.queues[queue].avail_idx = index;
        let address = GuestAddress(self.queues[queue].ring.avail + 2);
        self.memory.store(index, address, std::sync::atomic::Ordering::SeqCst).unwrap();
    }

    pub fn kick(&mut self, queue: usize) {
        self.write(reg::QUEUE_NOTIFY, u32::try_from(queue).unwrap());
    }

    /// What the device has given back, if anything.
    pub fn try_used(&mut self, queue: usize) -> Option<Used> {
        let queue = &mut self.queues[queue];
        let index: u16 =
            self.memory.load(GuestAddress(queue.ring.used + 2), std::sync::atomic::Ordering::SeqCst).unwrap();
        if index == queue.used_idx {
            return None;
        }
        let slot = u64::from(queue.used_idx % queue.ring.size);
        let element = GuestAddress(queue.ring.used + 4 + 8 * slot);
        let [head, len]: [u32; 2] = self.memory.read_obj(element).unwrap();
        queue.used_idx = queue.used_idx.wrapping_add(1);
        // used_event: tell me about the next one.
        let event = GuestAddress(queue.ring.avail + 4 + 2 * u64::from(queue.ring.size));
        self.memory.store(queue.used_idx, event, std::sync::atomic::Ordering::SeqCst).unwrap();
        let head = u16::try_from(head).unwrap();
        let OpenChain { descriptors, writable } = queue.open.remove(&head).unwrap_or_default();
        queue.free.extend(descriptors);
        let mut data = Vec::new();
        for (address, len) in writable {
            let mut part = vec![0; usize::try_from(len).unwrap()];
            self.memory.read_slice(&mut part, GuestAddress(address)).unwrap();
            data.extend(part);
        }
        Some(Used { head, len, data })
    }

    pub fn wait_used(&mut self, queue: usize) -> Used {
        loop {
            if let Some(used) = self.try_used(queue) {
                return used;
            }
            self.wait_interrupt();
        }
    }

    /// One chain there and back.
    pub fn request(&mut self, queue: usize, buffers: &[Buffer<'_>]) -> Used {
        let head = self.add(queue, buffers);
        self.kick(queue);
        let used = self.wait_used(queue);
        assert_eq!(used.head, head);
        used
    }

    /// Waits for an edge, and acknowledges whatever the device shows then.
    pub fn wait_interrupt(&mut self) -> u32 {
        assert!(self.line.is_pending(PATIENCE_MS), "no interrupt came");
        self.line.clear();
        let bits = self.read(reg::INTERRUPT_STATUS);
        self.write(reg::INTERRUPT_ACK, bits);
        bits
    }

    pub fn wait_needs_reset(&mut self) {
        while self.status() & status::DEVICE_NEEDS_RESET == 0 {
            self.wait_interrupt();
        }
    }

    /// Waits until the device's host side has failed.
    pub fn wait_failure(&mut self) {
        let event = self.failure.event().as_raw_fd();
        assert!(any_readable([event].into_iter(), PATIENCE_MS), "no failure was reported");
    }

    /// All rings.
    pub fn low_memory(&self) -> Vec<u8> {
        let mut content = vec![0; usize::try_from(BUFFERS).unwrap()];
        self.memory.read_slice(&mut content, GuestAddress(0)).unwrap();
        content
    }

    /// Has an edge come that was not waited for?
    pub fn interrupt_is_pending(&self) -> bool {
        self.line.is_pending(0)
    }

    pub fn in_use(&self, queue: usize) -> usize {
        self.queues[queue].open.len()
    }
}

fn shared_memory() -> GuestMemory {
    let file = File::from(memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap());
    file.set_len(MEMORY).unwrap();
    let place = Some(FileOffset::new(file, 0));
    let ranges = [(GuestAddress(0), usize::try_from(MEMORY).unwrap(), place)];
    GuestMemory::from_ranges_with_files(&ranges).unwrap()
}

fn any_readable(fds: impl Iterator<Item = i32>, timeout_ms: i32) -> bool {
    let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut polls = fds.map(poll).collect::<Vec<_>>();
    let count = libc::nfds_t::try_from(polls.len()).unwrap();
    // SAFETY: as many pollfds as said, which live as long as the call.
    unsafe { libc::poll(polls.as_mut_ptr(), count, timeout_ms) > 0 }
}
