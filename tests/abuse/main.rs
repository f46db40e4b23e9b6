//! What must not happen, and does: `kill -9` at random moments, a full disk, a thousand starts. Each case is
//! short in the suite; `HULL_ABUSE_SECONDS`, `HULL_ABUSE_RUNS` and `HULL_ABUSE_MIB` make it long.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod disk;
mod kills;
mod much;

/// Marsaglia's xorshift64: repeatable from the seed that a failure prints.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|s| s.parse().ok()).unwrap_or(usual)
}
