//! Rules, built expression by expression.
//!
//! The methods above take registers and are the kernel's expressions; those further down put the common
//! ones together, with the registers as the nft program would choose them. An expression that finds nothing
//! to load (a port in a packet that has none) ends its rule without a match.

use std::net::IpAddr;

use super::element::{concatenated, name_bytes, user_data};
use super::expression::{Compare, Ct, Header, Meta, Reg, Reject, Verdict, data};
use super::{Chain, Family, Field, Kind, batch};
use crate::netlink::Message;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_DATA_VALUE: u16 = 1;
const VERDICT_REGISTER: u32 = 0;
/// RTN_LOCAL of linux/rtnetlink.h
const RTN_LOCAL: u32 = 2;
const TCP: u8 = 6;

#[derive(Debug, Clone)]
pub struct Rule<'a> {
    chain: Chain<'a>,
    expressions: Message,
    comment: Option<&'a str>,
}

impl<'a> Rule<'a> {
    pub fn new(chain: Chain<'a>) -> Self {
        Rule { chain, expressions: Message::new(0, 0, &[]), comment: None }
    }

    /// Kept with the rule and listed with it; at most 120 bytes.
    pub fn comment(mut self, comment: &'a str) -> Self {
        self.comment = Some(comment);
        self
    }

    pub(super) fn message(self, flags: u16) -> Message {
        let mut message = batch::rule_message(Kind::NewRule, flags, self.chain);
        message.nested(NFTA_RULE_EXPRESSIONS, |list| {
            list.raw(self.expressions.body());
        });
        if let Some(comment) = self.comment {
            message.attribute(NFTA_RULE_USERDATA, &user_data(comment));
        }
        message
    }

    fn expression(mut self, name: &str, fill: impl FnOnce(&mut Message)) -> Self {
        self.expressions.nested(NFTA_LIST_ELEM, |expression| {
            expression.attribute_str(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, fill);
        });
        self
    }

    pub fn meta(self, key: Meta, to: Reg) -> Self {
        // NFTA_META_DREG, NFTA_META_KEY
        self.expression("meta", |meta| {
            meta.attribute_be32(1, to.number()).attribute_be32(2, key as u32);
        })
    }

    pub fn set_meta(self, key: Meta, from: Reg) -> Self {
        // NFTA_META_KEY, NFTA_META_SREG
        self.expression("meta", |meta| {
            meta.attribute_be32(2, key as u32).attribute_be32(3, from.number());
        })
    }

    pub fn payload(self, header: Header, offset: u32, length: u32, to: Reg) -> Self {
        // NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN
        self.expression("payload", |payload| {
            payload
                .attribute_be32(1, to.number())
                .attribute_be32(2, header as u32)
                .attribute_be32(3, offset)
                .attribute_be32(4, length);
        })
    }

    /// Without mending any checksum: for the link header.
    pub fn set_payload(self, header: Header, offset: u32, length: u32, from: Reg) -> Self {
        // NFTA_PAYLOAD_BASE, _OFFSET, _LEN, _SREG, _CSUM_TYPE, _CSUM_OFFSET
        self.expression("payload", |payload| {
            payload
                .attribute_be32(2, header as u32)
                .attribute_be32(3, offset)
                .attribute_be32(4, length)
                .attribute_be32(5, from.number())
                .attribute_be32(6, 0)
                .attribute_be32(7, 0);
        })
    }

    /// Changes the source port of TCP or UDP, and the checksum at `checksum` in the same header.
    pub fn set_sport(self, port: u16, checksum: u32) -> Self {
        self.set_port(0, port, checksum)
    }

    pub fn set_dport(self, port: u16, checksum: u32) -> Self {
        self.set_port(2, port, checksum)
    }

    fn set_port(self, offset: u32, port: u16, checksum: u32) -> Self {
        // NFTA_PAYLOAD_BASE, _OFFSET, _LEN, _SREG, _CSUM_TYPE (NFT_PAYLOAD_CSUM_INET), _CSUM_OFFSET
        self.value(Reg(0), Field::Port(port)).expression("payload", |payload| {
            payload
                .attribute_be32(2, Header::Transport as u32)
                .attribute_be32(3, offset)
                .attribute_be32(4, 2)
                .attribute_be32(5, Reg(0).number())
                .attribute_be32(6, 1)
                .attribute_be32(7, checksum);
        })
    }

    pub fn compare(self, from: Reg, with: Compare, value: &[u8]) -> Self {
        // NFTA_CMP_SREG, _OP, _DATA
        self.expression("cmp", |cmp| {
            cmp.attribute_be32(1, from.number()).attribute_be32(2, with as u32).nested(3, |data| {
                data.attribute(NFTA_DATA_VALUE, value);
            });
        })
    }

    /// `(register & mask) ^ xor`, in place. Both are of the same length, a multiple of four but for the last
    /// register.
    pub fn bitwise(self, register: Reg, mask: &[u8], xor: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
        // NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR
        self.expression("bitwise", |bitwise| {
            bitwise
                .attribute_be32(1, register.number())
                .attribute_be32(2, register.number())
                .attribute_be32(3, length);
            for (kind, value) in [(4, mask), (5, xor)] {
                bitwise.nested(kind, |data| {
                    data.attribute(NFTA_DATA_VALUE, value);
                });
            }
        })
    }

    /// Goes on if the set has the key.
    pub fn lookup(self, set: &str, key: Reg) -> Self {
        self.look_up(set, key, None, false)
    }

    /// Goes on if the set has not.
    pub fn lookup_not(self, set: &str, key: Reg) -> Self {
        self.look_up(set, key, None, true)
    }

    /// Goes on, with the key's value, if the map has the key.
    pub fn map(self, map: &str, key: Reg, value: Reg) -> Self {
        self.look_up(map, key, Some(value.number()), false)
    }

    /// Carries out the verdict that the map has for the key.
    pub fn verdict_of(self, map: &str, key: Reg) -> Self {
        self.look_up(map, key, Some(VERDICT_REGISTER), false)
    }

    fn look_up(self, set: &str, key: Reg, value: Option<u32>, not: bool) -> Self {
        // NFTA_LOOKUP_SET, _SREG, _DREG, _FLAGS
        self.expression("lookup", |lookup| {
            lookup.attribute_str(1, set).attribute_be32(2, key.number());
            if let Some(value) = value {
                lookup.attribute_be32(3, value);
            }
            if not {
                lookup.attribute_be32(5, 1);
            }
        })
    }

    pub fn value(self, to: Reg, value: Field) -> Self {
        // NFTA_IMMEDIATE_DREG, _DATA
        self.expression("immediate", |immediate| {
            immediate.attribute_be32(1, to.number()).nested(2, |data| {
                data.attribute(NFTA_DATA_VALUE, &concatenated(&[value]));
            });
        })
    }

    pub fn verdict(self, verdict: Verdict) -> Self {
        self.expression("immediate", |immediate| {
            immediate.attribute_be32(1, VERDICT_REGISTER);
            data(immediate, 2, verdict);
        })
    }

    pub fn ct(self, key: Ct, to: Reg) -> Self {
        // NFTA_CT_DREG, _KEY
        self.expression("ct", |ct| {
            ct.attribute_be32(1, to.number()).attribute_be32(2, key as u32);
        })
    }

    /// The address in the registers must be of the same family as the packet.
    pub fn dnat(self, family: Family, address: Reg, port: Option<Reg>) -> Self {
        self.nat(1, family, address, port)
    }

    pub fn snat(self, family: Family, address: Reg, port: Option<Reg>) -> Self {
        self.nat(0, family, address, port)
    }

    fn nat(self, kind: u32, family: Family, address: Reg, port: Option<Reg>) -> Self {
        // NFTA_NAT_TYPE, _FAMILY, _REG_ADDR_MIN, _REG_PROTO_MIN
        self.expression("nat", |nat| {
            nat.attribute_be32(1, kind)
                .attribute_be32(2, u32::from(family as u8))
                .attribute_be32(3, address.number());
            if let Some(port) = port {
                nat.attribute_be32(5, port.number());
            }
        })
    }

    pub fn masquerade(self) -> Self {
        self.expression("masq", |_| ())
    }

    /// To the machine itself, to another port if one is given.
    pub fn redirect(self, port: Option<Reg>) -> Self {
        self.expression("redir", |redirect| {
            if let Some(port) = port {
                redirect.attribute_be32(1, port.number());
            }
        })
    }

    pub fn reject(self, with: Reject) -> Self {
        let (kind, code) = with.numbers();
        self.expression("reject", |reject| {
            reject.attribute_be32(1, kind).attribute_u8(2, code);
        })
    }

    /// A copy, of `bytes` at most, to who listens to the nflog group.
    pub fn log(self, group: u16, prefix: &str, bytes: u32) -> Self {
        // NFTA_LOG_GROUP, _PREFIX, _SNAPLEN
        self.expression("log", |log| {
            log.attribute(1, &group.to_be_bytes()).attribute_str(2, prefix).attribute_be32(3, bytes);
        })
    }

    /// Goes on for so many packets a second, and a burst.
    pub fn limit(self, rate: u64, burst: u32) -> Self {
        // NFTA_LIMIT_RATE, _UNIT (seconds), _BURST, _TYPE (packets)
        self.expression("limit", |limit| {
            limit
                .attribute(1, &rate.to_be_bytes())
                .attribute(2, &1u64.to_be_bytes())
                .attribute_be32(3, burst)
                .attribute_be32(4, 0);
        })
    }

    pub fn counter(self) -> Self {
        self.expression("counter", |_| ())
    }

    pub fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    pub fn drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }

    pub fn jump(self, chain: &str) -> Self {
        self.verdict(Verdict::Jump(chain))
    }

    pub fn goto(self, chain: &str) -> Self {
        self.verdict(Verdict::Goto(chain))
    }

    pub fn iifname(self, name: &str) -> Self {
        self.meta(Meta::Iifname, Reg(0)).compare(Reg(0), Compare::Eq, &name_bytes(name))
    }

    pub fn oifname(self, name: &str) -> Self {
        self.meta(Meta::Oifname, Reg(0)).compare(Reg(0), Compare::Eq, &name_bytes(name))
    }

    /// All devices whose names begin so.
    pub fn oifname_prefix(self, start: &str) -> Self {
        self.meta(Meta::Oifname, Reg(0)).compare(Reg(0), Compare::Eq, start.as_bytes())
    }

    pub fn iifname_in(self, set: &str) -> Self {
        self.meta(Meta::Iifname, Reg(0)).lookup(set, Reg(0))
    }

    pub fn oifname_in(self, set: &str) -> Self {
        self.meta(Meta::Oifname, Reg(0)).lookup(set, Reg(0))
    }

    pub fn oifname_not_in(self, set: &str) -> Self {
        self.meta(Meta::Oifname, Reg(0)).lookup_not(set, Reg(0))
    }

    /// NFPROTO_*: for rules of IPv4 or IPv6 in a table of both.
    pub fn nfproto(self, family: Family) -> Self {
        self.meta(Meta::Nfproto, Reg(0)).compare(Reg(0), Compare::Eq, &[family as u8])
    }

    pub fn l4proto(self, protocol: u8) -> Self {
        self.meta(Meta::L4proto, Reg(0)).compare(Reg(0), Compare::Eq, &[protocol])
    }

    /// Of TCP, UDP and SCTP; name the protocol first.
    pub fn sport(self, port: u16) -> Self {
        self.payload(Header::Transport, 0, 2, Reg(0)).compare(Reg(0), Compare::Eq, &port.to_be_bytes())
    }

    pub fn dport(self, port: u16) -> Self {
        self.payload(Header::Transport, 2, 2, Reg(0)).compare(Reg(0), Compare::Eq, &port.to_be_bytes())
    }

    /// In a table of the address's family, or behind `nfproto`.
    pub fn saddr(self, address: IpAddr) -> Self {
        let rule = match address {
            IpAddr::V4(_) => self.payload(Header::Network, 12, 4, Reg(0)),
            IpAddr::V6(_) => self.payload(Header::Network, 8, 16, Reg(0)),
        };
        rule.compare(Reg(0), Compare::Eq, &concatenated(&[Field::from(address)]))
    }

    pub fn daddr(self, address: IpAddr) -> Self {
        self.load_daddr(address.is_ipv4(), Reg(0)).compare(
            Reg(0),
            Compare::Eq,
            &concatenated(&[Field::from(address)]),
        )
    }

    /// The destination begins with the first `length` bits of `address`.
    pub fn daddr_in(self, address: IpAddr, length: u8) -> Self {
        let address = concatenated(&[Field::from(address)]);
        let mask: Vec<u8> = (0..address.len())
            .map(|byte| {
                let bits = usize::from(length).saturating_sub(byte * 8).min(8);
                u8::try_from(0xff00u32 >> bits & 0xff).unwrap_or(0)
            })
            .collect();
        let prefix: Vec<u8> = address.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
        self.load_daddr(address.len() == 4, Reg(0)).bitwise(Reg(0), &mask, &vec![0; mask.len()]).compare(
            Reg(0),
            Compare::Eq,
            &prefix,
        )
    }

    pub fn load_saddr(self, v4: bool, to: Reg) -> Self {
        let (offset, length) = if v4 { (12, 4) } else { (8, 16) };
        self.payload(Header::Network, offset, length, to)
    }

    pub fn load_daddr(self, v4: bool, to: Reg) -> Self {
        let (offset, length) = if v4 { (16, 4) } else { (24, 16) };
        self.payload(Header::Network, offset, length, to)
    }

    /// One of the [`super::ct_state`] bits.
    pub fn ct_state(self, any: u32) -> Self {
        self.ct(Ct::State, Reg(0)).has_any(any)
    }

    /// One of the [`super::ct_status`] bits.
    pub fn ct_status(self, any: u32) -> Self {
        self.ct(Ct::Status, Reg(0)).has_any(any)
    }

    fn has_any(self, bits: u32) -> Self {
        self.bitwise(Reg(0), &bits.to_ne_bytes(), &[0; 4]).compare(Reg(0), Compare::Neq, &[0; 4])
    }

    /// The destination is an address of this machine's.
    pub fn daddr_is_local(self) -> Self {
        // NFTA_FIB_DREG, _RESULT (address type), _FLAGS (of the destination)
        self.expression("fib", |fib| {
            fib.attribute_be32(1, Reg(0).number()).attribute_be32(2, 3).attribute_be32(3, 2);
        })
        .compare(Reg(0), Compare::Eq, &RTN_LOCAL.to_ne_bytes())
    }

    /// TCP connections are told by a reset, which TCP's senders heed at once.
    pub fn reject_tcp(self) -> Self {
        self.l4proto(TCP).reject(Reject::TcpReset)
    }
}
