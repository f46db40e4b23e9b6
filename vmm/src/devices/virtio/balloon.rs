//! virtio-balloon, of which only free page reporting is used (VirtIO 1.2, 5.5.6.7): the guest names pages
//! that it has no use for, and the host takes their memory back. Nothing is ever asked of the guest.

use std::io;
use std::sync::Arc;

use vmm_sys_util::epoll::EventSet;

use super::chain::Chain;
use super::device::{Activation, VirtioDevice, read_config_bytes};
use super::interrupt::Interrupt;
use super::queue::Queue;
use super::worker::{Poll, Task, TaskError, Token, Worker};
use super::{feature, iovec};
use crate::memory::{self, GuestMemory};

const DEVICE_ID: u32 = 5;
/// Inflate, deflate, reporting. Linux counts only queues that exist, so that reporting is the third
/// although the specification numbers it as the fifth. A report of Linux has 32 ranges, and it gives up if
/// the queue has fewer.
const QUEUE_SIZES: [u16; 3] = [16, 16, 32];
/// VIRTIO_BALLOON_F_REPORTING.
const F_REPORTING: u64 = 1 << 5;
/// struct virtio_balloon_config: the balloon is to hold no pages.
const CONFIG: [u8; 8] = [0; 8];

#[derive(Default)]
pub struct Balloon;

impl Balloon {
    pub fn new() -> Self {
        Self
    }
}

impl VirtioDevice for Balloon {
    fn name(&self) -> &'static str {
        "balloon"
    }

    fn id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self) -> u64 {
        feature::COMMON | F_REPORTING
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&CONFIG, offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> io::Result<Worker> {
        let [inflate, deflate, reports] = activation.take_queues()?;
        let Activation { memory, interrupt, failure, .. } = activation;
        let task = BalloonTask { memory, inflate, deflate, reports, interrupt: interrupt.clone() };
        Worker::spawn(self.name(), task, interrupt, failure)
    }
}

struct BalloonTask {
    memory: Arc<GuestMemory>,
    /// Nobody asked for pages; whoever sends some gets them back as they are.
    inflate: Queue,
    deflate: Queue,
    reports: Queue,
    interrupt: Interrupt,
}

#[derive(Clone, Copy)]
enum Event {
    Inflate,
    Deflate,
    Report,
}

impl Token for Event {
    fn encode(self) -> u64 {
        match self {
            Self::Inflate => 0,
            Self::Deflate => 1,
            Self::Report => 2,
        }
    }

    fn decode(data: u64) -> Option<Self> {
        match data {
            0 => Some(Self::Inflate),
            1 => Some(Self::Deflate),
            2 => Some(Self::Report),
            _ => None,
        }
    }
}

impl Task for BalloonTask {
    type Token = Event;

    fn watch(&mut self, poll: &Poll<Event>) -> io::Result<()> {
        poll.add_event(self.inflate.kick(), Event::Inflate)?;
        poll.add_event(self.deflate.kick(), Event::Deflate)?;
        poll.add_event(self.reports.kick(), Event::Report)
    }

    fn on_event(&mut self, token: Event, _: EventSet, _: &Poll<Event>) -> Result<(), TaskError> {
        let (memory, interrupt) = (&self.memory, &self.interrupt);
        match token {
            Event::Inflate => self.inflate.drain(memory, interrupt, |_| 0)?,
            Event::Deflate => self.deflate.drain(memory, interrupt, |_| 0)?,
            Event::Report => {
                let advice = memory::discard_advice(memory);
                self.reports.drain(memory, interrupt, |ranges| give_back(ranges, advice))?;
            }
        }
        Ok(())
    }
}

/// The ranges of a report are its writable buffers. They are the guest's own pages, so that one that lies
/// harms itself only.
fn give_back(mut chain: Chain<'_>, advice: i32) -> u32 {
    let count = chain.writer.len();
    if let Ok(ranges) = chain.writer.take(count) {
        // Pages that stay are no harm: the report is a hint.
        let _ = iovec::discard(&ranges, advice);
    }
    0
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::devices::virtio::driver::{Buffer, Descriptor, Driver, WRITE};

    const REPORTS: usize = 2;

    fn report(driver: &mut Driver, address: u64, len: u32) {
        driver.write_descriptor(REPORTS, 0, Descriptor { address, len, flags: WRITE, next: 0 });
        driver.make_available(REPORTS, 0);
        driver.kick(REPORTS);
        assert_eq!(driver.wait_used(REPORTS).len, 0);
    }

    #[test]
    fn reported_pages_are_given_back_and_read_as_zeros() {
        let mut driver = Driver::started(Box::new(Balloon::new()));
        let pages = GuestAddress(0x100_0000);
        driver.memory.write_slice(&[7; 0x4000], pages).unwrap();
        report(&mut driver, pages.0, 0x3000);
        let mut content = vec![0xff; 0x4000];
        driver.memory.read_slice(&mut content, pages).unwrap();
        assert!(content[..0x3000].iter().all(|byte| *byte == 0));
        assert!(content[0x3000..].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn parts_of_pages_stay() {
        let mut driver = Driver::started(Box::new(Balloon::new()));
        let pages = GuestAddress(0x100_0000);
        driver.memory.write_slice(&[7; 0x3000], pages).unwrap();
        report(&mut driver, pages.0 + 1, 0x2ffe);
        report(&mut driver, pages.0 + 0x2800, 0x800 - 1);
        let mut content = vec![0xff; 0x3000];
        driver.memory.read_slice(&mut content, pages).unwrap();
        assert!(content[..0x1000].iter().all(|byte| *byte == 7));
        assert!(content[0x1000..0x2000].iter().all(|byte| *byte == 0));
        assert!(content[0x2000..].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn pages_that_nobody_asked_for_come_back() {
        let mut driver = Driver::started(Box::new(Balloon::new()));
        for queue in [0, 1] {
            assert_eq!(driver.request(queue, &[Buffer::Out(&[0; 64])]).len, 0);
        }
    }
}
