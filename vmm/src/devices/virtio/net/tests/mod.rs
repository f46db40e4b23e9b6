mod hostile;
mod limits;
mod taps;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::time::Duration;

use super::tap::Wire;
use super::*;
use crate::config::NetLimits;
use crate::devices::virtio::driver::{Buffer, Driver, Used};
use crate::devices::virtio::mmio::reg;

const RX: usize = 0;
const TX: usize = 1;
const MAC: [u8; 6] = [0x02, 0x68, 0x75, 0x6c, 0, 3];
const CONFIG_CHANGE: u32 = 2;
const NONE: NetLimits = NetLimits { rx_bps: None, tx_bps: None, rx_pps: None, tx_pps: None };

/// Stands for a tap: a socket keeps packets apart too.
struct Socket {
    socket: UnixDatagram,
    offloads: Arc<Mutex<Vec<u64>>>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Wire for Socket {
    fn offload(&self, features: u64) -> io::Result<()> {
        self.offloads.lock().unwrap().push(features);
        Ok(())
    }
}

/// The far end of a wire.
struct Far {
    socket: UnixDatagram,
    offloads: Arc<Mutex<Vec<u64>>>,
}

impl Far {
    fn receive(&self) -> Vec<u8> {
        let mut packet = vec![0; 70_000];
        let len = self.socket.recv(&mut packet).unwrap();
        packet.truncate(len);
        packet
    }

    fn has_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let nothing = self.socket.recv(&mut [0]).is_err();
        self.socket.set_nonblocking(false).unwrap();
        nothing
    }

    fn is_cut_off(&self) -> bool {
        self.socket.send(&[0; 20]).is_err()
    }
}

fn plug_with(handle: &NetHandle, limits: &NetLimits) -> Far {
    let (near, far) = UnixDatagram::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let offloads = Arc::default();
    handle.plug_wire(Box::new(Socket { socket: near, offloads: Arc::clone(&offloads) }), limits).unwrap();
    Far { socket: far, offloads }
}

fn plug(handle: &NetHandle) -> Far {
    plug_with(handle, &NONE)
}

fn device() -> (Net, NetHandle) {
    let net = Net::new(MAC, None).unwrap();
    let handle = net.handle();
    (net, handle)
}

/// A device with a wire, whose driver is up.
fn connected() -> (Driver, NetHandle, Far) {
    let (net, handle) = device();
    let far = plug(&handle);
    let mut driver = Driver::started(Box::new(net));
    assert_eq!(driver.wait_interrupt(), CONFIG_CHANGE);
    (driver, handle, far)
}

/// An Ethernet frame of `len` bytes, full of `fill`, with a header that asks for nothing before it.
fn packet(fill: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    packet.resize(HEADER + len, fill);
    packet
}

fn send(driver: &mut Driver, packet: &[u8]) {
    let used = driver.request(TX, &[Buffer::Out(packet)]);
    assert_eq!(used.len, 0);
}

/// Buffers enough for any packet.
fn add_buffers(driver: &mut Driver) {
    for _ in 0..18 {
        driver.add(RX, &[Buffer::In(4096)]);
    }
    driver.kick(RX);
}

/// One packet, from as many buffers as it says, which are posted again.
fn receive(driver: &mut Driver) -> Vec<u8> {
    let (packet, lens) = take_packet(driver);
    for len in lens {
        driver.add(RX, &[Buffer::In(len)]);
    }
    driver.kick(RX);
    packet
}

/// One packet, and the lengths of its buffers.
fn take_packet(driver: &mut Driver) -> (Vec<u8>, Vec<u32>) {
    let first = driver.wait_used(RX);
    let mut lens = vec![u32::try_from(first.data.len()).unwrap()];
    let count = u16::from_le_bytes([first.data[NUM_BUFFERS], first.data[NUM_BUFFERS + 1]]);
    let part = |used: &Used| used.data[..usize::try_from(used.len).unwrap()].to_vec();
    let mut packet = part(&first);
    for _ in 1..count {
        let next = driver.try_used(RX).expect("the buffers of a packet come together");
        lens.push(u32::try_from(next.data.len()).unwrap());
        packet.extend(part(&next));
    }
    (packet, lens)
}

/// Waits until the driver is told that the configuration is another one.
fn wait_config_change(driver: &mut Driver) {
    while driver.wait_interrupt() & CONFIG_CHANGE == 0 {}
}

fn status(driver: &mut Driver) -> u16 {
    u16::from_le_bytes(driver.config(6))
}

/// As the far end sends it, but for the number of buffers.
fn with_count(mut packet: Vec<u8>, count: u16) -> Vec<u8> {
    packet[NUM_BUFFERS..HEADER].copy_from_slice(&count.to_le_bytes());
    packet
}

#[test]
fn the_configuration_shows_address_link_and_mtu() {
    let net = Net::new(MAC, Some(9000)).unwrap();
    assert_ne!(net.features() & F_MTU, 0);
    let mut driver = Driver::new(Box::new(net));
    assert_eq!(driver.config::<14>(0), [2, 0x68, 0x75, 0x6c, 0, 3, 0, 0, 0, 0, 0x28, 0x23, 0, 0]);
    let (net, _) = device();
    assert_eq!(net.features() & F_MTU, 0);
}

#[test]
fn packets_leave_as_the_guest_wrote_them_from_however_many_buffers() {
    let (mut driver, _handle, far) = connected();
    let packet = packet(7, 1514);
    send(&mut driver, &packet);
    assert_eq!(far.receive(), packet);
    let pieces = packet.chunks(100).map(Buffer::Out).collect::<Vec<_>>();
    driver.request(TX, &pieces);
    assert_eq!(far.receive(), packet);
    // A header of its own, as drivers like it.
    let (header, frame) = packet.split_at(HEADER);
    driver.request(TX, &[Buffer::Out(header), Buffer::Out(frame)]);
    assert_eq!(far.receive(), packet);
}

#[test]
fn packets_arrive_in_order_with_the_number_of_their_buffers() {
    let (mut driver, _handle, far) = connected();
    add_buffers(&mut driver);
    for fill in 1..=5 {
        far.socket.send(&packet(fill, 60)).unwrap();
    }
    for fill in 1..=5 {
        assert_eq!(receive(&mut driver), with_count(packet(fill, 60), 1));
    }
}

#[test]
fn a_large_packet_spans_buffers_that_come_together() {
    let (mut driver, _handle, far) = connected();
    add_buffers(&mut driver);
    let large = packet(9, MAX_FRAME);
    far.socket.send(&large).unwrap();
    assert_eq!(receive(&mut driver), with_count(large, 17));
    // Exactly two buffers, and one byte more.
    for (len, count) in [(8192, 2), (8193, 3)] {
        let packet = packet(3, len - HEADER);
        far.socket.send(&packet).unwrap();
        assert_eq!(receive(&mut driver), with_count(packet, count));
    }
}

#[test]
fn buffers_of_several_descriptors_are_one_buffer() {
    let (mut driver, _handle, far) = connected();
    for _ in 0..40 {
        driver.add(RX, &[Buffer::In(5), Buffer::In(6), Buffer::In(1), Buffer::In(2000)]);
    }
    driver.kick(RX);
    let large = packet(9, 3000);
    far.socket.send(&large).unwrap();
    assert_eq!(receive(&mut driver), with_count(large, 2));
}

#[test]
fn without_mergeable_buffers_a_packet_has_one() {
    let (net, handle) = device();
    let far = plug(&handle);
    let mut driver = Driver::new(Box::new(net));
    let features = driver.offered() & !F_MRG_RXBUF;
    driver.start_with(features);
    driver.wait_interrupt();
    driver.add(RX, &[Buffer::In(100)]);
    driver.add(RX, &[Buffer::In(70_000)]);
    driver.kick(RX);
    // No room for the first: lost, and the buffer serves the next.
    far.socket.send(&packet(1, 200)).unwrap();
    far.socket.send(&packet(2, 60)).unwrap();
    far.socket.send(&packet(3, 60_000)).unwrap();
    assert_eq!(receive(&mut driver), with_count(packet(2, 60), 1));
    assert_eq!(receive(&mut driver), with_count(packet(3, 60_000), 1));
}

#[test]
fn packets_wait_for_buffers_that_hold_the_largest() {
    let (mut driver, _handle, far) = connected();
    far.socket.send(&packet(1, 60_000)).unwrap();
    driver.add(RX, &[Buffer::In(4096)]);
    driver.kick(RX);
    add_buffers(&mut driver);
    assert_eq!(receive(&mut driver), with_count(packet(1, 60_000), 15));
}

#[test]
fn a_driver_without_segments_needs_no_more_buffers_than_a_frame_takes() {
    let (net, handle) = device();
    let far = plug(&handle);
    let mut driver = Driver::new(Box::new(net));
    let features = driver.offered() & !GUEST_SEGMENTS;
    driver.start_with(features);
    driver.wait_interrupt();
    driver.add(RX, &[Buffer::In(1530)]);
    driver.kick(RX);
    far.socket.send(&packet(1, 1514)).unwrap();
    assert_eq!(receive(&mut driver), with_count(packet(1, 1514), 1));
}

#[test]
fn a_full_ring_of_small_buffers_is_enough() {
    let (mut driver, _handle, far) = connected();
    for _ in 0..256 {
        driver.add(RX, &[Buffer::In(100)]);
    }
    driver.kick(RX);
    // More than all of them hold: lost.
    far.socket.send(&packet(1, 30_000)).unwrap();
    far.socket.send(&packet(2, 1514)).unwrap();
    assert_eq!(receive(&mut driver), with_count(packet(2, 1514), 16));
}

#[test]
fn offloads_are_those_of_the_driver_that_is_up() {
    let (net, handle) = device();
    let far = plug(&handle);
    let mut driver = Driver::new(Box::new(net));
    driver.start_with(feature::VERSION_1 | F_GUEST_CSUM);
    driver.start_with(feature::VERSION_1);
    assert_eq!(*far.offloads.lock().unwrap(), [feature::VERSION_1 | F_GUEST_CSUM, feature::VERSION_1]);
}

#[test]
fn link_follows_the_cable_and_the_driver_is_told() {
    let (net, handle) = device();
    let mut driver = Driver::started(Box::new(net));
    assert!(!driver.interrupt_is_pending());
    assert_eq!((status(&mut driver), handle.is_up()), (0, false));
    let mut generation = driver.read(reg::CONFIG_GENERATION);
    for round in 1..4 {
        let far = plug(&handle);
        wait_config_change(&mut driver);
        assert_ne!(std::mem::replace(&mut generation, driver.read(reg::CONFIG_GENERATION)), generation);
        assert_eq!((status(&mut driver), handle.is_up()), (1, true));
        send(&mut driver, &packet(round, 60));
        assert_eq!(far.receive(), packet(round, 60));
        handle.unplug().unwrap();
        assert!(far.is_cut_off(), "the wire is closed when unplug returns");
        wait_config_change(&mut driver);
        assert_ne!(std::mem::replace(&mut generation, driver.read(reg::CONFIG_GENERATION)), generation);
        assert_eq!((status(&mut driver), handle.is_up()), (0, false));
    }
}

#[test]
fn what_is_sent_without_a_cable_is_lost_and_what_waits_to_be_received_is_not() {
    let (net, handle) = device();
    let mut driver = Driver::started(Box::new(net));
    add_buffers(&mut driver);
    for _ in 0..3 {
        send(&mut driver, &packet(1, 60));
    }
    let far = plug(&handle);
    send(&mut driver, &packet(2, 60));
    assert_eq!(far.receive(), packet(2, 60));
    far.socket.send(&packet(3, 60)).unwrap();
    assert_eq!(receive(&mut driver), with_count(packet(3, 60), 1));
}

#[test]
fn a_cable_plugged_in_before_the_driver_is_up_is_announced_when_it_is() {
    let (net, handle) = device();
    let mut driver = Driver::new(Box::new(net));
    let far = plug(&handle);
    assert!(!driver.interrupt_is_pending());
    assert_eq!(status(&mut driver), 1);
    far.socket.send(&packet(1, 60)).unwrap();
    driver.start();
    assert_eq!(driver.wait_interrupt(), CONFIG_CHANGE);
    add_buffers(&mut driver);
    assert_eq!(receive(&mut driver), with_count(packet(1, 60), 1));
    // It outlives the driver.
    driver.reset();
    assert!(!far.is_cut_off());
    handle.unplug().unwrap();
    assert!(far.is_cut_off());
}

#[test]
fn a_device_is_plugged_in_once_and_unplugged_once() {
    let (_net, handle) = device();
    assert!(matches!(handle.unplug(), Err(PlugError::NotPlugged)));
    let _far = plug(&handle);
    let (near, _) = UnixDatagram::pair().unwrap();
    let second = Box::new(Socket { socket: near, offloads: Arc::default() });
    assert!(matches!(handle.plug_wire(second, &NONE), Err(PlugError::Plugged)));
    handle.unplug().unwrap();
    assert!(matches!(handle.unplug(), Err(PlugError::NotPlugged)));
    let null = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(handle.plug(null, &NONE), Err(PlugError::Tap(TapError::NotATap(_)))));
    assert!(!handle.is_up());
}

#[test]
fn packets_wait_while_the_wire_is_full() {
    let (mut driver, _handle, far) = connected();
    let mut sent = 0_u8;
    let mut heads = Vec::new();
    // A socket holds a few of them only; the ring keeps the others.
    for _ in 0..40 {
        sent += 1;
        heads.push(driver.add(TX, &[Buffer::Out(&packet(sent, 20_000))]));
    }
    driver.kick(TX);
    for fill in 1..=sent {
        assert_eq!(far.receive(), packet(fill, 20_000));
    }
    for head in heads {
        assert_eq!(driver.wait_used(TX).head, head);
    }
}

#[test]
fn a_wire_that_is_full_stops_nobody() {
    let (mut driver, handle, far) = connected();
    add_buffers(&mut driver);
    for fill in 0..40 {
        driver.add(TX, &[Buffer::Out(&packet(fill, 20_000))]);
    }
    driver.kick(TX);
    far.socket.send(&packet(3, 60)).unwrap();
    assert_eq!(receive(&mut driver), with_count(packet(3, 60), 1));
    // What is left goes the way of all packets without a cable.
    handle.unplug().unwrap();
    for _ in 0..40 {
        driver.wait_used(TX);
    }
    let far = plug(&handle);
    for fill in 0..40 {
        driver.add(TX, &[Buffer::Out(&packet(fill, 20_000))]);
    }
    driver.kick(TX);
    assert_eq!(far.receive(), packet(0, 20_000));
    driver.reset();
}
