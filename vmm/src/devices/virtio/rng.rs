//! virtio-rng: entropy from the host (VirtIO 1.2, 5.4).

use std::io;
use std::sync::Arc;

use vmm_sys_util::epoll::EventSet;

use super::chain::Chain;
use super::device::{Activation, VirtioDevice, read_config_bytes};
use super::interrupt::Interrupt;
use super::queue::Queue;
use super::worker::{Poll, Task, TaskError, Token, Worker};
use super::{feature, iovec};
use crate::memory::GuestMemory;

const DEVICE_ID: u32 = 4;
const QUEUE_SIZES: [u16; 1] = [16];
/// Bytes the guest may ask for in one request; larger buffers are filled in part, which the
/// specification allows.
const MAX_FILL: usize = 64 * 1024;

/// The device; it has no configuration.
#[derive(Default)]
pub struct Rng;

impl Rng {
    pub fn new() -> Self {
        Self
    }
}

impl VirtioDevice for Rng {
    fn name(&self) -> &'static str {
        "rng"
    }

    fn id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self) -> u64 {
        feature::COMMON
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&[], offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> io::Result<Worker> {
        let [requests] = activation.take_queues()?;
        let Activation { memory, interrupt, failure, .. } = activation;
        let task = RngTask { memory, requests, interrupt: interrupt.clone() };
        Worker::spawn(self.name(), task, interrupt, failure)
    }
}

struct RngTask {
    memory: Arc<GuestMemory>,
    requests: Queue,
    interrupt: Interrupt,
}

#[derive(Clone, Copy)]
enum Event {
    Request,
}

impl Token for Event {
    fn encode(self) -> u64 {
        0
    }

    fn decode(data: u64) -> Option<Self> {
        (data == 0).then_some(Self::Request)
    }
}

impl Task for RngTask {
    type Token = Event;

    fn watch(&mut self, poll: &Poll<Event>) -> io::Result<()> {
        poll.add_event(self.requests.kick(), Event::Request)
    }

    fn on_event(&mut self, token: Event, _: EventSet, _: &Poll<Event>) -> Result<(), TaskError> {
        match token {
            Event::Request => Ok(self.requests.drain(&self.memory, &self.interrupt, fill)?),
        }
    }
}

/// Returns the bytes written; none if the host has no entropy to give.
fn fill(mut chain: Chain<'_>) -> u32 {
    let count = chain.writer.len().min(MAX_FILL);
    match chain.writer.take(count).map(|buffers| iovec::random(&buffers)) {
        Ok(Ok(())) => u32::try_from(count).unwrap_or(0),
        Ok(Err(_)) | Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::virtio::driver::{Buffer, Driver};

    #[test]
    fn buffers_are_filled_with_different_bytes() {
        let mut driver = Driver::started(Box::new(Rng::new()));
        let first = driver.request(0, &[Buffer::In(64)]);
        let second = driver.request(0, &[Buffer::In(16), Buffer::In(48)]);
        assert_eq!((first.len, second.len), (64, 64));
        assert_ne!(first.data, second.data);
        assert_ne!(second.data[16..], [0; 48]);
    }

    #[test]
    fn a_large_request_is_served_in_part() {
        let mut driver = Driver::started(Box::new(Rng::new()));
        let used = driver.request(0, &[Buffer::In(1 << 20)]);
        assert_eq!(used.len, 64 * 1024);
        assert_ne!(used.data[MAX_FILL - 16..MAX_FILL], [0; 16]);
        assert!(used.data[MAX_FILL..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_request_without_room_gets_nothing() {
        let mut driver = Driver::started(Box::new(Rng::new()));
        assert_eq!(driver.request(0, &[Buffer::Out(b"hello")]).len, 0);
    }
}
