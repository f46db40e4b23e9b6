//! A file server for tests: one thread that speaks vhost-user through the `vhost` crate's other half, and
//! serves its rings with this program's own queues. Each request comes back reversed.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::*;
use vhost::vhost_user::{BackendReqHandler, Error, Result, VhostUserBackendReqHandlerMut};
use vm_memory::{GuestAddress, GuestRegionMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::devices::irq::IrqLine;
use crate::devices::virtio::chain::Chain;
use crate::devices::virtio::feature;
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::queue::{Queue, QueueConfig, QueueError};
use crate::memory::GuestMemory;

const MAX_SIZE: u16 = 1024;
const NOT_HERE: Error = Error::InvalidOperation("not in this server");

/// What the server says it can do.
#[derive(Clone, Copy)]
pub struct Manners {
    pub features: u64,
    pub protocol: VhostUserProtocolFeatures,
    pub queues: u64,
    /// The request that it answers with a failure.
    pub refuses: Option<FrontendReq>,
}

impl Default for Manners {
    fn default() -> Self {
        let protocol = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
        let features = feature::COMMON | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        Self { features, protocol, queues: 2, refuses: None }
    }
}

/// A running server. Dropping it ends it, and closes its socket.
pub struct Server {
    orders: Option<Sender<Order>>,
    wake: EventFd,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    /// To answer nothing and serve nothing from now on; says when that is so.
    Freeze(Sender<()>),
    /// To say something that nobody asked for.
    Babble,
}

impl Server {
    /// The server, and the socket that leads to it.
    pub fn start(manners: Manners) -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (orders, receiver) = mpsc::channel();
        let wake = EventFd::new(EFD_NONBLOCK).unwrap();
        let woken = wake.try_clone().unwrap();
        let thread = thread::spawn(move || serve(ours, manners, &receiver, &woken));
        (Self { orders: Some(orders), wake, thread: Some(thread) }, theirs)
    }

    pub fn freeze(&self) {
        let (frozen, is_frozen) = mpsc::channel();
        self.order(Order::Freeze(frozen));
        is_frozen.recv().unwrap();
    }

    pub fn babble(&self) {
        self.order(Order::Babble);
    }

    fn order(&self, order: Order) {
        self.orders.as_ref().unwrap().send(order).unwrap();
        self.wake.write(1).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders = None;
        self.wake.write(1).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(socket: UnixStream, manners: Manners, orders: &Receiver<Order>, wake: &EventFd) {
    let mut voice = socket.try_clone().unwrap();
    let state = Arc::new(Mutex::new(State::new(manners)));
    let mut handler = BackendReqHandler::from_stream(socket, state.clone());
    loop {
        let kicks = state.lock().unwrap().kicks();
        let mut fds = vec![voice.as_raw_fd(), wake.as_raw_fd()];
        fds.extend(kicks.iter().map(|(_, kick)| kick.as_raw_fd()));
        let ready = wait(&fds);
        if ready[1] {
            let _ = wake.read();
            match orders.recv() {
                Ok(Order::Babble) => io::Write::write_all(&mut voice, b"anybody there?").unwrap(),
                Ok(Order::Freeze(frozen)) => {
                    frozen.send(()).unwrap();
                    // Until the handle is gone.
                    let _ = orders.recv();
                    return;
                }
                Err(_) => return,
            }
        } else if ready[0] {
            let heard = handler.handle_request();
            // A refusal was answered.
            if let Err(Error::Disconnected | Error::PartialMessage | Error::SocketBroken(_)) = heard {
                return;
            }
        } else {
            for ((ring, _), _) in kicks.iter().zip(&ready[2..]).filter(|(_, ready)| **ready) {
                state.lock().unwrap().process(*ring);
            }
        }
    }
}

fn wait(fds: &[i32]) -> Vec<bool> {
    let mut polls: Vec<_> =
        fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: as many pollfds as said, which live as long as the call.
    unsafe { libc::poll(polls.as_mut_ptr(), libc::nfds_t::try_from(polls.len()).unwrap(), -1) };
    polls.iter().map(|poll| poll.revents != 0).collect()
}

/// The VMM's event, through which the guest is interrupted.
struct Call(EventFd);

impl IrqLine for Call {
    fn trigger(&self) {
        self.0.write(1).unwrap();
    }
}

#[derive(Default)]
struct Ring {
    config: QueueConfig,
    kick: Option<Arc<EventFd>>,
    call: Option<Interrupt>,
    error: Option<EventFd>,
    /// While it is enabled.
    queue: Option<Queue>,
}

struct State {
    manners: Manners,
    acked: u64,
    memory: Option<GuestMemory>,
    /// Address in the VMM, bytes, address in the guest.
    mappings: Vec<(u64, u64, u64)>,
    rings: [Ring; 2],
}

impl State {
    fn new(manners: Manners) -> Self {
        Self { manners, acked: 0, memory: None, mappings: Vec::new(), rings: Default::default() }
    }

    fn kicks(&self) -> Vec<(usize, Arc<EventFd>)> {
        let enabled = |(index, ring): (usize, &Ring)| Some((index, ring.queue.as_ref()?.shared_kick()));
        self.rings.iter().enumerate().filter_map(enabled).collect()
    }

    fn process(&mut self, index: usize) {
        let Ring { queue, call, error, .. } = &mut self.rings[index];
        let (Some(ring), Some(call), Some(memory)) = (&mut *queue, call, &self.memory) else { return };
        if ring.drain(memory, call, reverse).is_err() {
            error.as_ref().unwrap().write(1).unwrap();
            *queue = None;
        }
    }

    fn check(&self, request: FrontendReq) -> Result<()> {
        if self.manners.refuses == Some(request) { Err(NOT_HERE) } else { Ok(()) }
    }

    fn ring(&mut self, index: u32) -> Result<&mut Ring> {
        self.rings.get_mut(usize::try_from(index).unwrap()).ok_or(Error::InvalidParam)
    }

    fn guest_address(&self, address: u64) -> Result<u64> {
        let find = |(start, len, guest): &(u64, u64, u64)| {
            let offset = address.checked_sub(*start).filter(|offset| offset < len)?;
            Some(guest + offset)
        };
        self.mappings.iter().find_map(find).ok_or(Error::InvalidParam)
    }

    fn enable(&mut self, index: u32) -> Result<()> {
        let (memory, event_idx) = (self.memory.take(), self.acked & feature::EVENT_IDX != 0);
        let ring = self.ring(index)?;
        let kick = ring.kick.clone().ok_or(Error::InvalidParam)?;
        let failed = |error: QueueError| Error::ReqHandlerError(io::Error::other(error));
        let queue =
            ring.config.activate(MAX_SIZE, memory.as_ref().unwrap(), event_idx, kick).map_err(failed)?;
        ring.queue = Some(queue);
        self.memory = memory;
        Ok(())
    }
}

fn reverse(mut chain: Chain<'_>) -> u32 {
    let count = chain.reader.len().min(chain.writer.len());
    let mut bytes: Vec<u8> = (0..count).map(|_| chain.reader.read::<1>().unwrap()[0]).collect();
    bytes.reverse();
    chain.writer.write(&bytes).unwrap();
    u32::try_from(count).unwrap()
}

fn event(file: Option<File>) -> EventFd {
    // SAFETY: the file came with the message, and is nobody else's.
    unsafe { EventFd::from_raw_fd(file.unwrap().into_raw_fd()) }
}

impl VhostUserBackendReqHandlerMut for State {
    fn set_owner(&mut self) -> Result<()> {
        self.check(FrontendReq::SET_OWNER)
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.manners.features)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        assert_eq!(features & !self.manners.features, 0, "features that were not offered");
        self.acked = features;
        self.check(FrontendReq::SET_FEATURES)
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(self.manners.protocol)
    }

    fn set_protocol_features(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.manners.queues)
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        self.check(FrontendReq::SET_MEM_TABLE)?;
        let map = |(region, file): (&VhostUserMemoryRegion, File)| {
            GuestRegionMmap::new(region.mmap_region(file).unwrap(), GuestAddress(region.guest_phys_addr))
        };
        let mapped = regions.iter().zip(files).map(|pair| map(pair).unwrap()).collect();
        self.memory = Some(GuestMemory::from_regions(mapped).unwrap());
        self.mappings = regions
            .iter()
            .map(|region| (region.user_addr, region.memory_size, region.guest_phys_addr))
            .collect();
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, size: u32) -> Result<()> {
        self.ring(index)?.config.size = size;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _: u64,
    ) -> Result<()> {
        let desc = self.guest_address(descriptor)?;
        let (driver, device) = (self.guest_address(available)?, self.guest_address(used)?);
        let config = &mut self.ring(index)?.config;
        *config = QueueConfig { size: config.size, ready: true, desc, driver, device };
        Ok(())
    }

    fn set_vring_base(&mut self, _: u32, base: u32) -> Result<()> {
        assert_eq!(base, 0);
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        self.check(FrontendReq::GET_VRING_BASE)?;
        *self.ring(index)? = Ring::default();
        Ok(VhostUserVringState::new(index, 0))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.check(FrontendReq::SET_VRING_KICK)?;
        self.ring(index.into())?.kick = Some(Arc::new(event(file)));
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let call = Interrupt::new(Arc::new(Call(event(file))));
        call.go_live();
        self.ring(index.into())?.call = Some(call);
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.ring(index.into())?.error = Some(event(file));
        Ok(())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        if enable {
            return self.enable(index);
        }
        self.ring(index)?.queue = None;
        Ok(())
    }

    // What this front end never says.

    fn reset_owner(&mut self) -> Result<()> {
        Err(NOT_HERE)
    }

    fn reset_device(&mut self) -> Result<()> {
        Err(NOT_HERE)
    }

    fn get_config(&mut self, _: u32, _: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        Err(NOT_HERE)
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        Err(NOT_HERE)
    }

    fn set_gpu_socket(&mut self, _: vhost::vhost_user::GpuBackend) -> Result<()> {
        Err(NOT_HERE)
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(NOT_HERE)
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(NOT_HERE)
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(NOT_HERE)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Err(NOT_HERE)
    }

    fn add_mem_region(
        &mut self,
        _: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        Err(NOT_HERE)
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        Err(NOT_HERE)
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        Err(NOT_HERE)
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(NOT_HERE)
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(NOT_HERE)
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        Err(NOT_HERE)
    }
}
