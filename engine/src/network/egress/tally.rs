//! Which refusals are told: events are everybody's, and a container may try as much as it likes.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What is tried again and again is told so often.
const AGAIN: Duration = Duration::from_secs(60);
/// How many different ones are told at once, and each second after that.
const BURST: u32 = 20;
const EACH: Duration = Duration::from_secs(1);
/// Different ones that are remembered.
const REMEMBERED: usize = 256;

#[derive(Debug)]
pub struct Tally<K> {
    told: HashMap<K, Instant>,
    left: u32,
    refilled: Instant,
    missed: u64,
}

impl<K: Eq + Hash> Tally<K> {
    pub fn new(now: Instant) -> Tally<K> {
        Tally { told: HashMap::new(), left: BURST, refilled: now, missed: 0 }
    }

    /// Whether this one is told, and how many were not before it.
    pub fn tell(&mut self, key: K, now: Instant) -> Option<u64> {
        self.refill(now);
        if self.told.get(&key).is_some_and(|then| now.saturating_duration_since(*then) < AGAIN)
            || self.left == 0
        {
            self.missed = self.missed.saturating_add(1);
            return None;
        }
        self.left -= 1;
        if self.told.len() >= REMEMBERED {
            self.told.retain(|_, then| now.saturating_duration_since(*then) < AGAIN);
        }
        if self.told.len() < REMEMBERED {
            self.told.insert(key, now);
        }
        Some(std::mem::take(&mut self.missed))
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs() / EACH.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed > 0 {
            self.left = self.left.saturating_add(passed).min(BURST);
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_a_minute() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let mut tell = |key, seconds| tally.tell(key, start + Duration::from_secs(seconds));
        assert_eq!([tell('a', 0), tell('a', 1), tell('b', 1), tell('a', 59)], [Some(0), None, Some(1), None]);
        assert_eq!(tell('a', 60), Some(1));
    }

    #[test]
    fn a_flood_is_told_in_part_and_how_much_was_left_out() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let told = (0..1000).filter(|number| tally.tell(*number, start).is_some()).count();
        assert_eq!(told, 20);
        assert_eq!(tally.tell(5000, start + Duration::from_secs(2)), Some(980));
        let told = (0..100_000u64)
            .filter(|number| {
                tally.tell(10_000 + *number, start + Duration::from_millis(2000 + *number)).is_some()
            })
            .count();
        assert!((80..=130).contains(&told) && tally.told.len() <= REMEMBERED, "{told}");
    }
}
