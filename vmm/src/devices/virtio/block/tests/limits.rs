//! Disks that are held to rates. The clock is the real one here: what must not wait is told by an answer
//! that comes, what must wait by the time it took at the least.

use std::time::{Duration, Instant};

use super::*;
use crate::config::DiskLimits;

const NONE: DiskLimits = DiskLimits { read_bps: None, write_bps: None, read_iops: None, write_iops: None };

fn limited(limits: DiskLimits) -> (Driver, DiskHandle) {
    let disk = Block::read_write(file_with(&numbered(64))).unwrap();
    let handle = disk.handle();
    handle.limit(&limits);
    (Driver::started(Box::new(disk)), handle)
}

fn add_read(driver: &mut Driver, sector: u64, bytes: u32) -> u16 {
    driver.add(0, &[Buffer::Out(&header(READ, sector)), Buffer::In(bytes), Buffer::In(1)])
}

fn add_write(driver: &mut Driver, sector: u64) -> u16 {
    driver.add(0, &[Buffer::Out(&header(WRITE, sector)), Buffer::Out(&[9; 512]), Buffer::In(1)])
}

fn add_flush(driver: &mut Driver) -> u16 {
    driver.add(0, &[Buffer::Out(&header(FLUSH, 0)), Buffer::In(1)])
}

#[test]
fn requests_over_the_rate_are_answered_in_order_and_in_their_time() {
    let (mut driver, _) = limited(DiskLimits { read_iops: Some(20), ..NONE });
    let begin = Instant::now();
    let heads = (0..26).map(|sector| add_read(&mut driver, sector, 512)).collect::<Vec<_>>();
    driver.kick(0);
    for (sector, head) in (1..).zip(heads) {
        let used = driver.wait_used(0);
        assert_eq!((used.head, status(&used), used.data[0]), (head, OK, sector));
    }
    // Twenty at once, six at twenty a second.
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
}

#[test]
fn bytes_are_counted_and_a_large_request_is_paid_for_by_the_next() {
    let (mut driver, _) = limited(DiskLimits { read_bps: Some(10_000), ..NONE });
    let begin = Instant::now();
    assert_eq!(status(&read(&mut driver, 0, 24 * 512)), OK);
    assert_eq!(status(&read(&mut driver, 0, 512)), OK);
    assert!(begin.elapsed() >= Duration::from_millis(280), "{:?}", begin.elapsed());
}

#[test]
fn other_direction_flush_and_discard_have_no_limit() {
    let (mut driver, _) = limited(DiskLimits { write_bps: Some(1), write_iops: Some(1), ..NONE });
    // A bucket that is empty for eight minutes.
    assert_eq!(write(&mut driver, 0, &[1; 512]), OK);
    for _ in 0..20 {
        assert_eq!(status(&read(&mut driver, 0, 512)), OK);
        assert_eq!(command(&mut driver, FLUSH, &[]), OK);
        assert_eq!(command(&mut driver, DISCARD, &[range(8, 8, 0)]), OK);
    }
}

#[test]
fn what_stands_behind_a_waiting_request_waits_with_it() {
    let (mut driver, handle) = limited(DiskLimits { write_iops: Some(1), ..NONE });
    assert_eq!(write(&mut driver, 0, &[1; 512]), OK);
    handle.limit(&DiskLimits { write_bps: Some(1), ..NONE });
    let first = add_write(&mut driver, 1);
    let second = add_write(&mut driver, 2);
    let flush = add_flush(&mut driver);
    driver.kick(0);
    assert_eq!(driver.wait_used(0).head, first);
    // A notification meanwhile changes nothing.
    driver.kick(0);
    handle.limit(&NONE);
    assert_eq!(driver.wait_used(0).head, second);
    assert_eq!(driver.wait_used(0).head, flush);
}

/// Offers a write until the device is stopped, and tells whether it was served. The flush before it shows
/// that the worker has come to the ring; it then looks at all that is there before it stops.
fn is_served_before_a_reset(driver: &mut Driver, file: &File, sector: u8) -> bool {
    let flush = add_flush(driver);
    add_write(driver, sector.into());
    driver.kick(0);
    assert_eq!(driver.wait_used(0).head, flush);
    driver.reset();
    driver.start();
    let mut content = [0; 512];
    file.read_exact_at(&mut content, u64::from(sector) * 512).unwrap();
    content == [9; 512]
}

#[test]
fn device_stops_while_a_request_waits_and_a_reset_fills_no_bucket() {
    let file = file_with(&numbered(64));
    let disk = Block::read_write(file.try_clone().unwrap()).unwrap();
    let handle = disk.handle();
    handle.limit(&DiskLimits { write_bps: Some(1), ..NONE });
    let mut driver = Driver::started(Box::new(disk));
    let begin = Instant::now();
    assert!(is_served_before_a_reset(&mut driver, &file, 0));
    assert!(!is_served_before_a_reset(&mut driver, &file, 1));
    assert!(!is_served_before_a_reset(&mut driver, &file, 2));
    handle.limit(&NONE);
    assert!(is_served_before_a_reset(&mut driver, &file, 3));
    assert!(begin.elapsed() < Duration::from_secs(60), "a request takes minutes by then");
}

#[test]
fn slot_keeps_its_limits_when_it_is_filled() {
    let slot = Block::empty_slot(true);
    let handle = slot.handle();
    handle.limit(&DiskLimits { read_bps: Some(1), ..NONE });
    handle.fill_read_only(vec![(file_with(&numbered(8)), 0)]).unwrap();
    let mut driver = Driver::started(Box::new(slot));
    driver.wait_interrupt();
    assert_eq!(status(&read(&mut driver, 0, 512)), OK);
    add_read(&mut driver, 1, 512);
    driver.kick(0);
    handle.limit(&NONE);
    assert_eq!(driver.wait_used(0).data[0], 2);
}

#[test]
fn hostile_requests_are_counted_for_no_more_than_one_may_have() {
    let (mut driver, handle) = limited(DiskLimits { read_bps: Some(u64::MAX), write_bps: Some(1), ..NONE });
    for sector in [u64::MAX, 64, 0] {
        let used = read(&mut driver, sector, 511);
        assert_eq!(status(&used), IOERR);
    }
    // Fails, and is counted all the same.
    assert_eq!(write(&mut driver, u64::MAX, &[0; 512]), IOERR);
    let waiting = add_write(&mut driver, 0);
    driver.kick(0);
    handle.limit(&NONE);
    assert_eq!(driver.wait_used(0).head, waiting);
    assert_eq!(command(&mut driver, WRITE_ZEROES, &[range(u64::MAX, u32::MAX, 0)]), IOERR);
}
