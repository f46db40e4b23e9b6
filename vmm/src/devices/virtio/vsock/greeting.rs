//! The line with which a client says where it wants to go.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// Longer than any line that can be meant.
const MAX_LINE: usize = 32;
const PREFIX: &[u8] = b"CONNECT ";

/// A client that has not said everything yet.
#[derive(Debug)]
pub struct Greeting {
    pub client: UnixStream,
    /// Without a newline; shorter than [`MAX_LINE`].
    line: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Greeted {
    /// More is to come.
    NotYet,
    /// The guest's port. What the client wrote behind the line is still in its socket.
    Port(u32),
    /// Gone, or not a client of ours.
    Never,
}

impl Greeting {
    pub fn new(client: UnixStream) -> Self {
        Self { client, line: Vec::new() }
    }

    /// Reads what is there, up to the end of the line and not further.
    pub fn read(&mut self) -> Greeted {
        loop {
            let mut ahead = [0; MAX_LINE];
            let seen = match self.receive(&mut ahead, MsgFlags::MSG_PEEK) {
                Ok(0) => return Greeted::Never,
                Ok(seen) => seen,
                Err(Errno::EAGAIN) => return Greeted::NotYet,
                Err(Errno::EINTR) => continue,
                Err(_) => return Greeted::Never,
            };
            let end = ahead[..seen].iter().position(|byte| *byte == b'\n');
            let take = end.map_or(seen, |end| end + 1);
            // What was seen is there to be taken: nobody else reads.
            if self.receive(&mut ahead[..take], MsgFlags::empty()) != Ok(take) {
                return Greeted::Never;
            }
            self.line.extend_from_slice(&ahead[..end.unwrap_or(seen)]);
            if self.line.len() >= MAX_LINE {
                return Greeted::Never;
            }
            if end.is_some() {
                return parse(&self.line).map_or(Greeted::Never, Greeted::Port);
            }
        }
    }

    fn receive(&self, buffer: &mut [u8], flags: MsgFlags) -> nix::Result<usize> {
        recv(self.client.as_raw_fd(), buffer, flags | MsgFlags::MSG_DONTWAIT)
    }
}

/// The port of a line without its newline. The highest number is no port (VMADDR_PORT_ANY).
fn parse(line: &[u8]) -> Option<u32> {
    let digits = line.strip_prefix(PREFIX)?;
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|d| d.is_ascii_digit()))?;
    digits.parse().ok().filter(|port| *port != u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn only_a_port_in_decimal_is_taken() {
        assert_eq!(parse(b"CONNECT 52"), Some(52));
        assert_eq!(parse(b"CONNECT 4294967294"), Some(u32::MAX - 1));
        for line in [
            &b""[..],
            b"CONNECT",
            b"CONNECT ",
            b"CONNECT +5",
            b"CONNECT 5 ",
            b"connect 5",
            b"CONNECT 4294967295",
            b"CONNECT 99999999999",
            b"CONNECT \xff",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_line_may_come_in_pieces_and_data_behind_it_stays() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut greeting = Greeting::new(server);
        assert_eq!(greeting.read(), Greeted::NotYet);
        client.write_all(b"CONN").unwrap();
        assert_eq!(greeting.read(), Greeted::NotYet);
        client.write_all(b"ECT 7\nhello\n").unwrap();
        assert_eq!(greeting.read(), Greeted::Port(7));
        let mut rest = [0; 6];
        greeting.client.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"hello\n");
    }

    #[test]
    fn endless_lines_and_early_ends_are_refused() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut greeting = Greeting::new(server);
        client.write_all(&[b'C'; 31]).unwrap();
        assert_eq!(greeting.read(), Greeted::NotYet);
        client.write_all(b"C").unwrap();
        assert_eq!(greeting.read(), Greeted::Never);

        let (client, server) = UnixStream::pair().unwrap();
        drop(client);
        assert_eq!(Greeting::new(server).read(), Greeted::Never);
    }
}
