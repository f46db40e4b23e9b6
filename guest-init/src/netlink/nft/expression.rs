//! What rules are made of: each expression's numbers and attributes.

use crate::netlink::Message;

/// A register of four bytes, 0 to 15. Longer values take those behind it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reg(pub u8);

impl Reg {
    /// NFT_REG32_00 is 8.
    pub(super) fn number(self) -> u32 {
        8 + u32::from(self.0)
    }
}

/// NFT_META_*
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Meta {
    Protocol = 1,
    Mark = 3,
    /// 16 bytes.
    Iifname = 6,
    /// 16 bytes.
    Oifname = 7,
    Nfproto = 15,
    L4proto = 16,
    Pkttype = 19,
}

/// NFT_CT_*
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Ct {
    State = 0,
    Status = 2,
}

/// NF_CT_STATE_BIT of `enum ip_conntrack_info`.
pub mod ct_state {
    pub const INVALID: u32 = 1;
    pub const ESTABLISHED: u32 = 2;
    pub const RELATED: u32 = 4;
    pub const NEW: u32 = 8;
}

/// `enum ip_conntrack_status`
pub mod ct_status {
    pub const SNAT: u32 = 1 << 4;
    pub const DNAT: u32 = 1 << 5;
}

/// Where a payload's offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// NFT_CMP_*; as byte strings, so numbers in network byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Compare {
    Eq = 0,
    Neq = 1,
    Lt = 2,
    Lte = 3,
    Gt = 4,
    Gte = 5,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    Accept,
    Drop,
    Return,
    Jump(&'a str),
    Goto(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    TcpReset,
    /// ICMP's or ICMPv6's, as it fits: administratively prohibited.
    Prohibited,
    /// ICMP's or ICMPv6's, as it fits: no such port.
    PortUnreachable,
}

impl Reject {
    /// NFT_REJECT_* and the code.
    pub(super) fn numbers(self) -> (u32, u8) {
        match self {
            Reject::TcpReset => (1, 0),
            Reject::PortUnreachable => (2, 1),
            Reject::Prohibited => (2, 3),
        }
    }
}

const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// A verdict as data, in an immediate expression or as an element's value.
pub(super) fn data(message: &mut Message, kind: u16, verdict: Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (1, None),
        Verdict::Drop => (0, None),
        Verdict::Return => (-5i32, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
    };
    message.nested(kind, |data| {
        data.nested(NFTA_DATA_VERDICT, |verdict| {
            verdict.attribute(NFTA_VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                verdict.attribute_str(NFTA_VERDICT_CHAIN, chain);
            }
        });
    });
}
