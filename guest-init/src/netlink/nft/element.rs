//! Elements of sets and maps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Set;
use super::expression::{Verdict, data};
use crate::netlink::Message;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
/// A device's name with its NUL.
pub(super) const IFNAMSIZ: usize = 16;

/// One field of a key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A device's name.
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Mac([u8; 6]),
    /// IPPROTO_*, or an address family.
    Byte(u8),
    Port(u16),
    /// In the host's byte order.
    Word(u32),
}

impl From<IpAddr> for Field<'_> {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Field::V4(address),
            IpAddr::V6(address) => Field::V6(address),
        }
    }
}

impl Field<'_> {
    fn write(self, bytes: &mut Vec<u8>) {
        match self {
            Field::Name(name) => bytes.extend(name_bytes(name)),
            Field::V4(address) => bytes.extend(address.octets()),
            Field::V6(address) => bytes.extend(address.octets()),
            Field::Mac(mac) => bytes.extend(mac),
            Field::Byte(byte) => bytes.push(byte),
            Field::Port(port) => bytes.extend(port.to_be_bytes()),
            Field::Word(word) => bytes.extend(word.to_ne_bytes()),
        }
    }
}

/// As registers hold a device's name: filled up with NULs. Longer names than devices have are cut.
pub(super) fn name_bytes(name: &str) -> [u8; IFNAMSIZ] {
    let mut bytes = [0; IFNAMSIZ];
    for (to, from) in bytes.iter_mut().take(IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// The fields one behind the other; of several each begins at a register of four bytes.
pub(super) fn concatenated(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    for field in fields {
        field.write(&mut bytes);
        if fields.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

#[derive(Debug, Clone)]
enum Value<'a> {
    None,
    Fields(Vec<u8>),
    Verdict(Verdict<'a>),
}

/// An element to be added or deleted.
#[derive(Debug, Clone)]
pub struct Element<'a> {
    key: Vec<u8>,
    end: Option<Vec<u8>>,
    value: Value<'a>,
    timeout: Option<Duration>,
    comment: Option<&'a str>,
}

impl<'a> Element<'a> {
    pub fn new<const N: usize>(key: [Field; N]) -> Self {
        Self::of_key(concatenated(&key))
    }

    /// The key as [`super::elements`] gave it.
    pub fn of_key(key: Vec<u8>) -> Self {
        Element { key, end: None, value: Value::None, timeout: None, comment: None }
    }

    /// The key's last, in each field: `key` is where the range begins.
    pub fn through<const N: usize>(self, last: [Field; N]) -> Self {
        self.through_key(concatenated(&last))
    }

    pub fn through_key(mut self, last: Vec<u8>) -> Self {
        self.end = Some(last);
        self
    }

    /// Where the gap behind a lone field's range begins, as [`super::elements`] gave it.
    pub fn until_key(mut self, behind: Vec<u8>) -> Self {
        self.end = predecessor(&behind);
        self
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What a map's key leads to.
    pub fn to<const N: usize>(mut self, value: [Field; N]) -> Self {
        self.value = Value::Fields(concatenated(&value));
        self
    }

    pub fn verdict(mut self, verdict: Verdict<'a>) -> Self {
        self.value = Value::Verdict(verdict);
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Kept with the element, listed with it; at most 120 bytes.
    pub fn comment(mut self, comment: &'a str) -> Self {
        self.comment = Some(comment);
        self
    }

    pub(super) fn write(&self, set: &Set, list: &mut Message) {
        // Of a lone field the kernel keeps where ranges begin and where the gaps behind them do.
        let by_edges = set.interval && set.key.len() == 1;
        list.nested(NFTA_LIST_ELEM, |element| {
            key_attribute(element, NFTA_SET_ELEM_KEY, &self.key);
            if let Some(end) = self.end.as_ref().filter(|_| !by_edges) {
                key_attribute(element, NFTA_SET_ELEM_KEY_END, end);
            }
            match &self.value {
                Value::None => {}
                Value::Fields(bytes) => key_attribute(element, NFTA_SET_ELEM_DATA, bytes),
                Value::Verdict(verdict) => data(element, NFTA_SET_ELEM_DATA, *verdict),
            }
            if let Some(timeout) = self.timeout {
                let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                element.attribute(NFTA_SET_ELEM_TIMEOUT, &milliseconds.to_be_bytes());
            }
            if let Some(comment) = self.comment {
                element.attribute(NFTA_SET_ELEM_USERDATA, &user_data(comment));
            }
        });
        let last = self.end.as_ref().unwrap_or(&self.key);
        if let Some(behind) = by_edges.then(|| successor(last)).flatten() {
            list.nested(NFTA_LIST_ELEM, |element| {
                key_attribute(element, NFTA_SET_ELEM_KEY, &behind);
                element.attribute_be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            });
        }
    }
}

fn key_attribute(message: &mut Message, kind: u16, key: &[u8]) {
    message.nested(kind, |value| {
        value.attribute(NFTA_DATA_VALUE, key);
    });
}

/// libnftnl's user data of rules and elements: type 0 is a comment, ended by a NUL.
pub(super) fn user_data(comment: &str) -> Vec<u8> {
    let comment = comment.get(..120).unwrap_or(comment);
    let mut bytes = vec![0, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend(comment.bytes());
    bytes.push(0);
    bytes
}

/// The number one above. None behind the last.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(key);
        }
    }
    None
}

/// The number one below.
fn predecessor(key: &[u8]) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let borrowed = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrowed {
            return Some(key);
        }
    }
    None
}
