//! One sandbox's policy at work: which names are asked, what they open, and what is told of the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::names;
use super::packet::Destination;
use super::tally::Tally;
use crate::network::firewall::Allow;
use crate::network::model::Egress;

/// Addresses that names have opened at a time. Whoever owns an allowed name may have any number of them.
const MOST: usize = 4096;
/// What was opened is not opened anew for so long, and is open for so much longer than its name's answer
/// says: a container that asks again and again is not to change the host's rules each time.
const AGAIN: Duration = Duration::from_secs(30);

/// Something that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// None: it came to no packet, the name itself was refused.
    destination: Option<Destination>,
    name: Option<String>,
    /// As many were refused before and not told of.
    missed: u64,
}

impl Denied {
    /// Of the event `egress-denied`.
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut attributes = Vec::new();
        if let Some(destination) = &self.destination {
            attributes.push(("address", destination.address.to_string()));
            attributes.extend(destination.port.map(|port| ("port", port.to_string())));
            attributes.push(("protocol", destination.protocol_name()));
        }
        attributes.extend(self.name.clone().map(|name| ("domain", name)));
        if self.missed > 0 {
            attributes.push(("missed", self.missed.to_string()));
        }
        attributes
    }
}

/// For several threads: one answers questions for names, one hears of refused packets.
pub struct Enforcer {
    egress: Egress,
    state: Mutex<State>,
    tell: Box<dyn Fn(Denied) + Send + Sync>,
}

struct State {
    pace: Pace,
    open: BTreeMap<(IpAddr, Option<u16>), Open>,
    tally: Tally<Refusal>,
}

/// How often names may change the host's rules, which all sandboxes wait for: so many times in a second.
const CHANGES: u32 = 16;

struct Pace {
    second: Instant,
    changes: u32,
}

impl Pace {
    fn allows(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.changes) = (now, 0);
        }
        self.changes += 1;
        self.changes <= CHANGES
    }
}

/// An address and port that a name has opened.
struct Open {
    name: String,
    since: Instant,
    until: Instant,
}

#[derive(PartialEq, Eq, Hash)]
enum Refusal {
    Packet(Destination),
    Name(String),
}

impl fmt::Debug for Enforcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enforcer").field("egress", &self.egress).finish_non_exhaustive()
    }
}

impl Enforcer {
    /// `tell` is called for what events are to tell, at a bounded rate; it must not wait.
    pub fn new(egress: Egress, tell: impl Fn(Denied) + Send + Sync + 'static) -> Enforcer {
        let now = Instant::now();
        let pace = Pace { second: now, changes: 0 };
        let state = Mutex::new(State { pace, open: BTreeMap::new(), tally: Tally::new(now) });
        Enforcer { egress, state, tell: Box::new(tell) }
    }

    /// Whether a name may be asked for.
    pub fn permits(&self, name: &str) -> bool {
        let permitted = names::permits_name(&self.egress, name);
        if !permitted {
            self.refused(Refusal::Name(name.to_owned()));
        }
        permitted
    }

    /// What is to be opened for a name's addresses, at all of the sandbox's endpoints; such that was opened a
    /// moment ago is not. None: names have opened all that they may for now.
    pub fn to_open(&self, name: &str, addresses: &[IpAddr], ttl: Duration) -> Option<Vec<Allow>> {
        let mut wanted = names::opened(&self.egress, name, addresses, ttl);
        let now = Instant::now();
        let mut state = self.state();
        let fresh = |key: &Allow| {
            let open = state.open.get(&(key.address, key.port));
            open.is_some_and(|open| now.saturating_duration_since(open.since) < AGAIN)
        };
        wanted.retain(|opened| !fresh(opened));
        let state = &mut *state;
        if !wanted.is_empty() && !state.pace.allows(now) {
            return None;
        }
        let open = &mut state.open;
        if open.len() + wanted.len() > MOST {
            open.retain(|_, open| open.until > now);
        }
        if open.len() + wanted.len() > MOST {
            return None;
        }
        wanted.iter_mut().for_each(|opened| opened.lifetime += AGAIN);
        Some(wanted)
    }

    /// It is open now.
    pub fn opened(&self, name: &str, opened: &[Allow]) {
        let now = Instant::now();
        let open = &mut self.state().open;
        for new in opened {
            let name = name.to_owned();
            open.insert((new.address, new.port), Open { name, since: now, until: now + new.lifetime });
        }
    }

    /// All that is open, for an endpoint that is new.
    pub fn open(&self) -> Vec<Allow> {
        let now = Instant::now();
        let left = |((address, port), open): (&(IpAddr, Option<u16>), &Open)| {
            let lifetime = open.until.checked_duration_since(now)?;
            Some(Allow { address: *address, port: *port, lifetime })
        };
        self.state().open.iter().filter_map(left).filter(|opened| !opened.lifetime.is_zero()).collect()
    }

    /// A packet that was refused, as far as it was told.
    pub fn refused_packet(&self, packet: &[u8]) {
        if let Some(destination) = Destination::read(packet) {
            self.refused(Refusal::Packet(destination));
        }
    }

    fn refused(&self, refusal: Refusal) {
        let denied = {
            let mut state = self.state();
            let (destination, name) = match &refusal {
                Refusal::Name(name) => (None, Some(name.clone())),
                Refusal::Packet(destination) => {
                    let mut from = state.open.range((destination.address, None)..);
                    let open = from.next().filter(|((address, _), _)| *address == destination.address);
                    (Some(*destination), open.map(|(_, open)| open.name.clone()))
                }
            };
            let missed = state.tally.tell(refusal, Instant::now());
            missed.map(|missed| Denied { destination, name, missed })
        };
        if let Some(denied) = denied {
            (self.tell)(denied);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn enforcer(value: &str) -> (Enforcer, Receiver<Denied>) {
        let (sender, receiver) = channel();
        let egress = super::super::parse(&[value.to_owned()]).unwrap().unwrap();
        (Enforcer::new(egress, move |denied| sender.send(denied).unwrap()), receiver)
    }

    fn packet() -> Vec<u8> {
        let mut packet = vec![0; 24];
        (packet[0], packet[9], packet[23]) = (0x45, 6, 80);
        packet[16..20].copy_from_slice(&[192, 0, 2, 1]);
        packet
    }

    fn shown(denied: &Denied) -> String {
        let words = denied.attributes().into_iter().map(|(key, value)| format!("{key}={value}"));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_refused_is_told_with_the_name_that_led_there() {
        let (enforcer, told) = enforcer("allow=a.example:443");
        assert!(enforcer.permits("a.example") && !enforcer.permits("b.example"));
        let address = "192.0.2.1".parse().unwrap();
        let opened = enforcer.to_open("a.example", &[address], Duration::from_secs(300)).unwrap();
        assert_eq!(opened, [Allow { address, port: Some(443), lifetime: Duration::from_secs(330) }]);
        enforcer.opened("a.example", &opened);
        enforcer.refused_packet(&packet());
        enforcer.refused_packet(&packet());
        enforcer.refused_packet(b"no packet");
        assert!(!enforcer.permits("c.example"));
        let told: Vec<String> = told.try_iter().map(|denied| shown(&denied)).collect();
        let packet = "address=192.0.2.1 port=80 protocol=tcp domain=a.example";
        assert_eq!(told, ["domain=b.example", packet, "domain=c.example missed=1"]);
    }

    #[test]
    fn what_was_opened_a_moment_ago_is_not_opened_anew_and_is_known_to_new_endpoints() {
        let (enforcer, _told) = enforcer("allow=a.example,b.example:80");
        let address = "192.0.2.1".parse().unwrap();
        let to_open = |name| enforcer.to_open(name, &[address], Duration::from_secs(300)).unwrap();
        let opened = to_open("a.example");
        assert_eq!(to_open("a.example"), opened);
        enforcer.opened("a.example", &opened);
        assert_eq!((to_open("a.example").len(), to_open("b.example").len()), (0, 1));
        let [open] = enforcer.open()[..] else { panic!() };
        assert!((open.address, open.port) == (address, None) && open.lifetime.as_secs() >= 320);
    }

    #[test]
    fn names_open_so_many_addresses_and_no_more() {
        let (enforcer, _told) = enforcer("allow=*.example");
        let address = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        let open = |number: &u32| {
            enforcer.state().pace.changes = 0;
            let opened = enforcer.to_open("a.example", &[address(*number)], Duration::ZERO);
            opened.inspect(|opened| enforcer.opened("a.example", opened)).is_some()
        };
        assert_eq!((0..5000).filter(open).count(), MOST);
    }

    #[test]
    fn names_change_the_hosts_rules_a_few_times_a_second() {
        let mut pace = Pace { second: Instant::now(), changes: 0 };
        let now = pace.second;
        assert_eq!((0..100).filter(|_| pace.allows(now)).count(), CHANGES as usize);
        assert!(pace.allows(now + Duration::from_secs(1)));
    }
}
