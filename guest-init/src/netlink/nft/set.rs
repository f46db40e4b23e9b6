//! Named sets and maps.

use super::{Element, Kind, Table, message};
use crate::netlink::Message;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_FIELD_LEN: u16 = 1;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_TIMEOUT: u32 = 0x10;
const NFT_SET_CONCAT: u32 = 0x80;
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
/// What libnftnl writes into a set's user data: type 0 is the key's byte order, and 1 means the host's.
const KEY_IN_HOST_ORDER: [u8; 6] = [0, 4, 1, 0, 0, 0];

/// What a field of a key or a value is. The numbers are the nft program's and mean nothing to the kernel:
/// they make `nft list ruleset` readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Type {
    Nfproto = 2,
    Ipv4 = 7,
    Ipv6 = 8,
    Ether = 9,
    Protocol = 12,
    Port = 13,
    Mark = 19,
    Icmp6Type = 29,
    Ifname = 41,
}

impl Type {
    const fn length(self) -> u32 {
        match self {
            Type::Nfproto | Type::Protocol | Type::Icmp6Type => 1,
            Type::Port => 2,
            Type::Ipv4 | Type::Mark => 4,
            Type::Ether => 6,
            Type::Ipv6 | Type::Ifname => 16,
        }
    }
}

/// What a map's keys lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    None,
    Values(&'a [Type]),
    Verdict,
}

/// A named set, or a map if it has `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set<'a> {
    pub table: Table<'a>,
    pub name: &'a str,
    /// Several make a concatenation.
    pub key: &'a [Type],
    pub data: Data<'a>,
    /// Keys may be ranges, in each field of a concatenation. They must not overlap.
    pub interval: bool,
    /// Elements may have a timeout.
    pub timeout: bool,
}

impl<'a> Set<'a> {
    pub const fn new(table: Table<'a>, name: &'a str, key: &'a [Type]) -> Self {
        Set { table, name, key, data: Data::None, interval: false, timeout: false }
    }

    pub const fn map(self, values: &'a [Type]) -> Self {
        Set { data: Data::Values(values), ..self }
    }

    pub const fn verdicts(self) -> Self {
        Set { data: Data::Verdict, ..self }
    }

    pub const fn intervals(self) -> Self {
        Set { interval: true, ..self }
    }

    pub const fn timeouts(self) -> Self {
        Set { timeout: true, ..self }
    }

    fn flags(&self) -> u32 {
        let mut flags = 0;
        if self.interval {
            flags |= NFT_SET_INTERVAL;
            if self.key.len() > 1 {
                flags |= NFT_SET_CONCAT;
            }
        }
        if self.data != Data::None {
            flags |= NFT_SET_MAP;
        }
        if self.timeout {
            flags |= NFT_SET_TIMEOUT;
        }
        flags
    }

    pub(super) fn reference(&self, kind: Kind) -> Message {
        let mut message = message(kind, 0, self.table.family as u8);
        message.attribute_str(NFTA_SET_TABLE, self.table.name).attribute_str(NFTA_SET_NAME, self.name);
        message
    }

    pub(super) fn message(&self, flags: u16, id: u32) -> Message {
        let mut new = message(Kind::NewSet, flags, self.table.family as u8);
        new.attribute_str(NFTA_SET_TABLE, self.table.name)
            .attribute_str(NFTA_SET_NAME, self.name)
            .attribute_be32(NFTA_SET_FLAGS, self.flags())
            .attribute_be32(NFTA_SET_KEY_TYPE, type_number(self.key))
            .attribute_be32(NFTA_SET_KEY_LEN, length(self.key))
            .attribute_be32(NFTA_SET_ID, id);
        match self.data {
            Data::None => {}
            Data::Values(types) => {
                new.attribute_be32(NFTA_SET_DATA_TYPE, type_number(types))
                    .attribute_be32(NFTA_SET_DATA_LEN, length(types));
            }
            Data::Verdict => {
                new.attribute_be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
            }
        }
        if self.interval && self.key.len() > 1 {
            new.nested(NFTA_SET_DESC, |desc| {
                desc.nested(NFTA_SET_DESC_CONCAT, |concat| {
                    for field in self.key {
                        concat.nested(NFTA_LIST_ELEM, |elem| {
                            elem.attribute_be32(NFTA_SET_FIELD_LEN, field.length());
                        });
                    }
                });
            });
        }
        if self.key == [Type::Ifname] || self.key == [Type::Mark] {
            new.attribute(NFTA_SET_USERDATA, &KEY_IN_HOST_ORDER);
        }
        new
    }

    /// The message that has a list of elements, or none for all of them.
    pub(super) fn element_list(&self, kind: Kind, flags: u16, list: Option<Message>) -> Message {
        let mut message = message(kind, flags, self.table.family as u8);
        message
            .attribute_str(NFTA_SET_ELEM_LIST_TABLE, self.table.name)
            .attribute_str(NFTA_SET_ELEM_LIST_SET, self.name);
        if let Some(list) = list {
            message.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |elements| {
                elements.raw(list.body());
            });
        }
        message
    }
}

pub(super) fn list<'e>(set: &Set, elements: impl Iterator<Item = Element<'e>>) -> Message {
    let mut list = Message::new(0, 0, &[]);
    for element in elements {
        element.write(set, &mut list);
    }
    list
}

/// Six bits a field, the first in the highest.
fn type_number(types: &[Type]) -> u32 {
    types.iter().fold(0, |number, field| number << 6 | *field as u32)
}

/// In a concatenation each field begins at a register.
fn length(types: &[Type]) -> u32 {
    match types {
        [one] => one.length(),
        several => several.iter().map(|field| field.length().next_multiple_of(4)).sum(),
    }
}
