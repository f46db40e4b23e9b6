//! Devices that are held to rates. The clock is the real one, as for disks.

use std::time::Instant;

use super::*;

fn limited(limits: NetLimits) -> (Driver, NetHandle, Far) {
    let (net, handle) = device();
    let far = plug_with(&handle, &limits);
    let mut driver = Driver::started(Box::new(net));
    driver.wait_interrupt();
    (driver, handle, far)
}

#[test]
fn packets_over_the_rate_leave_in_order_and_in_their_time() {
    let (mut driver, _handle, far) = limited(NetLimits { tx_pps: Some(20), ..NONE });
    let begin = Instant::now();
    for fill in 0..26 {
        driver.add(TX, &[Buffer::Out(&packet(fill, 60))]);
    }
    driver.kick(TX);
    for fill in 0..26 {
        assert_eq!(far.receive(), packet(fill, 60));
    }
    // Twenty at once, six at twenty a second.
    assert!(begin.elapsed() >= Duration::from_millis(280), "{:?}", begin.elapsed());
}

#[test]
fn packets_over_the_rate_arrive_in_their_time() {
    let (mut driver, _handle, far) = limited(NetLimits { rx_pps: Some(20), ..NONE });
    let begin = Instant::now();
    add_buffers(&mut driver);
    for fill in 0..26 {
        far.socket.send(&packet(fill, 60)).unwrap();
    }
    for fill in 0..26 {
        assert_eq!(receive(&mut driver), with_count(packet(fill, 60), 1));
    }
    assert!(begin.elapsed() >= Duration::from_millis(280), "{:?}", begin.elapsed());
}

#[test]
fn bytes_are_those_of_the_frame_and_a_large_packet_is_paid_for_by_the_next() {
    let (mut driver, _handle, far) = limited(NetLimits { rx_bps: Some(10_000), ..NONE });
    let begin = Instant::now();
    add_buffers(&mut driver);
    add_buffers(&mut driver);
    far.socket.send(&packet(1, 13_000)).unwrap();
    far.socket.send(&packet(2, 60)).unwrap();
    receive(&mut driver);
    receive(&mut driver);
    assert!(begin.elapsed() >= Duration::from_millis(280), "{:?}", begin.elapsed());
}

#[test]
fn directions_have_rates_of_their_own() {
    let (mut driver, handle, far) = limited(NetLimits { tx_bps: Some(1), rx_bps: None, ..NONE });
    // A bucket that is empty for a minute.
    send(&mut driver, &packet(1, 60));
    far.receive();
    let waiting = driver.add(TX, &[Buffer::Out(&packet(2, 60))]);
    driver.kick(TX);
    add_buffers(&mut driver);
    for fill in 0..10 {
        far.socket.send(&packet(fill, 60)).unwrap();
        assert_eq!(receive(&mut driver), with_count(packet(fill, 60), 1));
    }
    assert!(far.has_nothing());
    // A new rate is one for what waits already.
    handle.limit(&NONE);
    assert_eq!(far.receive(), packet(2, 60));
    assert_eq!(driver.wait_used(TX).head, waiting);
}

#[test]
fn device_stops_while_a_packet_waits_and_a_reset_fills_no_bucket() {
    let (mut driver, handle, far) = limited(NetLimits { tx_bps: Some(1), ..NONE });
    send(&mut driver, &packet(1, 1000));
    far.receive();
    for _ in 0..2 {
        driver.add(TX, &[Buffer::Out(&packet(2, 60))]);
        driver.kick(TX);
        driver.start();
    }
    assert!(far.has_nothing());
    handle.limit(&NONE);
    send(&mut driver, &packet(3, 60));
    assert_eq!(far.receive(), packet(3, 60));
}

#[test]
fn what_is_no_packet_costs_nothing() {
    let (mut driver, _handle, far) = limited(NetLimits { tx_pps: Some(1), ..NONE });
    for _ in 0..50 {
        send(&mut driver, &packet(1, 13));
    }
    send(&mut driver, &packet(2, 60));
    assert_eq!(far.receive(), packet(2, 60));
}
