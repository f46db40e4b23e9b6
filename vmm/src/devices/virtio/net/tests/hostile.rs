//! Guests that do what they may not. The device's own checks are here; those of all devices are in the suite.

use std::sync::atomic::Ordering;

use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::devices::virtio::driver::{Descriptor, INDIRECT, MEMORY, NEXT, WRITE};

fn still_works(driver: &mut Driver, far: &Far) {
    send(driver, &packet(0x55, 99));
    assert_eq!(far.receive(), packet(0x55, 99));
}

#[test]
fn runts_giants_and_torsos_are_dropped() {
    let (mut driver, _handle, far) = connected();
    for len in [0, 1, HEADER - 1, HEADER, HEADER + 1, HEADER + ETHERNET_HEADER - 1, HEADER + MAX_FRAME + 1] {
        if len > 0 {
            send(&mut driver, &vec![1; len]);
        } else {
            driver.request(TX, &[Buffer::Out(&[])]);
        }
    }
    // Gigantic: the same buffer over and over.
    let len = 1 << 20;
    for index in 0..256 {
        let flags = if index < 255 { NEXT } else { 0 };
        driver.write_descriptor(TX, index, Descriptor { address: 0, len, flags, next: index + 1 });
    }
    driver.make_available(TX, 0);
    driver.kick(TX);
    assert_eq!(driver.wait_used(TX).len, 0);
    driver.start();
    driver.wait_interrupt();
    still_works(&mut driver, &far);
}

#[test]
fn smallest_and_largest_frames_pass() {
    let (mut driver, _handle, far) = connected();
    for len in [ETHERNET_HEADER, MAX_FRAME] {
        send(&mut driver, &packet(4, len));
        assert_eq!(far.receive(), packet(4, len));
    }
}

#[test]
fn empty_buffers_within_a_packet_change_nothing() {
    let (mut driver, _handle, far) = connected();
    let whole = packet(6, 60);
    let (one, two) = whole.split_at(5);
    driver.request(TX, &[Buffer::Out(&[]), Buffer::Out(one), Buffer::Out(&[]), Buffer::Out(two)]);
    assert_eq!(far.receive(), whole);
    for _ in 0..40 {
        driver.add(RX, &[Buffer::In(0), Buffer::In(2000), Buffer::In(0)]);
    }
    driver.kick(RX);
    far.socket.send(&whole).unwrap();
    assert_eq!(take_packet(&mut driver).0, with_count(whole, 1));
}

#[test]
fn writable_buffers_hold_nothing_to_send() {
    let (mut driver, _handle, far) = connected();
    driver.request(TX, &[Buffer::In(1514)]);
    driver.request(TX, &[Buffer::Out(&packet(1, 2)), Buffer::In(1514)]);
    assert!(far.has_nothing());
    still_works(&mut driver, &far);
}

#[test]
fn receive_buffers_that_cannot_be_written_or_hold_no_header_break_the_device() {
    for buffers in [vec![Buffer::Out(&[0; 2000])], vec![Buffer::In(11)], vec![Buffer::In(0)]] {
        let (mut driver, _handle, far) = connected();
        driver.add(RX, &buffers);
        driver.kick(RX);
        driver.wait_needs_reset();
        assert!(driver.failure.cause().is_none(), "a guest's mistake is no failure of the host");
        driver.start();
        driver.wait_interrupt();
        still_works(&mut driver, &far);
    }
}

#[test]
fn receive_buffers_outside_of_memory_break_the_device() {
    let (mut driver, _handle, far) = connected();
    driver.write_descriptor(RX, 0, Descriptor { address: MEMORY - 8, len: 2000, flags: WRITE, next: 0 });
    driver.make_available(RX, 0);
    driver.kick(RX);
    driver.wait_needs_reset();
    driver.start();
    driver.wait_interrupt();
    still_works(&mut driver, &far);
}

#[test]
fn the_same_receive_buffer_offered_again_and_again_is_not_hoarded() {
    let (mut driver, _handle, far) = connected();
    // Chains of many tiny buffers: no end to them, and room for no large packet.
    for index in 0..200 {
        let descriptor = Descriptor { address: 0x20_0000, len: 1, flags: WRITE | NEXT, next: index + 1 };
        driver.write_descriptor(RX, index, descriptor);
    }
    driver.write_descriptor(RX, 200, Descriptor { address: 0x20_0000, len: 1, flags: WRITE, next: 0 });
    for _ in 0..256 {
        driver.make_available(RX, 0);
    }
    driver.kick(RX);
    far.socket.send(&packet(1, 20_000)).unwrap();
    far.socket.send(&packet(2, 60)).unwrap();
    assert_eq!(driver.wait_used(RX).len, 72);
    still_works(&mut driver, &far);
}

#[test]
fn a_guest_that_only_sends_still_receives_and_stops() {
    let (mut driver, _handle, far) = connected();
    add_buffers(&mut driver);
    let runt = [0; 20];
    driver.request(TX, &[Buffer::Out(&runt)]);
    // The ring is kept full, however fast the device is.
    let used = GuestAddress(driver.layout(1).used + 2);
    for _ in 0..2000 {
        let index: u16 = driver.memory.load(used, Ordering::SeqCst).unwrap();
        driver.set_avail_idx(TX, index.wrapping_add(256));
        driver.kick(TX);
    }
    far.socket.send(&packet(2, 60)).unwrap();
    assert_eq!(receive(&mut driver), with_count(packet(2, 60), 1));
    driver.reset();
}

#[test]
fn random_chains_cost_no_one_but_their_sender() {
    let (mut driver, handle, far) = connected();
    // xorshift64: the same chains in each run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    far.socket.set_nonblocking(true).unwrap();
    for _ in 0..400 {
        let queue = if random(2) == 0 { RX } else { TX };
        for index in 0..256 {
            let descriptor = Descriptor {
                address: random(MEMORY + 4096),
                len: u32::try_from(random(70_000)).unwrap() >> random(17),
                flags: [0, NEXT, WRITE, WRITE | NEXT, INDIRECT][usize::try_from(random(5)).unwrap()],
                next: u16::try_from(random(260)).unwrap(),
            };
            driver.write_descriptor(queue, index, descriptor);
        }
        for _ in 0..random(20) {
            driver.make_available(queue, u16::try_from(random(257)).unwrap());
        }
        driver.kick(queue);
        let _ = far.socket.send(&packet(1, usize::try_from(random(60_000)).unwrap()));
        while far.socket.recv(&mut [0]).is_ok() {}
        if random(3) == 0 {
            driver.start();
        }
    }
    assert!(driver.failure.cause().is_none());
    handle.unplug().unwrap();
    let far = plug(&handle);
    driver.start();
    driver.wait_interrupt();
    still_works(&mut driver, &far);
}
