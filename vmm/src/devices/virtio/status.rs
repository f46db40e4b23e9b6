//! The device status field and its legal moves (VirtIO 1.2, 2.1 and 3.1.1).

pub const RESET: u32 = 0;
pub const ACKNOWLEDGE: u32 = 1;
pub const DRIVER: u32 = 2;
pub const DRIVER_OK: u32 = 4;
pub const FEATURES_OK: u32 = 8;
pub const DEVICE_NEEDS_RESET: u32 = 64;
pub const FAILED: u32 = 128;

/// What a legal write to the status register asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Reset,
    Acknowledge,
    Driver,
    /// To be refused when the features chosen do not fit.
    CheckFeatures,
    Start,
    GiveUp,
}

/// From, to, meaning. A driver that writes what it wrote before moves nowhere.
const MOVES: [(u32, u32, Move); 4] = [
    (RESET, ACKNOWLEDGE, Move::Acknowledge),
    (ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, Move::Driver),
    (ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | FEATURES_OK, Move::CheckFeatures),
    (ACKNOWLEDGE | DRIVER | FEATURES_OK, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK, Move::Start),
];

/// The move that takes status `from` to `to`, if there is one.
pub fn step(from: u32, to: u32) -> Option<Move> {
    if to == RESET {
        return Some(Move::Reset);
    }
    if to & FAILED != 0 {
        return Some(Move::GiveUp);
    }
    MOVES.iter().find(|(start, end, _)| (*start, *end) == (from, to)).map(|(_, _, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_climbs_one_step_at_a_time() {
        for (from, to, meaning) in MOVES {
            assert_eq!(step(from, to), Some(meaning));
        }
    }

    #[test]
    fn steps_are_not_skipped_nor_taken_back() {
        assert_eq!(step(RESET, ACKNOWLEDGE | DRIVER), None);
        assert_eq!(step(ACKNOWLEDGE, ACKNOWLEDGE | DRIVER | FEATURES_OK), None);
        assert_eq!(step(ACKNOWLEDGE | DRIVER, ACKNOWLEDGE), None);
        assert_eq!(step(15, 15), None);
        assert_eq!(step(FAILED | 3, 11), None);
    }

    #[test]
    fn reset_and_giving_up_are_always_possible() {
        for from in [0, 1, 3, 11, 15, 15 | DEVICE_NEEDS_RESET] {
            assert_eq!(step(from, RESET), Some(Move::Reset));
            assert_eq!(step(from, from | FAILED), Some(Move::GiveUp));
        }
    }
}
