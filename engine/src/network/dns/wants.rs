//! What a question's type means for names of hull's own.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, RecordType};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    V4,
    V6,
    /// ANY
    Both,
    Pointer,
    /// What no container has: mail exchangers, services, texts.
    Other,
}

impl Wants {
    pub fn of(kind: RecordType) -> Self {
        match kind {
            RecordType::A => Wants::V4,
            RecordType::AAAA => Wants::V6,
            RecordType::ANY => Wants::Both,
            RecordType::PTR => Wants::Pointer,
            _ => Wants::Other,
        }
    }

    pub fn takes(self, address: IpAddr) -> bool {
        match self {
            Wants::V4 => address.is_ipv4(),
            Wants::V6 => address.is_ipv6(),
            Wants::Both => true,
            Wants::Pointer | Wants::Other => false,
        }
    }
}

pub fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// None: a name that DNS cannot carry, as one whose part is longer than 63 bytes.
pub fn pointer_data(name: &str) -> Option<RData> {
    Name::from_ascii(name).ok().map(|name| RData::PTR(PTR(name)))
}
