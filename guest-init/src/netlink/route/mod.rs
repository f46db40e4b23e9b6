//! rtnetlink(7): devices, their addresses, and routes.

mod address;
mod bridge;
mod link;
mod routes;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use rustix::io::Errno;

use super::{Message, NetlinkError, Protocol, Socket};

pub use bridge::PortFlags;
pub use link::{Link, Veth};
pub use routes::RouteEntry;

const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

/// What was tried, and why the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to {what}")]
pub struct RouteError {
    pub what: String,
    #[source]
    pub source: NetlinkError,
}

impl RouteError {
    pub fn is(&self, errno: Errno) -> bool {
        self.source.is(errno)
    }
}

pub type Result<T> = std::result::Result<T, RouteError>;

/// Speaks of the network namespace that it was opened in, wherever its thread goes afterwards.
#[derive(Debug)]
pub struct Rtnetlink {
    socket: Socket,
}

impl Rtnetlink {
    pub fn open() -> Result<Self> {
        let socket = Socket::open(Protocol::Route);
        socket.map(|socket| Rtnetlink { socket }).map_err(failed(|| "open a netlink socket".to_owned()))
    }

    fn request(&mut self, message: Message, what: impl FnOnce() -> String) -> Result<()> {
        self.socket.request(message).map_err(failed(what))
    }

    /// As [`Rtnetlink::request`]; true if there was something to be done, false if the kernel says that it
    /// is so already.
    fn request_unless(
        &mut self,
        already: &[Errno],
        message: Message,
        what: impl FnOnce() -> String,
    ) -> Result<bool> {
        match self.request(message, what) {
            Err(error) if already.contains(&error.source.errno) => Ok(false),
            done => done.map(|()| true),
        }
    }
}

fn failed(what: impl FnOnce() -> String) -> impl FnOnce(NetlinkError) -> RouteError {
    |source| RouteError { what: what(), source }
}

fn family(address: IpAddr) -> u8 {
    // Both are below 256: AF_INET is 2, AF_INET6 10.
    if address.is_ipv4() { 2 } else { 10 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn to_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}
