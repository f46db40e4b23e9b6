//! What an egress policy has to do with names.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, RecordType};

use super::directory::plain;
use super::question::Question;

/// Aliases that are followed within one answer.
const MAX_ALIASES: usize = 16;

/// Decides which names may be asked outside, and hears what they mean. Names of the sandbox's own networks
/// may be asked by all; what they mean is heard, too.
pub trait Policy: Send {
    /// `name`: in lower case, no dot at its end.
    fn permits(&mut self, name: &str) -> bool;

    /// What the name was found to be, before the container hears of it: its first connection is to work.
    /// `ttl`: how long the answer says that it holds. False: the container does not get the answer.
    fn resolved(&mut self, name: &str, addresses: &[IpAddr], ttl: Duration) -> bool;
}

/// The addresses that an answer gives for the question's name, and how long they hold. Records of other
/// names do not count. None: it cannot be read.
pub fn addresses(question: &Question, answer: &[u8]) -> Option<(Vec<IpAddr>, Duration)> {
    if !matches!(question.kind(), RecordType::A | RecordType::AAAA | RecordType::ANY) {
        return Some((Vec::new(), Duration::ZERO));
    }
    let message = Message::from_vec(answer).ok()?;
    let mut owner = question.name();
    let mut ttl = u32::MAX;
    for _ in 0..MAX_ALIASES {
        let alias = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *owner => Some((&target.0, record.ttl)),
            _ => None,
        });
        let Some((alias, its_ttl)) = alias else { break };
        (owner, ttl) = (alias, ttl.min(its_ttl));
    }
    let mut addresses = Vec::new();
    for record in message.answers.iter().filter(|record| record.name == *owner) {
        match &record.data {
            RData::A(address) => addresses.push(IpAddr::V4(address.0)),
            RData::AAAA(address) => addresses.push(IpAddr::V6(address.0)),
            _ => continue,
        }
        ttl = ttl.min(record.ttl);
    }
    Some((addresses, Duration::from_secs(ttl.into())))
}

/// None: the policy does not know such a name.
pub fn name_of(question: &Question) -> Option<String> {
    plain(question.name())
}
