//! Flow control, both ways (VirtIO 1.2, 5.10.6.3). Counters are free-running and wrap.

use super::BUF_ALLOC;

/// What the guest still takes from us.
#[derive(Debug, Default)]
pub struct SendCredit {
    sent: u32,
    peer_alloc: u32,
    peer_forwarded: u32,
}

impl SendCredit {
    /// Every packet of the peer says how much it takes.
    pub fn update(&mut self, buf_alloc: u32, fwd_cnt: u32) {
        self.peer_alloc = buf_alloc;
        self.peer_forwarded = fwd_cnt;
    }

    /// Bytes that may be sent now. A peer whose counters make no sense gets nothing.
    pub fn available(&self) -> u32 {
        self.peer_alloc.saturating_sub(self.sent.wrapping_sub(self.peer_forwarded))
    }

    pub fn spend(&mut self, count: u32) {
        self.sent = self.sent.wrapping_add(count);
    }
}

/// What we still take from the guest.
#[derive(Debug, Default)]
pub struct ReceiveCredit {
    /// Bytes that left for the client.
    forwarded: u32,
    /// The count that the guest knows.
    told: u32,
}

impl ReceiveCredit {
    /// Bytes are off our hands. True: it is time to tell the guest.
    pub fn forward(&mut self, count: usize) -> bool {
        // At most BUF_ALLOC at a time.
        self.forwarded = self.forwarded.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        // With less than that untold, the guest sees at least half of the room there is.
        self.forwarded.wrapping_sub(self.told) >= BUF_ALLOC / 2
    }

    /// The value for a packet about to go out.
    pub fn tell(&mut self) -> u32 {
        self.told = self.forwarded;
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_shrinks_by_what_is_sent_and_grows_by_what_is_forwarded() {
        let mut credit = SendCredit::default();
        assert_eq!(credit.available(), 0);
        credit.update(100, 0);
        credit.spend(70);
        assert_eq!(credit.available(), 30);
        credit.update(100, 50);
        assert_eq!(credit.available(), 80);
        credit.update(10, 50);
        assert_eq!(credit.available(), 0);
    }

    #[test]
    fn counters_wrap() {
        let mut credit = SendCredit::default();
        credit.update(100, u32::MAX - 9);
        assert_eq!(credit.available(), 90);
        credit.spend(u32::MAX - 9);
        assert_eq!(credit.available(), 100);
        credit.spend(50);
        assert_eq!(credit.available(), 50);
        credit.update(100, 40);
        assert_eq!(credit.available(), 100);
    }

    #[test]
    fn a_peer_that_forwards_more_than_it_got_gets_nothing() {
        let mut credit = SendCredit::default();
        credit.update(100, 1);
        assert_eq!(credit.available(), 0);
    }

    #[test]
    fn the_guest_is_told_when_half_of_the_room_is_free_again() {
        let mut credit = ReceiveCredit::default();
        assert!(!credit.forward(32 * 1024 - 1));
        assert!(credit.forward(1));
        assert_eq!(credit.tell(), 32 * 1024);
        assert!(!credit.forward(1));
    }
}
