//! A netlink socket, and the answers to what is asked on it.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

use super::message::{HEADER, Message, attributes};

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_CAPPED: u16 = 0x100;
/// NLM_F_ROOT | NLM_F_MATCH
const NLM_F_DUMP: u16 = 0x300;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The kernel's messages are no longer (netlink(7): 32 KiB for dumps).
const BUFFER: usize = 32 * 1024;
/// Fits into every socket's send buffer.
const SMALL: usize = 64 * 1024;

/// Messages of other processes that are overheard while one answer is waited for.
const MAX_STRANGERS: u32 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Devices, addresses, routes: rtnetlink(7).
    Route,
    /// nftables, conntrack, nflog.
    Netfilter,
}

/// The kernel refused. With its own words, where it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetlinkError {
    pub errno: Errno,
    pub message: Option<String>,
}

impl NetlinkError {
    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno
    }
}

impl From<Errno> for NetlinkError {
    fn from(errno: Errno) -> Self {
        NetlinkError { errno, message: None }
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::error::words(self.errno))?;
        match &self.message {
            Some(message) => write!(f, " ({message})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for NetlinkError {}

/// Bound to the network namespace that it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub fn open(protocol: Protocol) -> Result<Self, NetlinkError> {
        let protocol = match protocol {
            Protocol::Route => None,
            Protocol::Netfilter => Some(netlink::NETFILTER),
        };
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        // Old kernels know neither; the errors are then without words.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            let _ = set_option(&fd, libc::SOL_NETLINK, option, 1);
        }
        Ok(Socket { fd, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// A socket, one that does not block, that hears of changes to devices (RTMGRP_LINK).
    pub fn device_news() -> Result<OwnedFd, NetlinkError> {
        const RTMGRP_LINK: u32 = 1;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&fd, &SocketAddrNetlink::new(0, RTMGRP_LINK))?;
        Ok(fd)
    }

    /// Sends one request and waits until it was carried out.
    pub fn request(&mut self, message: Message) -> Result<(), NetlinkError> {
        let sequence = self.send(message, NLM_F_ACK)?;
        self.answers(sequence, |_, _| ())
    }

    /// Asks for one object; its type and what follows the header.
    pub fn get(&mut self, message: Message) -> Result<Option<(u16, Vec<u8>)>, NetlinkError> {
        let sequence = self.send(message, NLM_F_ACK)?;
        let mut found = None;
        self.answers(sequence, |kind, body| found = Some((kind, body.to_vec())))?;
        Ok(found)
    }

    /// Asks for all objects of a kind: type and what follows the header, each. EINTR: they changed
    /// meanwhile, and something may be missing.
    pub fn dump(&mut self, message: Message, each: impl FnMut(u16, &[u8])) -> Result<(), NetlinkError> {
        let sequence = self.send(message, NLM_F_DUMP)?;
        self.answers(sequence, each)
    }

    /// Sends several messages in one datagram, as nfnetlink takes a transaction. Those with NLM_F_ACK are
    /// answered; the first refusal is the outcome, and nothing has changed then.
    pub fn transaction(&mut self, messages: Vec<Message>) -> Result<(), NetlinkError> {
        let mut bytes = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let mut last = first;
        let count = messages.len();
        for (index, message) in messages.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            last = self.sequence;
            // The batch's own begin and end are not answered; the one before the end is.
            let ack = if index + 2 == count { NLM_F_ACK } else { 0 };
            bytes.extend(message.finish(last, NLM_F_REQUEST | ack));
        }
        self.make_room(bytes.len());
        self.transmit(&bytes)?;
        let acknowledged = last.wrapping_sub(1);
        self.read_answers(|sequence| (first..=last).contains(&sequence), acknowledged, |_, _| ())
    }

    /// A datagram must fit into the send buffer. Where it may not grow, sending says so.
    fn make_room(&self, length: usize) {
        if length > SMALL {
            let size = libc::c_int::try_from(length.saturating_mul(2)).unwrap_or(libc::c_int::MAX);
            let _ = set_option(&self.fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size);
        }
    }

    fn send(&mut self, message: Message, flags: u16) -> Result<u32, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.finish(self.sequence, NLM_F_REQUEST | flags);
        self.transmit(&bytes)?;
        Ok(self.sequence)
    }

    fn transmit(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match sendto(&self.fd, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)) {
                Err(Errno::INTR) => {}
                sent => return Ok(sent.map(drop)?),
            }
        }
    }

    fn answers(&mut self, sequence: u32, each: impl FnMut(u16, &[u8])) -> Result<(), NetlinkError> {
        self.read_answers(|answered| answered == sequence, sequence, each)
    }

    /// Reads until the end of a dump, or the answer to `last`.
    fn read_answers(
        &mut self,
        ours: impl Fn(u32) -> bool,
        last: u32,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), NetlinkError> {
        let mut interrupted = false;
        let mut overrun = false;
        let mut strangers = 0;
        loop {
            // With MSG_TRUNC the length is that of the whole datagram.
            let wait = if overrun { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
            let received = recvfrom(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC | wait);
            let (count, whole, sender) = match received {
                Err(Errno::INTR) => continue,
                // A refused transaction is answered for each message that is wrong, and not all answers
                // may have found room. The first did, which is the one that counts.
                Err(Errno::NOBUFS) if !overrun => {
                    overrun = true;
                    continue;
                }
                Err(Errno::AGAIN) if overrun => return Err(Errno::NOBUFS.into()),
                received => received?,
            };
            // A process in the same namespace may send here too, if it has CAP_NET_ADMIN.
            if !sender.is_some_and(is_kernel) {
                strangers += 1;
                // One that never stops is not to hold up who asked.
                if strangers > MAX_STRANGERS {
                    return Err(Errno::NOBUFS.into());
                }
                continue;
            }
            if whole > count {
                return Err(Errno::MSGSIZE.into());
            }
            let mut rest = self.buffer.get(..count).unwrap_or_default();
            while let Some((header, body, behind)) = split(rest) {
                rest = behind;
                if !ours(header.sequence) {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.kind {
                    NLMSG_NOOP => {}
                    NLMSG_DONE if interrupted => return Err(Errno::INTR.into()),
                    NLMSG_DONE => return outcome(body, header.flags),
                    NLMSG_ERROR => {
                        outcome(body, header.flags)?;
                        if header.sequence == last {
                            return Ok(());
                        }
                    }
                    kind => each(kind, body),
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn is_kernel(sender: SocketAddrAny) -> bool {
    SocketAddrNetlink::try_from(sender).is_ok_and(|sender| sender.pid() == 0)
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// The first message: its header, what is in it, and what comes behind. None: nothing whole is left.
fn split(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let length = usize::try_from(u32::from_ne_bytes([header[0], header[1], header[2], header[3]])).ok()?;
    let body = bytes.get(HEADER..length)?;
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    let header = Header {
        kind: u16::from_ne_bytes([header[4], header[5]]),
        flags: u16::from_ne_bytes([header[6], header[7]]),
        sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
    };
    Some((header, body, behind))
}

/// `struct nlmsgerr`: the negative error number, the header of what was asked (all of it, unless capped),
/// then attributes.
fn outcome(body: &[u8], flags: u16) -> Result<(), NetlinkError> {
    let number = body.first_chunk::<4>().map_or(0, |number| i32::from_ne_bytes(*number));
    if number == 0 {
        return Ok(());
    }
    let asked = body.get(4..).unwrap_or_default();
    let capped = flags & NLM_F_CAPPED != 0;
    let length = asked.first_chunk::<4>().map_or(0, |length| u32::from_ne_bytes(*length));
    let length = if capped { HEADER } else { usize::try_from(length).unwrap_or(0).next_multiple_of(4) };
    let message = (flags & NLM_F_ACK_TLVS != 0)
        .then(|| attributes(asked.get(length..).unwrap_or_default()).of_kind(NLMSGERR_ATTR_MSG))
        .flatten()
        .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    Err(NetlinkError { errno: Errno::from_raw_os_error(number.saturating_neg()), message })
}

fn set_option(
    fd: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: setsockopt(2) reads one int, which lives through the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(crate::sys::last_errno()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTM_GETLINK: u16 = 18;
    const IFLA_IFNAME: u16 = 3;

    #[test]
    fn loopback_device_is_found_by_index_and_among_all() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let mut names = Vec::new();
        let name = |body: &[u8]| attributes(&body[16..]).of_kind(IFLA_IFNAME).map(<[u8]>::to_vec);
        socket.dump(Message::new(RTM_GETLINK, 0, &[0; 16]), |_, body| names.extend(name(body))).unwrap();
        assert!(names.contains(&b"lo\0".to_vec()));
        let mut header = [0; 16];
        header[4] = 1;
        let (_, body) = socket.get(Message::new(RTM_GETLINK, 0, &header)).unwrap().unwrap();
        assert_eq!(name(&body).unwrap(), b"lo\0");
    }

    #[test]
    fn refusal_has_its_number() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&0x7fff_0000u32.to_ne_bytes());
        let refused = socket.get(Message::new(RTM_GETLINK, 0, &header)).unwrap_err();
        assert!(refused.is(Errno::NODEV), "{refused}");
    }

    #[test]
    fn answer_that_another_process_made_up_is_not_heard() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let port = SocketAddrNetlink::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap().pid();
        let other = Socket::open(Protocol::Route).unwrap();
        // A refusal of the request that comes next.
        let refusal = Message::new(NLMSG_ERROR, 0, &[&(-1i32).to_ne_bytes()[..], &[0; 16]].concat());
        let bytes = refusal.finish(1, 0);
        let sent = sendto(&other, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(port, 0));
        assert_eq!(sent, Ok(bytes.len()), "it takes CAP_NET_ADMIN");
        let mut header = [0; 16];
        header[4] = 1;
        assert!(socket.get(Message::new(RTM_GETLINK, 0, &header)).unwrap().is_some());
    }
}
