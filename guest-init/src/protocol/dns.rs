//! What travels on the stream of [`super::Request::Dns`], in whole frames both ways.
//!
//! ```text
//! agent to host: length u32 | id u32 | transport u8 | question     length: of what follows it
//! host to agent: length u32 | id u32 | answer                      all little-endian
//! ```
//!
//! Question and answer are DNS messages (RFC 1035, section 4), which the agent does not look into. Answers
//! come in any order. An empty one says that there will be none; one to a question that the agent has
//! forgotten is ignored. Over UDP the host makes an answer as short as the question asks for.
//!
//! A host that reads no further holds up the containers' questions, and nothing else.

/// Longest DNS message over TCP, whose length is a u16.
pub const MAX_DNS_MESSAGE: usize = 65_535;
/// Longest question that is passed on from UDP. Real ones are a tenth of that.
pub const MAX_DNS_DATAGRAM: usize = 4096;
/// Bytes of a DNS message's header; nothing shorter is one.
pub const MIN_DNS_MESSAGE: usize = 12;

const ID: usize = 4;
const TRANSPORT: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsTransport {
    Udp,
    Tcp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsQuestion {
    pub id: u32,
    pub transport: DnsTransport,
    pub message: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsAnswer {
    pub id: u32,
    pub message: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsFrameError {
    #[error("Frame of {0} bytes is none that carries a DNS message")]
    Length(usize),
    #[error("Frame names a transport, {0}, that is neither UDP nor TCP")]
    Transport(u8),
}

impl DnsQuestion {
    /// How much follows a frame's first four bytes, checked before anyone allocates.
    pub fn length(header: [u8; 4]) -> Result<usize, DnsFrameError> {
        length(header, ID + TRANSPORT + MIN_DNS_MESSAGE, ID + TRANSPORT + MAX_DNS_MESSAGE)
    }

    /// Takes apart what follows a frame's length.
    pub fn decode(body: &[u8]) -> Result<Self, DnsFrameError> {
        let (&id, rest) = body.split_first_chunk::<ID>().ok_or(DnsFrameError::Length(body.len()))?;
        let (&transport, message) = rest.split_first().ok_or(DnsFrameError::Length(body.len()))?;
        let transport = match transport {
            0 => DnsTransport::Udp,
            1 => DnsTransport::Tcp,
            other => return Err(DnsFrameError::Transport(other)),
        };
        Ok(DnsQuestion { id: u32::from_le_bytes(id), transport, message: message.to_vec() })
    }

    /// The whole frame. No message is longer than [`MAX_DNS_MESSAGE`].
    pub fn encode(id: u32, transport: DnsTransport, message: &[u8]) -> Vec<u8> {
        let transport = match transport {
            DnsTransport::Udp => 0,
            DnsTransport::Tcp => 1,
        };
        frame(id, &[transport], message)
    }
}

impl DnsAnswer {
    /// As [`DnsQuestion::length`].
    pub fn length(header: [u8; 4]) -> Result<usize, DnsFrameError> {
        length(header, ID, ID + MAX_DNS_MESSAGE)
    }

    pub fn decode(body: &[u8]) -> Result<Self, DnsFrameError> {
        let (&id, message) = body.split_first_chunk::<ID>().ok_or(DnsFrameError::Length(body.len()))?;
        Ok(DnsAnswer { id: u32::from_le_bytes(id), message: message.to_vec() })
    }

    /// The whole frame. No message is longer than [`MAX_DNS_MESSAGE`].
    pub fn encode(id: u32, message: &[u8]) -> Vec<u8> {
        frame(id, &[], message)
    }
}

fn frame(id: u32, more: &[u8], message: &[u8]) -> Vec<u8> {
    let message = message.get(..message.len().min(MAX_DNS_MESSAGE)).unwrap_or_default();
    let length = u32::try_from(ID + more.len() + message.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), &id.to_le_bytes(), more, message].concat()
}

fn length(header: [u8; 4], least: usize, most: usize) -> Result<usize, DnsFrameError> {
    let length = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    if (least..=most).contains(&length) { Ok(length) } else { Err(DnsFrameError::Length(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(frame: &[u8]) -> ([u8; 4], &[u8]) {
        let (header, body) = frame.split_first_chunk::<4>().unwrap();
        (*header, body)
    }

    #[test]
    fn question_and_answer_survive_a_round_trip() {
        let message = [7; 20];
        let wire = DnsQuestion::encode(9, DnsTransport::Tcp, &message);
        let (header, body) = split(&wire);
        assert_eq!(DnsQuestion::length(header), Ok(body.len()));
        let question = DnsQuestion { id: 9, transport: DnsTransport::Tcp, message: message.to_vec() };
        assert_eq!(DnsQuestion::decode(body), Ok(question));
        for message in [vec![], vec![1; MAX_DNS_MESSAGE]] {
            let wire = DnsAnswer::encode(u32::MAX, &message);
            let (header, body) = split(&wire);
            assert_eq!(DnsAnswer::length(header), Ok(body.len()));
            assert_eq!(DnsAnswer::decode(body), Ok(DnsAnswer { id: u32::MAX, message }));
        }
    }

    #[test]
    fn lengths_that_no_message_has_are_refused_before_anything_is_read() {
        for length in [0u32, 16, 65_541, u32::MAX] {
            assert!(DnsQuestion::length(length.to_le_bytes()).is_err(), "{length}");
        }
        for length in [0u32, 3, 65_540, u32::MAX] {
            assert!(DnsAnswer::length(length.to_le_bytes()).is_err(), "{length}");
        }
        let mut wire = DnsQuestion::encode(1, DnsTransport::Udp, &[0; 12]);
        wire[8] = 2;
        assert_eq!(DnsQuestion::decode(&wire[4..]), Err(DnsFrameError::Transport(2)));
        assert_eq!(DnsAnswer::decode(&[1]), Err(DnsFrameError::Length(1)));
    }
}
