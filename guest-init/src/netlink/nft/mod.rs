//! nf_tables: firewall and address translation, encoded as the kernel takes them, without the nft binary.
//!
//! A [`Batch`] collects changes and makes all of them or none. Tables, chains and sets are named by small
//! values that may be constants; rules and elements are built:
//!
//! ```no_run
//! # use hull_guest::netlink::{Protocol, Socket, nft::*};
//! const TABLE: Table = Table::new(Family::Ip, "example");
//! const PORTS: Set = Set::new(TABLE, "ports", &[Type::Ifname]);
//!
//! let mut batch = Batch::new();
//! let input = TABLE.chain("input");
//! batch.add_table(TABLE).add_base_chain(input, Base::filter(Hook::Input, 0)).add_set(&PORTS);
//! batch.add_elements(&PORTS, [Element::new([Field::Name("eth0")])]);
//! batch.add_rule(Rule::new(input).iifname_in("ports").l4proto(6).dport(22).accept());
//! batch.commit(&mut Socket::open(Protocol::Netfilter)?)?;
//! # Ok::<(), hull_guest::netlink::NetlinkError>(())
//! ```
//!
//! Attributes and their types: linux/netfilter/nf_tables.h. Numbers are in network byte order throughout,
//! except inside of values, which are compared with registers as they are.

mod batch;
mod dump;
mod element;
mod expression;
mod rule;
mod set;
#[cfg(test)]
mod tests;

pub use batch::{Base, Batch, ChainType, Hook};
pub use dump::{FoundChain, FoundElement, FoundRule, chains, elements, rules, sets, table_comment, tables};
pub use element::{Element, Field};
pub use expression::{Compare, Ct, Header, Meta, Reg, Reject, Verdict, ct_state, ct_status};
pub use rule::Rule;
pub use set::{Data, Set, Type};

use super::message::Message;

/// NFNL_SUBSYS_NFTABLES
const SUBSYSTEM: u16 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4 and IPv6 in one table.
    Inet = 1,
    Ip = 2,
    Arp = 3,
    Netdev = 5,
    Bridge = 7,
    Ip6 = 10,
}

impl Family {
    fn from_number(number: u8) -> Option<Self> {
        [Family::Inet, Family::Ip, Family::Arp, Family::Netdev, Family::Bridge, Family::Ip6]
            .into_iter()
            .find(|family| *family as u8 == number)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'a> {
    pub family: Family,
    pub name: &'a str,
}

impl<'a> Table<'a> {
    pub const fn new(family: Family, name: &'a str) -> Self {
        Table { family, name }
    }

    pub const fn chain(self, name: &'a str) -> Chain<'a> {
        Chain { table: self, name }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    pub table: Table<'a>,
    pub name: &'a str,
}

/// NFT_MSG_*
#[derive(Clone, Copy)]
#[repr(u16)]
enum Kind {
    NewTable = 0,
    GetTable = 1,
    DelTable = 2,
    NewChain = 3,
    GetChain = 4,
    DelChain = 5,
    NewRule = 6,
    GetRule = 7,
    DelRule = 8,
    NewSet = 9,
    GetSet = 10,
    DelSet = 11,
    NewSetElem = 12,
    GetSetElem = 13,
    DelSetElem = 14,
}

/// `family` 0: all of them.
fn message(kind: Kind, flags: u16, family: u8) -> Message {
    // struct nfgenmsg: family, version, resource.
    Message::new(SUBSYSTEM << 8 | kind as u16, flags, &[family, 0, 0, 0])
}
