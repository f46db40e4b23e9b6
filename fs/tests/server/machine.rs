//! A machine of one queue: guest memory in a memfd, a vhost-user connection, one request at a time.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use vhost::vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemory, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

const MEMORY: usize = 8 << 20;
const QUEUES: u64 = 2;
const HIGH_PRIORITY: usize = 0;
const REQUESTS: usize = 1;
const SIZE: u16 = 8;
// Where things lie in guest memory. VirtIO 1.2, 2.7: split virtqueues.
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
pub const REQUEST: u64 = 0x10_0000;
const REPLY: u64 = 0x40_0000;
pub const MOST: usize = 2 << 20;

const VERSION_1: u64 = 1 << 32;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// Nothing takes longer that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server has died or does not answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Silence;

pub struct Machine {
    _frontend: Frontend,
    memory: GuestMemoryMmap,
    kick: EventFd,
    call: EventFd,
    served: u16,
}

impl Machine {
    pub fn boot(socket: UnixStream) -> Machine {
        let memory = memory();
        let mut frontend = Frontend::from_stream(socket, QUEUES);
        frontend.set_owner().unwrap();
        let features = frontend.get_features().unwrap();
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        assert_eq!(features & (VERSION_1 | protocol), VERSION_1 | protocol);
        frontend.set_features(VERSION_1 | protocol).unwrap();
        let offered = frontend.get_protocol_features().unwrap();
        frontend.set_protocol_features(offered & VhostUserProtocolFeatures::MQ).unwrap();
        let region = memory.iter().next().unwrap();
        frontend.set_mem_table(&[VhostUserMemoryRegionInfo::from_guest_region(region).unwrap()]).unwrap();
        let (kick, call) = (EventFd::new(0).unwrap(), EventFd::new(libc::EFD_NONBLOCK).unwrap());
        for queue in [HIGH_PRIORITY, REQUESTS] {
            // The queue that is not used lies behind the other.
            let shift = if queue == REQUESTS { 0 } else { 0x4000 };
            let host = |guest: u64| memory.get_host_address(GuestAddress(guest + shift)).unwrap() as u64;
            let config = VringConfigData {
                queue_max_size: SIZE,
                queue_size: SIZE,
                flags: 0,
                desc_table_addr: host(DESCRIPTORS),
                used_ring_addr: host(USED),
                avail_ring_addr: host(AVAILABLE),
                log_addr: None,
            };
            frontend.set_vring_num(queue, SIZE).unwrap();
            frontend.set_vring_addr(queue, &config).unwrap();
            frontend.set_vring_base(queue, 0).unwrap();
            let (called, kicked) = match queue {
                REQUESTS => (call.try_clone().unwrap(), kick.try_clone().unwrap()),
                _ => (EventFd::new(0).unwrap(), EventFd::new(0).unwrap()),
            };
            frontend.set_vring_call(queue, &called).unwrap();
            frontend.set_vring_kick(queue, &kicked).unwrap();
            frontend.set_vring_enable(queue, true).unwrap();
        }
        Machine { _frontend: frontend, memory, kick, call, served: 0 }
    }

    /// One request and what was written as its reply, at most `room` bytes.
    pub fn request(&mut self, request: &[u8], room: usize) -> Result<Vec<u8>, Silence> {
        let slot = self.send(request, room);
        self.wait()?;
        let written: u32 = self.memory.read_obj(GuestAddress(USED + 4 + 8 * slot + 4)).unwrap();
        let mut reply = vec![0; usize::try_from(written).unwrap()];
        self.memory.read_slice(&mut reply, GuestAddress(REPLY)).unwrap();
        Ok(reply)
    }

    /// One request; the ring's slot.
    pub fn send(&mut self, request: &[u8], room: usize) -> u64 {
        assert!(request.len() <= MOST && room <= MOST);
        self.memory.write_slice(request, GuestAddress(REQUEST)).unwrap();
        let length = u32::try_from(request.len()).unwrap();
        let chain = [(REQUEST, length, 0), (REPLY, u32::try_from(room).unwrap(), WRITE)];
        self.offer(if room == 0 { &chain[..1] } else { &chain })
    }

    /// Offers descriptors and does not wait; the ring's slot.
    pub fn offer(&mut self, chain: &[(u64, u32, u16)]) -> u64 {
        for (index, &(address, length, flags)) in (0_u16..).zip(chain) {
            let more = if usize::from(index) + 1 < chain.len() { NEXT } else { 0 };
            let at = GuestAddress(DESCRIPTORS + 16 * u64::from(index));
            let mut descriptor = Vec::new();
            descriptor.extend(address.to_le_bytes());
            descriptor.extend(length.to_le_bytes());
            descriptor.extend((flags | more).to_le_bytes());
            descriptor.extend((index + 1).to_le_bytes());
            self.memory.write_slice(&descriptor, at).unwrap();
        }
        let slot = u64::from(self.served % SIZE);
        self.memory.write_obj(0_u16, GuestAddress(AVAILABLE + 4 + 2 * slot)).unwrap();
        self.served = self.served.wrapping_add(1);
        self.memory.write_obj(self.served, GuestAddress(AVAILABLE + 2)).unwrap();
        self.kick.write(1).unwrap();
        slot
    }

    fn wait(&self) -> Result<(), Silence> {
        loop {
            if self.memory.read_obj::<u16>(GuestAddress(USED + 2)).unwrap() == self.served {
                let _ = self.call.read();
                return Ok(());
            }
            let mut events = [PollFd::from_borrowed_fd(call(&self.call), PollFlags::IN)];
            let patience = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap(), tv_nsec: 0 };
            if poll(&mut events, Some(&patience)).unwrap() == 0 {
                return Err(Silence);
            }
            let _ = self.call.read();
        }
    }
}

fn call(event: &EventFd) -> std::os::fd::BorrowedFd<'_> {
    use std::os::fd::{AsRawFd, BorrowedFd};
    // SAFETY: the event, and with it its descriptor, outlives what is returned.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

fn memory() -> GuestMemoryMmap {
    let name: &CStr = c"guest";
    // SAFETY: takes a C string; the descriptor it returns is owned here.
    let file = unsafe { File::from_raw_fd(libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC)) };
    file.as_fd();
    file.set_len(MEMORY as u64).unwrap();
    GuestMemoryMmap::from_ranges_with_files([(GuestAddress(0), MEMORY, Some(FileOffset::new(file, 0)))])
        .unwrap()
}
