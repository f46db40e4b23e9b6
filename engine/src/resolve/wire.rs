//! Questions and answers as bytes (RFC 1035, 4).

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use super::MAX_ADDRESSES;

/// Aliases that are followed within one answer.
const MAX_ALIASES: usize = 16;

/// One thing to ask.
#[derive(Debug)]
pub struct Question {
    id: u16,
    name: Name,
    kind: RecordType,
    pub bytes: Vec<u8>,
}

/// What a server says to a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Addresses(Vec<IpAddr>),
    /// The name is not there, or has no such address.
    Nothing,
    /// The whole answer is to be had by TCP.
    Truncated,
    /// The server cannot or will not say.
    Failed,
}

/// A full name, if it can be one.
pub fn name(text: &str) -> Option<Name> {
    Name::from_ascii(text).ok().filter(|name| !name.is_root())
}

impl Question {
    pub fn new(name: &Name, kind: RecordType) -> Option<Self> {
        // The number is a random one.
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), kind));
        let bytes = message.to_vec().ok()?;
        Some(Self { id: message.metadata.id, name: name.clone(), kind, bytes })
    }

    /// What a message says to this question. `None`: it is no answer to it, and to be ignored.
    pub fn answer(&self, bytes: &[u8]) -> Option<Answer> {
        let message = Message::from_vec(bytes).ok()?;
        let meta = &message.metadata;
        let is_answer = meta.message_type == MessageType::Response && meta.op_code == OpCode::Query;
        let [asked] = message.queries.as_slice() else { return None };
        let is_ours = asked.name() == &self.name
            && asked.query_type() == self.kind
            && asked.query_class() == DNSClass::IN;
        if !is_answer || meta.id != self.id || !is_ours {
            return None;
        }
        Some(match meta.response_code {
            _ if meta.truncation => Answer::Truncated,
            ResponseCode::NoError => self.addresses(&message),
            ResponseCode::NXDomain => Answer::Nothing,
            _ => Answer::Failed,
        })
    }

    /// The addresses of the name or of the last of its aliases. Records of other names do not count.
    fn addresses(&self, message: &Message) -> Answer {
        let mut owner = &self.name;
        for _ in 0..MAX_ALIASES {
            let alias = message.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == *owner => Some(&target.0),
                _ => None,
            });
            let Some(alias) = alias else { break };
            owner = alias;
        }
        let address = |data: &RData| match data {
            RData::A(address) if self.kind == RecordType::A => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) if self.kind == RecordType::AAAA => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        let records = message.answers.iter().filter(|record| record.name == *owner);
        let found: Vec<IpAddr> =
            records.filter_map(|record| address(&record.data)).take(MAX_ADDRESSES).collect();
        if found.is_empty() { Answer::Nothing } else { Answer::Addresses(found) }
    }
}
