//! What every device must withstand, whatever it does: run over all of them.

use std::io::Write;
use std::os::unix::net::UnixListener;

use vm_memory::{Bytes, GuestAddress};

use super::balloon::Balloon;
use super::block::Block;
use super::device::VirtioDevice;
use super::driver::{Buffer, Descriptor, Driver, INDIRECT, MEMORY, NEXT, WRITE};
use super::fs::Fs;
use super::fs::tests::server::{Manners, Server};
use super::mmio::reg;
use super::net::Net;
use super::rng::Rng;
use super::vsock::Vsock;
use super::{feature, status};

/// A device under test: how to make it, the queue that its driver asks it at, and a chain there that it
/// answers.
struct Subject {
    name: &'static str,
    make: fn() -> Box<dyn VirtioDevice>,
    queue: usize,
    chain: fn() -> Vec<Buffer<'static>>,
}

fn disk() -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[7; 64 * 512]).unwrap();
    file
}

fn socket_device() -> Box<dyn VirtioDevice> {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("vsock.sock")).unwrap();
    Box::new(Vsock::new(3, listener))
}

fn served_device() -> Box<dyn VirtioDevice> {
    let (server, socket) = Server::start(Manners::default());
    // It ends when the device closes the socket.
    std::mem::forget(server);
    Box::new(Fs::new("hull", socket))
}

const READ_SECTOR_0: [u8; 16] = [0; 16];

fn read_sector() -> Vec<Buffer<'static>> {
    vec![Buffer::Out(&READ_SECTOR_0), Buffer::In(512), Buffer::In(1)]
}

const SUBJECTS: [Subject; 7] = [
    Subject { name: "rng", make: || Box::new(Rng::new()), queue: 0, chain: || vec![Buffer::In(32)] },
    Subject {
        name: "read-only disk",
        make: || Box::new(Block::read_only(vec![(disk(), 0)]).unwrap()),
        queue: 0,
        chain: read_sector,
    },
    Subject {
        name: "read-write disk",
        make: || Box::new(Block::read_write(disk()).unwrap()),
        queue: 0,
        chain: read_sector,
    },
    Subject { name: "empty slot", make: || Box::new(Block::empty_slot(true)), queue: 0, chain: read_sector },
    Subject {
        name: "balloon",
        make: || Box::new(Balloon::new()),
        queue: 2,
        chain: || vec![Buffer::In(4096)],
    },
    // No cable: taken and dropped.
    Subject {
        name: "net",
        make: || Box::new(Net::new([2, 0, 0, 0, 0, 1], None).unwrap()),
        queue: 1,
        chain: || vec![Buffer::Out(&[0; 72])],
    },
    // A packet from the wrong address: taken and dropped.
    Subject { name: "vsock", make: socket_device, queue: 1, chain: || vec![Buffer::Out(&[0; 44])] },
];

/// Its rings are walked by another process, to which the same applies.
const SERVED: Subject = Subject { name: "fs", make: served_device, queue: 1, chain: read_sector };

/// On memory of either kind, where both will do.
fn each(check: impl Fn(&Subject, &mut Driver)) {
    for subject in &SUBJECTS {
        println!("device: {}", subject.name);
        check(subject, &mut Driver::new((subject.make)()));
    }
    for subject in SUBJECTS.iter().chain([&SERVED]) {
        println!("device on shared memory: {}", subject.name);
        check(subject, &mut Driver::on_shared_memory((subject.make)()));
    }
}

fn works(subject: &Subject, driver: &mut Driver) {
    for _ in 0..3 {
        driver.request(subject.queue, &(subject.chain)());
    }
}

/// After `abuse` of a running device, it wants a reset; after that it works again.
fn breaks_until_reset(abuse: impl Fn(&Subject, &mut Driver)) {
    each(|subject, driver| {
        driver.start();
        works(subject, driver);
        abuse(subject, driver);
        driver.kick(subject.queue);
        driver.wait_needs_reset();
        assert!(driver.failure.cause().is_none(), "a guest's mistake is no failure of the host");
        driver.start();
        works(subject, driver);
    });
}

/// Offers one chain made of these descriptors, the first of which is its head.
fn offer(subject: &Subject, driver: &mut Driver, descriptors: &[Descriptor]) {
    for (index, descriptor) in (0..).zip(descriptors) {
        driver.write_descriptor(subject.queue, index, *descriptor);
    }
    driver.make_available(subject.queue, 0);
}

fn size(subject: &Subject, driver: &mut Driver) -> u16 {
    driver.layout(u32::try_from(subject.queue).unwrap()).size
}

#[test]
fn registers_identify_a_modern_device() {
    each(|_, driver| {
        assert_eq!(driver.read(reg::MAGIC_VALUE), u32::from_le_bytes(*b"virt"));
        assert_eq!(driver.read(reg::VERSION), 2);
        assert_ne!(driver.read(reg::DEVICE_ID), 0);
        assert_eq!(driver.status(), 0);
        assert_eq!(driver.read(reg::SHM_LEN_LOW), u32::MAX);
        assert_eq!(driver.read(0x0f0), 0);
    });
}

#[test]
fn a_device_works_again_after_each_reset() {
    each(|subject, driver| {
        for _ in 0..3 {
            driver.start();
            works(subject, driver);
        }
    });
}

#[test]
fn a_reset_stops_the_device() {
    each(|subject, driver| {
        driver.start();
        works(subject, driver);
        driver.add(subject.queue, &(subject.chain)());
        driver.write(reg::STATUS, 0);
        assert_eq!(driver.read(reg::INTERRUPT_STATUS), 0);
        driver.kick(subject.queue);
        driver.reset();
        assert!(!driver.interrupt_is_pending());
    });
}

#[test]
fn plain_rings_without_event_indexes_work_too() {
    each(|subject, driver| {
        driver.start_with(feature::VERSION_1);
        works(subject, driver);
    });
}

#[test]
fn features_that_were_not_offered_are_refused() {
    each(|_, driver| {
        let offered = driver.offered();
        driver.negotiate(offered | 1 << 63);
        assert_eq!(driver.status(), 3);
        driver.negotiate(offered & !feature::VERSION_1);
        assert_eq!(driver.status(), 3);
        driver.negotiate(offered);
        assert_eq!(driver.status(), 11);
        // Too late.
        driver.write(reg::DRIVER_FEATURES_SEL, 0);
        driver.write(reg::DRIVER_FEATURES, 0);
        driver.setup_queues();
        driver.go();
        assert_eq!(driver.status(), 15);
    });
}

#[test]
fn the_status_only_moves_forward() {
    each(|subject, driver| {
        driver.write(reg::STATUS, 15);
        assert_eq!(driver.status(), 0);
        driver.start();
        for value in [1, 3, 11, 15, 64] {
            driver.write(reg::STATUS, value);
            assert_eq!(driver.status(), if value == 64 { 0 } else { 15 }, "{value}");
        }
        driver.start();
        driver.write(reg::STATUS, 15 | status::FAILED);
        assert_eq!(driver.status(), 15 | status::FAILED);
        driver.start();
        works(subject, driver);
    });
}

#[test]
fn the_device_alone_says_that_it_needs_a_reset() {
    each(|_, driver| {
        driver.reset();
        driver.write(reg::STATUS, 1 | status::DEVICE_NEEDS_RESET);
        assert_eq!(driver.status(), 1);
        driver.write(reg::STATUS, 3 | status::DEVICE_NEEDS_RESET);
        assert_eq!(driver.status(), 3);
    });
}

#[test]
fn the_configuration_reads_as_zeros_behind_its_end_and_cannot_be_written() {
    each(|_, driver| {
        let before = driver.config::<64>(0);
        for offset in [0, 4, 60, 0xe00] {
            driver.write(reg::CONFIG + offset, u32::MAX);
        }
        assert_eq!(driver.config::<64>(0), before);
        assert_eq!(driver.config::<8>(0xe00), [0; 8]);
        assert_eq!(driver.config::<8>(u64::MAX - reg::CONFIG), [0; 8]);
        assert!(driver.config::<0>(0).is_empty());
    });
}

#[test]
fn registers_take_only_words() {
    use crate::devices::bus::BusDevice;
    each(|_, driver| {
        for len in [0, 1, 2, 3, 8] {
            let mut data = vec![0xee; len];
            driver.transport.read(reg::MAGIC_VALUE, &mut data);
            assert_eq!(data, vec![0xee; len]);
            driver.transport.write(reg::STATUS, &vec![1; len]);
        }
        assert_eq!(driver.status(), 0);
    });
}

#[test]
fn queues_that_do_not_exist_have_no_size_and_take_nothing() {
    each(|subject, driver| {
        for queue in [3, 16, u32::MAX] {
            driver.write(reg::QUEUE_SEL, queue);
            assert_eq!(driver.read(reg::QUEUE_NUM_MAX), 0);
            driver.write(reg::QUEUE_READY, 1);
            assert_eq!(driver.read(reg::QUEUE_READY), 0);
            driver.write(reg::QUEUE_NOTIFY, queue);
        }
        driver.start();
        driver.write(reg::QUEUE_NOTIFY, u32::MAX);
        works(subject, driver);
    });
}

/// A device whose queue was set up like this wants a reset at once.
fn refuses_queue(setup: impl Fn(&mut Driver, u32)) {
    each(|subject, driver| {
        let features = driver.offered();
        driver.negotiate(features);
        driver.setup_queues();
        setup(driver, u32::try_from(subject.queue).unwrap());
        driver.go();
        assert_eq!(driver.status(), 15 | status::DEVICE_NEEDS_RESET);
        driver.kick(subject.queue);
        driver.start();
        works(subject, driver);
    });
}

#[test]
fn a_queue_that_is_not_ready_is_refused() {
    refuses_queue(|driver, queue| {
        driver.write(reg::QUEUE_SEL, queue);
        driver.write(reg::QUEUE_READY, 0);
    });
}

#[test]
fn queue_sizes_of_zero_above_max_or_no_power_of_two_are_refused() {
    for size in [0, 3, 96, 1024, 0x8000, 0x10000, u32::MAX] {
        refuses_queue(|driver, queue| {
            driver.write(reg::QUEUE_SEL, queue);
            driver.write(reg::QUEUE_NUM, size);
        });
    }
}

#[test]
fn rings_outside_of_memory_or_out_of_line_are_refused() {
    for address in [MEMORY, MEMORY - 2, !15, 1 << 40, 0x101] {
        for part in 0..3 {
            refuses_queue(|driver, queue| {
                let mut ring = driver.layout(queue);
                match part {
                    0 => ring.desc = address | 1,
                    1 => ring.avail = address,
                    _ => ring.used = address,
                }
                let size = ring.size.into();
                driver.write_layout(queue, size, &ring);
            });
        }
    }
}

#[test]
fn queues_cannot_be_moved_while_the_device_runs() {
    each(|subject, driver| {
        driver.start();
        driver.write(reg::QUEUE_SEL, u32::try_from(subject.queue).unwrap());
        driver.write(reg::QUEUE_NUM, 1);
        driver.write(reg::QUEUE_DESC_LOW, 0xdead_0000);
        driver.write(reg::QUEUE_READY, 0);
        assert_eq!(driver.read(reg::QUEUE_READY), 1);
        works(subject, driver);
    });
}

#[test]
fn a_chain_that_loops_breaks_the_device() {
    breaks_until_reset(|subject, driver| {
        let address = driver.allocate(16);
        let (first, second) = (
            Descriptor { address, len: 16, flags: NEXT, next: 1 },
            Descriptor { address, len: 16, flags: NEXT, next: 0 },
        );
        offer(subject, driver, &[first, second]);
    });
}

#[test]
fn a_chain_that_leaves_its_table_breaks_the_device() {
    breaks_until_reset(|subject, driver| {
        let address = driver.allocate(16);
        let next = size(subject, driver);
        offer(subject, driver, &[Descriptor { address, len: 16, flags: NEXT, next }]);
    });
}

#[test]
fn a_head_outside_of_the_table_breaks_the_device() {
    for head in [0x4000, u16::MAX] {
        breaks_until_reset(|subject, driver| driver.make_available(subject.queue, head));
    }
}

#[test]
fn buffers_outside_of_memory_break_the_device() {
    for (address, len) in [(MEMORY, 1), (MEMORY - 8, 16), (u64::MAX, 1), (u64::MAX - 7, 16), (0, u32::MAX)] {
        for flags in [0, WRITE] {
            breaks_until_reset(|subject, driver| {
                offer(subject, driver, &[Descriptor { address, len, flags, next: 0 }]);
            });
        }
    }
}

#[test]
fn lengths_that_sum_up_beyond_four_gigabytes_break_the_device() {
    breaks_until_reset(|subject, driver| {
        let len = u32::try_from(MEMORY).unwrap();
        let count = size(subject, driver);
        let descriptors = (1..=count)
            .map(|next| Descriptor { address: 0, len, flags: if next < count { NEXT } else { 0 }, next })
            .collect::<Vec<_>>();
        // Where the ring has too few descriptors for that, the last one points outside.
        let mut descriptors = descriptors;
        if let Some(last) = descriptors.last_mut() {
            last.address = u64::from(count < 128) * MEMORY;
        }
        offer(subject, driver, &descriptors);
    });
}

#[test]
fn readable_behind_writable_breaks_the_device() {
    breaks_until_reset(|subject, driver| {
        let address = driver.allocate(16);
        let writable = Descriptor { address, len: 16, flags: WRITE | NEXT, next: 1 };
        offer(subject, driver, &[writable, Descriptor { flags: 0, next: 0, ..writable }]);
    });
}

#[test]
fn tables_that_are_nested_odd_empty_or_too_long_break_the_device() {
    let table_with = |subject: &Subject, driver: &mut Driver, entry: Descriptor, entries: u16, len: u32| {
        let table = driver.allocate(16 * u32::from(entries));
        for index in 0..entries {
            let last = index + 1 == entries;
            let entry = Descriptor {
                flags: if last { entry.flags } else { entry.flags | NEXT },
                next: index + 1,
                ..entry
            };
            driver.memory.write_slice(&entry.bytes(), GuestAddress(table + 16 * u64::from(index))).unwrap();
        }
        offer(subject, driver, &[Descriptor { address: table, len, flags: INDIRECT, next: 0 }]);
    };
    let entry = Descriptor { address: 0x20_0000, len: 1, flags: 0, next: 0 };
    breaks_until_reset(|subject, driver| {
        table_with(subject, driver, Descriptor { flags: INDIRECT, len: 16, ..entry }, 1, 16);
    });
    for len in [0, 1, 17, 0xffff_fff0] {
        breaks_until_reset(|subject, driver| table_with(subject, driver, entry, 2, len));
    }
    breaks_until_reset(|subject, driver| {
        let entries = size(subject, driver) + 1;
        table_with(subject, driver, entry, entries, 16 * u32::from(entries));
    });
}

#[test]
fn more_chains_than_the_ring_has_room_for_break_the_device() {
    breaks_until_reset(|subject, driver| {
        let ahead = size(subject, driver) + 10;
        driver.set_avail_idx(subject.queue, ahead);
    });
}

#[test]
fn a_driver_that_never_stops_cannot_keep_the_device_from_stopping() {
    each(|subject, driver| {
        driver.start();
        // All heads are valid chains already; only the index moves on.
        driver.request(subject.queue, &(subject.chain)());
        let step = size(subject, driver);
        let mut index = 1_u16;
        for _ in 0..200 {
            index = index.wrapping_add(step / 2);
            driver.set_avail_idx(subject.queue, index);
            driver.kick(subject.queue);
        }
        driver.reset();
    });
}
