//! What a container asks for names, and what a server answers: a question behind its length, then the answer.
//! Whatever is said to the container can be read, is no longer than it takes and has its question's number.
#![no_main]

use std::sync::LazyLock;

use hull_engine::network::dns::directory::{Directory, Found};
use hull_engine::network::dns::policy;
use hull_engine::network::dns::question::{Question, Refused};
use hull_engine::network::dns::wants::{Wants, address_data, pointer_data};
use hull_engine::network::model::{Driver, EndpointRow, EndpointSettings, Link, NetworkRow, NetworkSettings};
use hull_engine::store::db::Neighbour;
use hull_guest::protocol::DnsTransport;
use libfuzzer_sys::fuzz_target;

/// Longest answer by UDP to a question without EDNS, and to any.
const DATAGRAM: usize = 4096;

static DIRECTORY: LazyLock<Directory> = LazyLock::new(directory);

fn directory() -> Directory {
    let neighbour = |id: &str, name: &str, last: u8| Neighbour {
        id: id.repeat(64),
        name: name.to_owned(),
        hostname: String::new(),
        aliases: vec!["pool".to_owned()],
        ipv4: Some([172, 20, 0, last].into()),
        ipv6: Some([0xfd, 0, 0, 0, 0, 0, 0, last.into()].into()),
    };
    let link = Link { container: "b".repeat(64), alias: "store".to_owned() };
    let settings = EndpointSettings { links: vec![link], ..EndpointSettings::default() };
    let (id, owner) = ("e".repeat(64), "a".repeat(64));
    let own = EndpointRow { id, network: "n".repeat(64), owner, position: 0, settings, live: None };
    let network = NetworkRow {
        id: "n".repeat(64),
        name: "front".to_owned(),
        driver: Driver::Bridge,
        created: 0,
        settings: NetworkSettings::default(),
    };
    let mut directory = Directory::default();
    directory.add(&network, &own, &[neighbour("a", "web", 2), neighbour("b", "db", 3)]);
    directory
}

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (asked, said) = rest.split_at(length);
    for transport in [DnsTransport::Udp, DnsTransport::Tcp] {
        match Question::parse(asked, transport) {
            Ok(question) => answer(asked, &question, said),
            Err(Refused(Some(refusal))) => check(asked, &refusal, transport),
            Err(Refused(None)) => {}
        }
    }
});

fn answer(asked: &[u8], question: &Question, said: &[u8]) {
    let own = match DIRECTORY.find(question.name(), Wants::of(question.kind())) {
        Found::Unknown => question.answer(std::iter::empty()),
        Found::Addresses(addresses) => question.answer(addresses.into_iter().map(address_data)),
        Found::Name(name) => question.answer(pointer_data(&name).into_iter()),
    };
    check(asked, &own, question.transport);
    let outside = question.to_ask().expect("what was read can be written");
    assert_eq!(outside.judge(question, &outside.bytes), None, "a question is no answer");
    // The number is random, and the input's first two bytes cannot be it.
    let mut said = said.to_vec();
    if let (Some(number), Some(ours)) = (said.first_chunk_mut::<2>(), outside.bytes.first_chunk()) {
        *number = *ours;
    }
    if outside.judge(question, &said).is_some() {
        let _ = policy::addresses(question, &said);
        let passed = question.pass_on(said);
        assert_eq!(passed.get(..2), asked.get(..2));
        assert!(question.transport == DnsTransport::Tcp || passed.len() <= DATAGRAM);
    }
}

/// hull's own answers.
fn check(asked: &[u8], answer: &[u8], transport: DnsTransport) {
    assert!(answer.len() >= 12 && answer[2] & 0x80 != 0);
    assert_eq!(answer.get(..2), asked.get(..2));
    assert!(transport == DnsTransport::Tcp || answer.len() <= DATAGRAM);
    let mut again = answer.to_vec();
    // As a question it is one that can be read, too.
    again[2] &= !0x80;
    if let Err(Refused(reply)) = Question::parse(&again, transport) {
        assert!(reply.is_some());
    }
}
