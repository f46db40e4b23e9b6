use std::net::UdpSocket;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::conf::Conf;
use super::test_server::NameServer;
use super::*;

/// A name server that is told the question, an empty answer to it, and whether it came by TCP.
fn server(answer: impl Fn(&Query, Message, bool) -> Vec<Message> + Send + Sync + 'static) -> NameServer {
    NameServer::start(move |query, empty, tcp| {
        answer(query, empty, tcp).iter().map(|message| message.to_vec().unwrap()).collect()
    })
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), 60, data)
}

fn v4(name: &Name, last: u8) -> Record {
    record(name, RData::A(A::new(192, 0, 2, last)))
}

/// One address of each kind.
fn both(query: &Query, mut answer: Message, _tcp: bool) -> Vec<Message> {
    answer.add_answer(match query.query_type() {
        RecordType::AAAA => record(query.name(), RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1))),
        _ => v4(query.name(), 1),
    });
    vec![answer]
}

fn conf(servers: &[&NameServer]) -> Conf {
    let servers = servers.iter().map(|server| server.address).collect();
    Conf { servers, timeout: Duration::from_secs(10), attempts: 1, ..Conf::default() }
}

fn look_up(conf: &Conf, name: &str) -> Result<Vec<IpAddr>, Error> {
    ask_servers(conf, name, Instant::now() + Duration::from_secs(10))
}

fn addresses(text: &[&str]) -> Vec<IpAddr> {
    text.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn both_kinds_are_asked_for_at_once() {
    let server = server(both);
    assert_eq!(look_up(&conf(&[&server]), "my_registry.example").unwrap(), addresses(&["192.0.2.1", "::1"]));
    assert_eq!(server.asked(), ["udp A my_registry.example.", "udp AAAA my_registry.example."]);
}

#[test]
fn aliases_are_followed_and_other_names_ignored() {
    let server = server(|query, mut answer, _| {
        let (alias, other) =
            (Name::from_ascii("cdn.example.").unwrap(), Name::from_ascii("x.example.").unwrap());
        answer.add_answer(v4(&other, 66));
        if query.query_type() == RecordType::A {
            answer.add_answer(v4(&alias, 7));
            answer.add_answer(v4(query.name(), 66));
        }
        answer.add_answer(record(query.name(), RData::CNAME(CNAME(alias))));
        vec![answer]
    });
    assert_eq!(look_up(&conf(&[&server]), "r.example").unwrap(), addresses(&["192.0.2.7"]));
}

#[test]
fn an_alias_of_itself_ends() {
    let server = server(|query, mut answer, _| {
        answer.add_answer(record(query.name(), RData::CNAME(CNAME(query.name().clone()))));
        vec![answer]
    });
    assert!(matches!(look_up(&conf(&[&server]), "r.example"), Err(Error::NotFound(_))));
}

#[test]
fn what_is_cut_off_is_asked_for_by_tcp() {
    let server = server(|query, mut answer, tcp| {
        if !tcp {
            answer.metadata.truncation = true;
        } else if query.query_type() == RecordType::A {
            for last in 0..200 {
                answer.add_answer(v4(query.name(), last));
            }
        }
        vec![answer]
    });
    let found = look_up(&conf(&[&server]), "many.example").unwrap();
    assert_eq!(found.len(), MAX_ADDRESSES);
    assert_eq!(server.asked().iter().filter(|way| way.starts_with("tcp")).count(), 2);
    let tcp = Conf { tcp: true, ..conf(&[&server]) };
    look_up(&tcp, "many.example").unwrap();
    assert_eq!(server.asked().iter().filter(|way| way.starts_with("udp")).count(), 2);
}

#[test]
fn answers_to_other_questions_are_ignored() {
    let server = server(|query, answer, _| {
        let mut forged = Message::new(answer.metadata.id ^ 1, MessageType::Response, OpCode::Query);
        forged.add_query(query.clone());
        forged.add_answer(v4(query.name(), 66));
        let mut other = Message::new(answer.metadata.id, MessageType::Response, OpCode::Query);
        let name = Name::from_ascii("other.example.").unwrap();
        other.add_query(Query::query(name.clone(), query.query_type()));
        other.add_answer(v4(query.name(), 66));
        let mut question = answer.clone();
        question.metadata.message_type = MessageType::Query;
        question.add_answer(v4(query.name(), 66));
        let right = both(query, answer, false);
        [vec![forged, other, question], right].concat()
    });
    assert_eq!(look_up(&conf(&[&server]), "r.example").unwrap(), addresses(&["192.0.2.1", "::1"]));
}

#[test]
fn the_search_list_is_gone_through_until_a_name_is_there() {
    let server = server(|query, mut answer, tcp| {
        if query.name().to_string() == "hub.b.example." {
            return both(query, answer, tcp);
        }
        answer.metadata.response_code = ResponseCode::NXDomain;
        vec![answer]
    });
    let search = vec!["a.example".to_owned(), "b.example".to_owned()];
    let conf = Conf { search, ..conf(&[&server]) };
    assert_eq!(look_up(&conf, "hub").unwrap().len(), 2);
    assert_eq!(server.asked()[0], "udp A hub.a.example.");
    assert!(matches!(look_up(&conf, "nowhere"), Err(Error::NotFound(_))));
}

#[test]
fn a_server_that_fails_is_followed_by_the_next() {
    let failing = server(|_, mut answer, _| {
        answer.metadata.response_code = ResponseCode::ServFail;
        vec![answer]
    });
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = server(both);
    let mut conf = conf(&[&failing, &good]);
    conf.servers.insert(0, gone);
    assert_eq!(look_up(&conf, "r.example").unwrap().len(), 2);
    conf.servers.truncate(2);
    let error = look_up(&conf, "r.example").unwrap_err().to_string();
    assert!(error.contains(&failing.address.to_string()), "{error}");
}

#[test]
fn silence_has_an_end_but_half_an_answer_is_one() {
    let silent = server(|_, _, _| Vec::new());
    let conf_of_silent = Conf { timeout: Duration::from_millis(50), attempts: 2, ..conf(&[&silent]) };
    assert!(matches!(look_up(&conf_of_silent, "r.example"), Err(Error::Unanswered { .. })));
    assert_eq!(silent.asked().len(), 4);
    // Some drop what they are asked about IPv6.
    let half = server(|query, answer, tcp| match query.query_type() {
        RecordType::A => both(query, answer, tcp),
        _ => Vec::new(),
    });
    let conf_of_half = Conf { timeout: Duration::from_millis(500), ..conf(&[&half]) };
    assert_eq!(look_up(&conf_of_half, "r.example").unwrap(), addresses(&["192.0.2.1"]));
}

#[test]
fn literals_files_and_localhost_need_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let (hosts, resolv_conf) = (folder.path().join("hosts"), folder.path().join("resolv.conf"));
    std::fs::write(&hosts, "10.0.0.7 registry.example\n").unwrap();
    let resolver = Resolver { hosts, resolv_conf };
    let look_up = |name| resolver.lookup(name, Instant::now());
    assert_eq!(look_up("192.0.2.9").unwrap(), addresses(&["192.0.2.9"]));
    assert_eq!(look_up("fd00::1").unwrap(), addresses(&["fd00::1"]));
    assert_eq!(look_up("REGISTRY.example").unwrap(), addresses(&["10.0.0.7"]));
    assert_eq!(look_up("localhost").unwrap(), addresses(&["127.0.0.1", "::1"]));
    assert_eq!(look_up("sub.localhost.").unwrap(), addresses(&["127.0.0.1", "::1"]));
    for name in ["", ".", "a..b", &"x".repeat(64), &"x.".repeat(200)] {
        assert!(matches!(look_up(name), Err(Error::Name(_))), "{name}");
    }
}

#[test]
fn nonsense_is_no_answer() {
    let question = wire::Question::new(&wire::name("r.example.").unwrap(), RecordType::A).unwrap();
    assert_eq!(question.answer(&[]), None);
    assert_eq!(question.answer(&[0xff; 512]), None);
    assert_eq!(question.answer(&question.bytes), None);
    // The header of an answer, and then a name that points at itself.
    let mut looped = question.bytes[..12].to_vec();
    looped[2] |= 0x80;
    looped.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(question.answer(&looped), None);
}
