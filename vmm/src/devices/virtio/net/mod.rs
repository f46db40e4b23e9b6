//! virtio-net (VirtIO 1.2, 5.1): network devices whose cable is plugged in and pulled while the machine runs.
//!
//! ```text
//!   NetHandle ──plug, unplug, limit──► Port ◄──config space── Net (features)
//!                                       │ the wire, if there is one
//!                                       ▼
//!   tap ◄── writev ── Transmitter ── NetTask ── Receiver ── readv ──► buffers of the guest
//! ```
//!
//! - **Packets are not copied here**, nor looked at: header and frame go between guest memory and the tap in
//!   one system call. The kernel checks what a guest says of checksums and segments, as for any program
//!   that has a tap; what it refuses is dropped, and the guest is none the wiser.
//! - **A device always exists, a network does not.** With no wire the link is down (VIRTIO_NET_F_STATUS):
//!   what the guest sends is dropped, and what it wants to receive waits.
//! - **A direction that cannot go on stands still** and takes no time: with no room in the tap, over its
//!   rate, or with no buffers of the guest's. Packets stay where they are, in the ring or in the tap.
//! - There is no control queue: no filters, since a tap is one guest's alone, and no announcements.

mod port;
mod posted;
mod receive;
mod tap;
mod task;
mod transmit;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

pub use port::{NetHandle, PlugError};
pub use tap::TapError;

use self::port::Port;
use self::receive::Receiver;
use self::task::NetTask;
use self::transmit::Transmitter;
use super::device::{Activation, VirtioDevice, read_config_bytes};
use super::feature;
use super::worker::Worker;

const DEVICE_ID: u32 = 1;
/// Receive, transmit; the names are the guest's.
const QUEUE_SIZES: [u16; 2] = [256, 256];

/// Feature bits (VirtIO 1.2, 5.1.3; USO: VirtIO 1.3, 5.1.3).
const F_CSUM: u64 = 1 << 0;
const F_GUEST_CSUM: u64 = 1 << 1;
const F_MTU: u64 = 1 << 3;
const F_MAC: u64 = 1 << 5;
const F_GUEST_TSO4: u64 = 1 << 7;
const F_GUEST_TSO6: u64 = 1 << 8;
const F_GUEST_ECN: u64 = 1 << 9;
const F_HOST_TSO4: u64 = 1 << 11;
const F_HOST_TSO6: u64 = 1 << 12;
const F_HOST_ECN: u64 = 1 << 13;
const F_MRG_RXBUF: u64 = 1 << 15;
const F_STATUS: u64 = 1 << 16;
const F_GUEST_USO4: u64 = 1 << 54;
const F_GUEST_USO6: u64 = 1 << 55;
const F_HOST_USO: u64 = 1 << 56;

/// What the host's tap can do, of whatever age the host is.
const OFFLOADS: u64 = F_CSUM
    | F_GUEST_CSUM
    | F_GUEST_TSO4
    | F_GUEST_TSO6
    | F_GUEST_ECN
    | F_HOST_TSO4
    | F_HOST_TSO6
    | F_HOST_ECN;
/// What it can do since Linux 6.2: segments of UDP.
const UDP_OFFLOADS: u64 = F_GUEST_USO4 | F_GUEST_USO6 | F_HOST_USO;
/// With one of these the guest takes packets that are still to be cut into segments.
const GUEST_SEGMENTS: u64 = F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_USO4 | F_GUEST_USO6;

/// struct virtio_net_hdr_v1, before each packet (VirtIO 1.2, 5.1.6).
const HEADER: usize = 12;
/// Where its num_buffers lies.
const NUM_BUFFERS: usize = 10;
/// Addresses and type of an Ethernet frame.
const ETHERNET_HEADER: usize = 14;
/// The largest frame, a packet of IP still to be cut into segments (VirtIO 1.2, 5.1.6.3).
const MAX_FRAME: usize = 65550;
/// A frame of a network with the usual MTU, tagged for a VLAN.
const ETHERNET_FRAME: usize = ETHERNET_HEADER + 4 + 1500;
/// Packets in one go and one direction, before other events have their turn.
const SHARE: usize = 256;

/// A network device.
pub struct Net {
    mac: [u8; 6],
    mtu: Option<u16>,
    features: u64,
    port: Arc<Port>,
}

impl Net {
    /// A device whose link is down until its handle plugs it in.
    pub fn new(mac: [u8; 6], mtu: Option<u16>) -> io::Result<Self> {
        let named = F_MAC | F_STATUS | if mtu.is_some() { F_MTU } else { 0 };
        let udp = if tap::host_knows_udp_segments() { UDP_OFFLOADS } else { 0 };
        let features = feature::COMMON | OFFLOADS | F_MRG_RXBUF | named | udp;
        Ok(Self { mac, mtu, features, port: Arc::new(Port::new()?) })
    }

    /// What the host does to the device once it is the guest's.
    pub fn handle(&self) -> NetHandle {
        NetHandle::new(Arc::clone(&self.port))
    }

    /// struct virtio_net_config, as far as its fields exist (VirtIO 1.2, 5.1.4).
    fn config(&self) -> [u8; 12] {
        let mut config = [0; 12];
        config[..6].copy_from_slice(&self.mac);
        // status: VIRTIO_NET_S_LINK_UP.
        config[6] = self.port.is_up().into();
        // max_virtqueue_pairs lies between.
        config[10..].copy_from_slice(&self.mtu.unwrap_or(0).to_le_bytes());
        config
    }

    /// Bytes of buffers that any packet fits into, with what the driver accepted.
    fn largest_packet(&self, features: u64) -> usize {
        if features & GUEST_SEGMENTS != 0 {
            return HEADER + MAX_FRAME;
        }
        let frame = self.mtu.map_or(ETHERNET_FRAME, |mtu| usize::from(mtu) + ETHERNET_HEADER + 4);
        HEADER + frame.max(ETHERNET_FRAME)
    }
}

impl VirtioDevice for Net {
    fn name(&self) -> &'static str {
        "net"
    }

    fn id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self) -> u64 {
        self.features
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn config_generation(&self) -> u32 {
        self.port.generation()
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.config(), offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> io::Result<Worker> {
        let [rx, tx] = activation.take_queues()?;
        let Activation { memory, features, interrupt, failure, .. } = activation;
        self.port.attach(interrupt.clone());
        let merges = features & F_MRG_RXBUF != 0;
        let largest = self.largest_packet(features);
        let receiver = Receiver::new(rx, Arc::clone(&memory), interrupt.clone(), merges, largest);
        let transmitter = Transmitter::new(tx, memory, interrupt.clone());
        let task = NetTask::new(Arc::clone(&self.port), features, receiver, transmitter);
        Worker::spawn(self.name(), task, interrupt, failure)
    }
}
