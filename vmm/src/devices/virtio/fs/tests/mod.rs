//! The device between a driver and a server, both played here.

pub mod server;

mod failing;

use super::*;
use crate::devices::virtio::device::VirtioDevice;
use crate::devices::virtio::driver::{Buffer, Descriptor, Driver, WRITE};
use crate::devices::virtio::mmio::reg;
use server::{Manners, Server};

const HIPRIO: usize = 0;
const REQUESTS: usize = 1;

fn device(manners: Manners) -> (Server, Driver) {
    let (server, socket) = Server::start(manners);
    (server, Driver::on_shared_memory(Box::new(Fs::new("hull", socket))))
}

fn echo(driver: &mut Driver, queue: usize) {
    let used = driver.request(queue, &[Buffer::Out(b"stressed"), Buffer::Out(b" tips"), Buffer::In(16)]);
    assert_eq!((used.len, &used.data[..13]), (13, b"spit desserts".as_slice()));
}

#[test]
fn the_configuration_is_tag_and_number_of_request_queues() {
    let (_server, mut driver) = device(Manners::default());
    let mut expected = [0; 40];
    expected[..4].copy_from_slice(b"hull");
    expected[36] = 1;
    assert_eq!(driver.config::<40>(0), expected);
    assert_eq!(driver.config::<8>(36), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(driver.read(reg::DEVICE_ID), 26);
}

#[test]
fn a_tag_may_fill_its_field() {
    let (_server, socket) = Server::start(Manners::default());
    let fs = Fs::new(&"t".repeat(MAX_TAG), socket);
    let mut data = [0; CONFIG];
    fs.read_config(0, &mut data);
    assert_eq!(data[..MAX_TAG], [b't'; MAX_TAG]);
    assert_eq!(data[MAX_TAG..], [1, 0, 0, 0]);
}

#[test]
fn requests_go_through_on_both_queues_and_interrupts_come_back() {
    let (_server, mut driver) = device(Manners::default());
    driver.start();
    for _ in 0..100 {
        echo(&mut driver, REQUESTS);
        echo(&mut driver, HIPRIO);
    }
    assert!(driver.failure.cause().is_none());
}

#[test]
fn only_features_known_to_both_sides_are_offered() {
    let more = Manners::default().features | 1 << 63 | 1 << 26 | 1;
    let (_server, mut driver) = device(Manners { features: more, ..Manners::default() });
    assert_eq!(driver.offered(), feature::COMMON);
    let fewer = Manners::default().features & !feature::INDIRECT_DESC;
    let (_server, mut driver) = device(Manners { features: fewer, ..Manners::default() });
    assert_eq!(driver.offered(), feature::COMMON & !feature::INDIRECT_DESC);
    driver.start();
    echo(&mut driver, REQUESTS);
}

#[test]
fn a_reset_takes_the_rings_back_and_the_next_start_begins_anew() {
    let (server, mut driver) = device(Manners::default());
    for _ in 0..20 {
        driver.start();
        echo(&mut driver, REQUESTS);
        echo(&mut driver, REQUESTS);
        driver.add(REQUESTS, &[Buffer::Out(b"never kicked"), Buffer::In(16)]);
        driver.reset();
        assert!(!driver.interrupt_is_pending());
    }
    driver.start();
    echo(&mut driver, REQUESTS);
    drop(server);
}

#[test]
fn rings_are_not_touched_after_a_reset() {
    let (_server, mut driver) = device(Manners::default());
    for _ in 0..50 {
        driver.start();
        for _ in 0..16 {
            driver.add(REQUESTS, &[Buffer::Out(&[7; 512]), Buffer::In(512)]);
            driver.kick(REQUESTS);
        }
        driver.reset();
        let before = driver.low_memory();
        driver.kick(REQUESTS);
        assert!(driver.low_memory() == before);
    }
}

#[test]
fn rings_that_the_driver_broke_need_a_reset_and_nothing_else() {
    let (_server, mut driver) = device(Manners::default());
    let outside = Descriptor { address: u64::MAX - 7, len: 16, flags: WRITE, next: 0 };
    for queue in [HIPRIO, REQUESTS] {
        driver.start();
        echo(&mut driver, queue);
        driver.write_descriptor(queue, 0, outside);
        driver.make_available(queue, 0);
        driver.kick(queue);
        driver.wait_needs_reset();
        assert!(driver.failure.cause().is_none());
        driver.start();
        echo(&mut driver, queue);
    }
}

#[test]
fn calls_reach_the_guest_through_a_wire_from_start_to_reset() {
    let (server, socket) = Server::start(Manners::default());
    let mut driver = Driver::on_wires(Box::new(Fs::new("hull", socket)));
    assert_eq!(driver.read(reg::INTERRUPT_STATUS), 0);
    for _ in 0..20 {
        driver.start();
        echo(&mut driver, REQUESTS);
        echo(&mut driver, HIPRIO);
        // Nobody here knows of the calls, so the driver has to look.
        assert_eq!(driver.read(reg::INTERRUPT_STATUS), 1);
        driver.write(reg::INTERRUPT_ACK, 1);
        assert_eq!(driver.read(reg::INTERRUPT_STATUS), 1);
        driver.reset();
        assert_eq!(driver.read(reg::INTERRUPT_STATUS), 0);
    }
    driver.start();
    drop(server);
    driver.wait_failure();
    driver.wait_needs_reset();
}
