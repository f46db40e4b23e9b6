//! The rates that a disk is held to: token buckets for bytes and for requests, of reads and of writes.
//!
//! A bucket counts no tokens. It keeps the moment up to which its rate is used up, and may be ahead of the
//! clock by its burst (the virtual scheduling form of the same algorithm, ITU-T I.371, annex A): nothing
//! has to be refilled and nothing is lost to rounding.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::DiskLimits;

/// What a full bucket holds: a second's worth. What asks for more gets it from a full bucket, whose rate
/// is then used up for as long as it takes.
const BURST: Duration = Duration::from_secs(1);
const NANOS: u128 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// Times are counted from a moment of the caller's choice.
struct Bucket {
    per_second: u64,
    used_up_to: Duration,
}

impl Bucket {
    fn full(per_second: u64) -> Self {
        Self { per_second, used_up_to: Duration::ZERO }
    }

    /// How long the rate takes for `amount`, rounded up.
    fn price(&self, amount: u64) -> Duration {
        let nanos = (u128::from(amount) * NANOS).div_ceil(u128::from(self.per_second.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long it is until `amount` may be taken; zero for now.
    fn wait(&self, now: Duration, amount: u64) -> Duration {
        let price = self.price(amount).min(BURST);
        let after = self.used_up_to.max(now).saturating_add(price);
        after.saturating_sub(now.saturating_add(BURST))
    }

    fn take(&mut self, now: Duration, amount: u64) {
        self.used_up_to = self.used_up_to.max(now).saturating_add(self.price(amount));
    }
}

/// One direction's buckets.
#[derive(Default)]
struct Rate {
    bytes: Option<Bucket>,
    requests: Option<Bucket>,
}

impl Rate {
    fn new(bytes: Option<u64>, requests: Option<u64>) -> Self {
        Self { bytes: bytes.map(Bucket::full), requests: requests.map(Bucket::full) }
    }

    /// Takes one request from both buckets, or nothing from either and tells how long that has to wait.
    fn admit(&mut self, now: Duration, bytes: u64) -> Result<(), Duration> {
        let mut priced = [(&mut self.bytes, bytes), (&mut self.requests, 1)];
        let waits = priced.iter().map(|(bucket, amount)| match bucket {
            Some(bucket) => bucket.wait(now, *amount),
            None => Duration::ZERO,
        });
        match waits.max() {
            Some(wait) if !wait.is_zero() => return Err(wait),
            _ => {}
        }
        for (bucket, amount) in &mut priced {
            if let Some(bucket) = bucket {
                bucket.take(now, *amount);
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Rates {
    read: Rate,
    write: Rate,
}

impl Rates {
    fn new(limits: &DiskLimits) -> Self {
        let DiskLimits { read_bps, write_bps, read_iops, write_iops } = *limits;
        Self { read: Rate::new(read_bps, read_iops), write: Rate::new(write_bps, write_iops) }
    }

    fn of(&mut self, access: Access) -> &mut Rate {
        match access {
            Access::Read => &mut self.read,
            Access::Write => &mut self.write,
        }
    }
}

/// A disk's rates, on the host's clock. Shared by the device's worker and whoever changes them.
pub struct Throttle {
    start: Instant,
    rates: Mutex<Rates>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { start: Instant::now(), rates: Mutex::default() }
    }
}

impl Throttle {
    /// From now on these, with full buckets: what the rates of before have used up is forgotten.
    pub fn set(&self, limits: &DiskLimits) {
        *self.rates.lock().unwrap_or_else(PoisonError::into_inner) = Rates::new(limits);
    }

    /// Whether a request may be served now, and counts it if so; else how long it has to wait, which is
    /// never zero.
    pub fn admit(&self, access: Access, bytes: u64) -> Result<(), Duration> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.of(access).admit(self.start.elapsed(), bytes)
    }

    /// Counts bytes that turned out to be written for a request when it was served already.
    pub fn owe(&self, access: Access, bytes: u64) {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = &mut rates.of(access).bytes {
            bucket.take(self.start.elapsed(), bytes);
        }
    }
}

#[cfg(test)]
mod tests;
