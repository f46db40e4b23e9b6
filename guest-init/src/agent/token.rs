//! What an event is about, packed into the 64 bits that epoll gives back.

use super::slab::{GENERATION_MASK, Key};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Listener,
    /// The socket to the supervisor: its end is ours.
    Life,
    Signals,
    Session(Key),
    /// Either descriptor of a stream.
    Stream(Key),
    /// News from a container's first process.
    Control(Key),
    CgroupEvents(Key),
    /// News of the sandbox's network devices.
    Devices,
    /// The connection that carries questions for names to the host.
    DnsLink,
    DnsDatagrams,
    DnsListener,
    DnsClient(Key),
}

impl Token {
    pub fn pack(self) -> u64 {
        let (kind, key) = match self {
            Token::Listener => (0, None),
            Token::Life => (1, None),
            Token::Signals => (2, None),
            Token::Session(key) => (3, Some(key)),
            Token::Stream(key) => (4, Some(key)),
            Token::Control(key) => (5, Some(key)),
            Token::CgroupEvents(key) => (6, Some(key)),
            Token::DnsLink => (7, None),
            Token::DnsDatagrams => (8, None),
            Token::DnsListener => (9, None),
            Token::DnsClient(key) => (10, Some(key)),
            Token::Devices => (11, None),
        };
        let key = key.map_or(0, |key| u64::from(key.generation) << 32 | u64::from(key.index));
        kind << 56 | key
    }

    pub fn unpack(bits: u64) -> Option<Self> {
        let generation = u32::try_from(bits >> 32 & u64::from(GENERATION_MASK)).ok()?;
        let key = Key { index: u32::try_from(bits & u64::from(u32::MAX)).ok()?, generation };
        Some(match bits >> 56 {
            0 => Token::Listener,
            1 => Token::Life,
            2 => Token::Signals,
            3 => Token::Session(key),
            4 => Token::Stream(key),
            5 => Token::Control(key),
            6 => Token::CgroupEvents(key),
            7 => Token::DnsLink,
            8 => Token::DnsDatagrams,
            9 => Token::DnsListener,
            10 => Token::DnsClient(key),
            11 => Token::Devices,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_survives_packing() {
        let key = Key { index: u32::MAX, generation: GENERATION_MASK };
        for token in [
            Token::Listener,
            Token::Life,
            Token::Session(key),
            Token::CgroupEvents(key),
            Token::DnsClient(key),
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
    }
}
