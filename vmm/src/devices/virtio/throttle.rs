//! The rates that a device is held to: token buckets for bytes and for operations, in each direction.
//!
//! A bucket counts no tokens. It keeps the moment up to which its rate is used up, and may be ahead of the
//! clock by its burst (the virtual scheduling form of the same algorithm, ITU-T I.371, annex A): nothing
//! has to be refilled and nothing is lost to rounding.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a full bucket holds: a second's worth. What asks for more gets it from a full bucket, whose rate
/// is then used up for as long as it takes.
const BURST: Duration = Duration::from_secs(1);
const NANOS: u128 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToGuest,
    FromGuest,
}

/// What one direction may do in a second; None is as much as the host can.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limit {
    pub bytes: Option<u64>,
    /// Requests of a disk, packets of a network device.
    pub operations: Option<u64>,
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
    operations: Option<Bucket>,
}

impl Rate {
    fn new(limit: Limit) -> Self {
        Self { bytes: limit.bytes.map(Bucket::full), operations: limit.operations.map(Bucket::full) }
    }

    fn is_unlimited(&self) -> bool {
        self.bytes.is_none() && self.operations.is_none()
    }

    /// How long an operation has to wait if it may not be done now.
    fn check(&self, now: Duration, bytes: u64) -> Result<(), Duration> {
        let wait = |bucket: &Option<Bucket>, amount| {
            bucket.as_ref().map_or(Duration::ZERO, |bucket| bucket.wait(now, amount))
        };
        match wait(&self.bytes, bytes).max(wait(&self.operations, 1)) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// Takes one operation from both buckets.
    fn count(&mut self, now: Duration, bytes: u64) {
        for (bucket, amount) in [(&mut self.bytes, bytes), (&mut self.operations, 1)] {
            if let Some(bucket) = bucket {
                bucket.take(now, amount);
            }
        }
    }

    /// Takes one operation from both buckets, or nothing from either and tells how long that has to wait.
    fn admit(&mut self, now: Duration, bytes: u64) -> Result<(), Duration> {
        self.check(now, bytes)?;
        self.count(now, bytes);
        Ok(())
    }
}

#[derive(Default)]
struct Rates {
    to_guest: Rate,
    from_guest: Rate,
}

impl Rates {
    fn of(&mut self, direction: Direction) -> &mut Rate {
        match direction {
            Direction::ToGuest => &mut self.to_guest,
            Direction::FromGuest => &mut self.from_guest,
        }
    }
}

/// A device's rates, on the host's clock. Shared by the device's worker and whoever changes them.
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
    pub fn set(&self, to_guest: Limit, from_guest: Limit) {
        let rates = Rates { to_guest: Rate::new(to_guest), from_guest: Rate::new(from_guest) };
        *self.rates.lock().unwrap_or_else(PoisonError::into_inner) = rates;
    }

    /// Whether an operation may be done now, and counts it if so; else how long it has to wait, which is
    /// never zero.
    pub fn admit(&self, direction: Direction, bytes: u64) -> Result<(), Duration> {
        self.with(direction, Ok(()), |rate, now| rate.admit(now, bytes))
    }

    /// The same without counting, for what may still fail; what was done is told to [`Throttle::count`].
    /// With no bytes for what shows its size only then: it may be done once all before it is paid for.
    pub fn check(&self, direction: Direction, bytes: u64) -> Result<(), Duration> {
        self.with(direction, Ok(()), |rate, now| rate.check(now, bytes))
    }

    /// Counts an operation that was done.
    pub fn count(&self, direction: Direction, bytes: u64) {
        self.with(direction, (), |rate, now| rate.count(now, bytes));
    }

    /// Counts bytes that turned out to be moved by an operation when it was done already.
    pub fn owe(&self, direction: Direction, bytes: u64) {
        self.with(direction, (), |rate, now| {
            if let Some(bucket) = &mut rate.bytes {
                bucket.take(now, bytes);
            }
        });
    }

    /// Asks the clock only where there is a limit.
    fn with<T>(&self, direction: Direction, free: T, act: impl FnOnce(&mut Rate, Duration) -> T) -> T {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = rates.of(direction);
        if rate.is_unlimited() { free } else { act(rate, self.start.elapsed()) }
    }
}

#[cfg(test)]
mod tests;
