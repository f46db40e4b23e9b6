//! Questions a second.

use std::time::{Duration, Instant};

/// At once, after a while without any.
const BURST: u32 = 512;
/// Between two in the long run: a thousand a second.
const EACH: Duration = Duration::from_millis(1);

/// A bucket that holds `BURST` and gains one every `EACH`.
pub struct Rate {
    /// When it will be full.
    full: Instant,
}

impl Rate {
    pub fn new(now: Instant) -> Self {
        Self { full: now }
    }

    pub fn has_one(&mut self, now: Instant) -> bool {
        self.full = self.full.max(now);
        self.wait(now).is_zero()
    }

    pub fn take(&mut self) {
        self.full += EACH;
    }

    /// Until there is one; zero if there is.
    pub fn wait(&self, now: Instant) -> Duration {
        let missing = self.full.saturating_duration_since(now) + EACH;
        missing.saturating_sub(EACH * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_there_is_one_each_interval() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..BURST {
            assert!(rate.has_one(start));
            rate.take();
        }
        assert!(!rate.has_one(start));
        assert_eq!(rate.wait(start), EACH);
        assert!(rate.has_one(start + EACH));
        rate.take();
        assert!(!rate.has_one(start + EACH));
        // What was not used does not add up beyond the burst.
        let later = start + Duration::from_secs(60);
        let taken = (0..2 * BURST).take_while(|_| rate.has_one(later).then(|| rate.take()).is_some());
        assert_eq!(u32::try_from(taken.count()).unwrap(), BURST);
    }
}
