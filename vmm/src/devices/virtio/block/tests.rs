mod limits;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::*;
use crate::devices::virtio::driver::{Buffer, Driver, Used};

const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;
const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

fn file_with(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

/// `sectors` sectors, each full of its own number.
fn numbered(sectors: u8) -> Vec<u8> {
    (1..=sectors).flat_map(|number| [number; 512]).collect()
}

fn header(kind: u32, sector: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    header
}

fn range(sector: u64, sectors: u32, flags: u32) -> [u8; 16] {
    let mut range = [0; 16];
    range[..8].copy_from_slice(&sector.to_le_bytes());
    range[8..12].copy_from_slice(&sectors.to_le_bytes());
    range[12..].copy_from_slice(&flags.to_le_bytes());
    range
}

fn status(used: &Used) -> u8 {
    *used.data.last().unwrap()
}

fn read(driver: &mut Driver, sector: u64, bytes: u32) -> Used {
    driver.request(0, &[Buffer::Out(&header(READ, sector)), Buffer::In(bytes), Buffer::In(1)])
}

fn write(driver: &mut Driver, sector: u64, data: &[u8]) -> u8 {
    status(&driver.request(0, &[Buffer::Out(&header(WRITE, sector)), Buffer::Out(data), Buffer::In(1)]))
}

fn command(driver: &mut Driver, kind: u32, ranges: &[[u8; 16]]) -> u8 {
    let payload = ranges.concat();
    status(&driver.request(0, &[Buffer::Out(&header(kind, 0)), Buffer::Out(&payload), Buffer::In(1)]))
}

fn capacity(driver: &mut Driver) -> u64 {
    u64::from_le_bytes(driver.config(0))
}

fn raw_disk(content: &[u8]) -> (Driver, File) {
    let file = file_with(content);
    let shared = file.try_clone().unwrap();
    (Driver::started(Box::new(Block::read_write(file).unwrap())), shared)
}

#[test]
fn segments_appear_at_their_sectors_and_gaps_read_as_zeros() {
    let segments = vec![(file_with(&numbered(2)), 0), (file_with(&[7; 700]), 4), (file_with(&[9; 512]), 6)];
    let mut driver = Driver::started(Box::new(Block::read_only(segments).unwrap()));
    assert_eq!(capacity(&mut driver), 7);
    let used = read(&mut driver, 0, 7 * 512);
    assert_eq!((status(&used), used.len), (OK, 7 * 512 + 1));
    let mut expected = numbered(2);
    expected.extend([0; 1024]);
    expected.extend([7; 700]);
    expected.extend([0; 324]);
    expected.extend([9; 512]);
    assert_eq!(used.data[..7 * 512], expected);
}

#[test]
fn a_read_may_start_in_a_gap_and_be_split_over_buffers() {
    let segments = vec![(file_with(&numbered(4)), 2)];
    let mut driver = Driver::started(Box::new(Block::read_only(segments).unwrap()));
    let used = driver.request(
        0,
        &[
            Buffer::Out(&header(READ, 1)),
            Buffer::In(100),
            Buffer::In(512),
            Buffer::In(1),
            Buffer::In(923),
            Buffer::In(1),
        ],
    );
    assert_eq!(status(&used), OK);
    assert_eq!(used.data[..512], [0; 512]);
    assert_eq!(used.data[512..1536], numbered(2));
}

#[test]
fn a_file_that_shrank_reads_as_zeros_behind_its_end() {
    let file = file_with(&numbered(4));
    let shared = file.try_clone().unwrap();
    let mut driver = Driver::started(Box::new(Block::read_only(vec![(file, 0)]).unwrap()));
    shared.set_len(512).unwrap();
    let used = read(&mut driver, 0, 2048);
    assert_eq!(used.data[..512], [1; 512]);
    assert_eq!(used.data[512..2048], [0; 1536]);
}

#[test]
fn overlapping_descending_and_far_segments_are_refused() {
    let two = || file_with(&numbered(2));
    for starts in [[0, 1], [4, 2], [0, u64::MAX / 512 + 1], [0, u64::MAX]] {
        let segments = starts.map(|start| (two(), start)).into();
        assert!(matches!(Block::read_only(segments), Err(BackendError::Placement { segment: 1, .. })));
    }
    assert!(matches!(Block::read_only(Vec::new()), Err(BackendError::Empty)));
    assert!(matches!(Block::read_write(file_with(&[1; 511])), Err(BackendError::Empty)));
}

#[test]
fn a_read_only_disk_refuses_every_change() {
    let mut driver = Driver::started(Box::new(Block::read_only(vec![(file_with(&numbered(8)), 0)]).unwrap()));
    assert_ne!(driver.offered() & F_RO, 0);
    assert_eq!(driver.offered() & (F_FLUSH | F_DISCARD | F_WRITE_ZEROES), 0);
    assert_eq!(write(&mut driver, 0, &[0; 512]), IOERR);
    assert_eq!(command(&mut driver, DISCARD, &[range(0, 8, 0)]), IOERR);
    assert_eq!(command(&mut driver, WRITE_ZEROES, &[range(0, 8, 0)]), IOERR);
    assert_eq!(read(&mut driver, 0, 512).data[..512], [1; 512]);
}

#[test]
fn what_is_written_is_in_the_file_and_can_be_read() {
    let (mut driver, file) = raw_disk(&numbered(8));
    assert_eq!(write(&mut driver, 3, &[0xaa; 1024]), OK);
    assert_eq!(command(&mut driver, FLUSH, &[]), OK);
    let mut content = vec![0; 512];
    file.read_exact_at(&mut content, 4 * 512).unwrap();
    assert_eq!(content, [0xaa; 512]);
    assert_eq!(read(&mut driver, 2, 1024).data[..1024], [[3; 512], [0xaa; 512]].concat());
}

#[test]
fn requests_behind_the_end_or_not_of_whole_sectors_fail() {
    let (mut driver, file) = raw_disk(&numbered(8));
    for sector in [8, 9, u64::MAX, u64::MAX / 512, u64::MAX - 1] {
        assert_eq!(status(&read(&mut driver, sector, 512)), IOERR, "sector {sector}");
        assert_eq!(write(&mut driver, sector, &[1; 512]), IOERR, "sector {sector}");
    }
    assert_eq!(status(&read(&mut driver, 7, 1024)), IOERR);
    assert_eq!(status(&read(&mut driver, 0, 511)), IOERR);
    assert_eq!(write(&mut driver, 0, &[1; 100]), IOERR);
    assert_eq!(file.metadata().unwrap().len(), 8 * 512);
}

#[test]
fn a_request_larger_than_the_limits_allow_fails() {
    let (mut driver, file) = raw_disk(&[1; 512]);
    file.set_len(1 << 40).unwrap();
    drop(driver);
    driver = Driver::started(Box::new(Block::read_write(file).unwrap()));
    // The same buffer many times over: 125 x 2 MiB.
    let address = driver.allocate(2 << 20);
    let status_at = driver.allocate(1);
    let header_at = driver.allocate(16);
    use crate::devices::virtio::driver::{Descriptor, NEXT, WRITE};
    driver.write_descriptor(0, 0, Descriptor { address: header_at, len: 16, flags: NEXT, next: 1 });
    for index in 1..=125 {
        let buffer = Descriptor { address, len: 2 << 20, flags: NEXT | WRITE, next: index + 1 };
        driver.write_descriptor(0, index, buffer);
    }
    driver.write_descriptor(0, 126, Descriptor { address: status_at, len: 1, flags: WRITE, next: 0 });
    driver.make_available(0, 0);
    driver.kick(0);
    assert_eq!(driver.wait_used(0).len, 0);
    let mut answer = [0xff];
    vm_memory::Bytes::read_slice(&*driver.memory, &mut answer, vm_memory::GuestAddress(status_at)).unwrap();
    assert_eq!(answer, [IOERR]);
}

#[test]
fn unknown_commands_are_unsupported_and_short_headers_fail() {
    let (mut driver, _file) = raw_disk(&numbered(8));
    for kind in [2, 3, 10, 14, 16, 99, u32::MAX] {
        assert_eq!(command(&mut driver, kind, &[]), UNSUPP, "type {kind}");
    }
    assert_eq!(status(&driver.request(0, &[Buffer::Out(&[0; 15]), Buffer::In(1)])), IOERR);
    assert_eq!(status(&driver.request(0, &[Buffer::In(513)])), IOERR);
    // No room for a status: the chain comes back, nothing else happens.
    assert_eq!(driver.request(0, &[Buffer::Out(&header(FLUSH, 0))]).len, 0);
}

#[test]
fn the_id_is_twenty_bytes() {
    let (mut driver, _file) = raw_disk(&numbered(8));
    let used = driver.request(0, &[Buffer::Out(&header(GET_ID, 0)), Buffer::In(20), Buffer::In(1)]);
    assert_eq!((used.len, &used.data[..5], status(&used)), (21, &b"hull\0"[..], OK));
    let used = driver.request(0, &[Buffer::Out(&header(GET_ID, 0)), Buffer::In(19), Buffer::In(1)]);
    assert_eq!(status(&used), IOERR);
}

#[test]
fn discard_punches_a_hole() {
    let (mut driver, file) = raw_disk(&vec![0xee; 1 << 20]);
    file.sync_all().unwrap();
    let before = file.metadata().unwrap().blocks();
    assert_eq!(command(&mut driver, DISCARD, &[range(0, 512, 0), range(1024, 512, 0)]), OK);
    assert!(file.metadata().unwrap().blocks() <= before - 1000);
    assert_eq!(file.metadata().unwrap().len(), 1 << 20);
    assert_eq!(read(&mut driver, 512, 512).data[..512], [0xee; 512]);
}

#[test]
fn zeroes_are_written_with_and_without_unmapping() {
    let (mut driver, _file) = raw_disk(&numbered(64));
    assert_eq!(command(&mut driver, WRITE_ZEROES, &[range(1, 2, 0), range(5, 1, 1)]), OK);
    let data = read(&mut driver, 0, 8 * 512).data;
    for (sector, expected) in [1, 0, 0, 4, 5, 0, 7, 8].into_iter().enumerate() {
        assert_eq!(data[sector * 512..(sector + 1) * 512], [expected; 512], "sector {sector}");
    }
}

#[test]
fn ranges_out_of_bounds_too_long_or_with_unknown_flags_fail() {
    let (mut driver, file) = raw_disk(&numbered(64));
    file.set_len(1 << 40).unwrap();
    for kind in [DISCARD, WRITE_ZEROES] {
        assert_eq!(command(&mut driver, kind, &[range(63, 2, 0)]), IOERR);
        assert_eq!(command(&mut driver, kind, &[range(u64::MAX, 1, 0)]), IOERR);
        assert_eq!(command(&mut driver, kind, &[range(0, u32::MAX, 0)]), IOERR);
        assert_eq!(command(&mut driver, kind, &[range(0, 1, 2)]), UNSUPP);
        assert_eq!(command(&mut driver, kind, &vec![range(0, 0, 0); 33]), IOERR);
        assert_eq!(command(&mut driver, kind, &vec![range(0, 0, 0); 32]), OK);
    }
    assert_eq!(command(&mut driver, DISCARD, &[range(0, 1, 1)]), UNSUPP);
    let half = driver
        .request(0, &[Buffer::Out(&header(DISCARD, 0)), Buffer::Out(&range(0, 1, 0)[..9]), Buffer::In(1)]);
    assert_eq!(status(&half), IOERR);
    assert_eq!(read(&mut driver, 0, 512).data[..512], [1; 512]);
}

#[test]
fn a_chain_in_a_table_of_its_own_is_served() {
    let (mut driver, _file) = raw_disk(&numbered(8));
    use crate::devices::virtio::driver::{Descriptor, INDIRECT, NEXT, WRITE};
    let header_at = driver.allocate(16);
    let data_at = driver.allocate(512);
    let status_at = driver.allocate(1);
    let table = driver.allocate(48);
    let memory = driver.memory.clone();
    let put = |at, bytes: &[u8]| {
        vm_memory::Bytes::write_slice(&*memory, bytes, vm_memory::GuestAddress(at)).unwrap();
    };
    put(header_at, &header(READ, 4));
    put(table, &Descriptor { address: header_at, len: 16, flags: NEXT, next: 1 }.bytes());
    put(table + 16, &Descriptor { address: data_at, len: 512, flags: NEXT | WRITE, next: 2 }.bytes());
    put(table + 32, &Descriptor { address: status_at, len: 1, flags: WRITE, next: 0 }.bytes());
    driver.write_descriptor(0, 9, Descriptor { address: table, len: 48, flags: INDIRECT, next: 0 });
    driver.make_available(0, 9);
    driver.kick(0);
    let used = driver.wait_used(0);
    assert_eq!((used.head, used.len), (9, 513));
}

#[test]
fn an_empty_slot_shows_one_sector_of_zeros() {
    let slot = Block::empty_slot(false);
    let handle = slot.handle();
    let mut driver = Driver::started(Box::new(slot));
    assert_eq!(capacity(&mut driver), 1);
    assert_eq!(read(&mut driver, 0, 512).data[..512], [0; 512]);
    assert_eq!(status(&read(&mut driver, 1, 512)), IOERR);
    assert_eq!(write(&mut driver, 0, &[1; 512]), IOERR);
    assert_eq!(command(&mut driver, FLUSH, &[]), OK);
    assert!(!handle.is_filled());
}

#[test]
fn filling_a_slot_changes_capacity_and_generation_and_tells_the_driver() {
    let slot = Block::empty_slot(true);
    let handle = slot.handle();
    let mut driver = Driver::started(Box::new(slot));
    let generation = driver.read(crate::devices::virtio::mmio::reg::CONFIG_GENERATION);
    assert_eq!(handle.fill_read_only(vec![(file_with(&numbered(6)), 2)]).unwrap(), 8);
    assert_eq!(driver.wait_interrupt(), 2);
    assert_ne!(driver.read(crate::devices::virtio::mmio::reg::CONFIG_GENERATION), generation);
    assert_eq!(capacity(&mut driver), 8);
    assert_eq!(read(&mut driver, 7, 512).data[..512], [6; 512]);
}

#[test]
fn a_slot_is_filled_once_and_only_with_its_own_kind() {
    let handle = Block::empty_slot(true).handle();
    assert!(matches!(handle.fill_read_write(file_with(&numbered(1))), Err(FillError::ReadOnly)));
    assert_eq!(handle.fill_read_only(vec![(file_with(&numbered(1)), 0)]).unwrap(), 1);
    assert!(matches!(handle.fill_read_only(vec![(file_with(&numbered(1)), 0)]), Err(FillError::Filled)));
    let handle = Block::empty_slot(false).handle();
    assert!(matches!(handle.fill_read_only(vec![(file_with(&[1]), 0)]), Err(FillError::ReadWrite)));
    assert!(matches!(handle.fill_read_write(file_with(&[])), Err(FillError::Backend(_))));
    assert!(!handle.is_filled());
}

#[test]
fn a_disk_that_is_no_slot_is_not_filled() {
    let disk = Block::read_only(vec![(file_with(&numbered(1)), 0)]).unwrap();
    let error = disk.handle().fill_read_only(vec![(file_with(&numbered(2)), 0)]).unwrap_err();
    assert!(matches!(error, FillError::NotASlot), "{error}");
}

#[test]
fn a_slot_filled_before_the_driver_is_up_is_announced_when_it_is() {
    let slot = Block::empty_slot(false);
    let handle = slot.handle();
    let mut driver = Driver::new(Box::new(slot));
    handle.fill_read_write(file_with(&numbered(3))).unwrap();
    assert!(!driver.interrupt_is_pending());
    driver.start();
    assert_eq!(driver.wait_interrupt(), 2);
    assert_eq!(capacity(&mut driver), 3);
}

#[test]
fn a_disk_comes_up_without_an_interrupt() {
    let (driver, _file) = raw_disk(&numbered(1));
    assert!(!driver.interrupt_is_pending());
}

#[test]
fn a_full_ring_of_requests_is_answered() {
    let (mut driver, _file) = raw_disk(&numbered(64));
    for sector in 0..42 {
        driver.add(0, &[Buffer::Out(&header(READ, sector)), Buffer::In(512), Buffer::In(1)]);
    }
    driver.kick(0);
    let mut seen = (0..42).map(|_| driver.wait_used(0).data[0]).collect::<Vec<_>>();
    seen.sort_unstable();
    assert_eq!(seen, (1..=42).collect::<Vec<_>>());
}
