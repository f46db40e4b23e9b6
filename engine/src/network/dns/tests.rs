use std::net::UdpSocket;
use std::sync::mpsc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, rdata};
use hull_guest::protocol::DnsTransport::{Tcp, Udp};

use super::fixture::*;
use super::serve::MAX_FORWARDS;
use super::*;

/// A directory with one network, on it `db` and as many with the alias `pool`.
fn directory(pool: u8) -> Directory {
    let mut neighbours = vec![neighbour('b', "db", "172.20.0.3", None)];
    for number in 0..pool {
        let mut member = neighbour('c', &format!("member{number}"), &format!("172.20.1.{number}"), None);
        member.aliases = vec!["pool".to_owned()];
        neighbours.push(member);
    }
    let mut directory = Directory::default();
    directory.add(&network("front"), &endpoint(&[]), &neighbours);
    directory
}

#[test]
fn local_names_are_answered_with_the_question_and_its_flags() {
    let mut agent = FakeAgent::with(directory(0), &[]);
    let answer = agent.look_up("DB.front.", RecordType::A);
    assert_eq!(addresses(&answer), ips(&["172.20.0.3"]));
    assert!(answer.metadata.recursion_desired && answer.metadata.recursion_available);
    assert_eq!(answer.queries[0].name().to_ascii(), "DB.front.");
    assert_eq!((answer.answers[0].ttl, answer.edns.is_some()), (0, false));
    let none = agent.look_up("db.", RecordType::AAAA);
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    let pointer = agent.look_up("3.0.20.172.in-addr.arpa.", RecordType::PTR);
    assert_eq!(pointer.answers[0].data.to_string(), "db.front.");
    assert_eq!(agent.look_up("nobody.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn several_addresses_take_turns() {
    let mut agent = FakeAgent::with(directory(3), &[]);
    let mut firsts: Vec<_> = (0..3).map(|_| addresses(&agent.look_up("pool.", RecordType::A))[0]).collect();
    firsts.sort();
    assert_eq!(firsts, ips(&["172.20.1.0", "172.20.1.1", "172.20.1.2"]));
}

#[test]
fn a_long_answer_is_cut_to_what_the_asker_takes() {
    let mut agent = FakeAgent::with(directory(100), &[]);
    let cut = agent.look_up("pool.", RecordType::A);
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let whole = agent.ask(Tcp, &question("pool.", RecordType::A));
    assert_eq!(addresses(&Message::from_vec(&whole).unwrap()).len(), 100);
    let mut with_edns = message("pool.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    with_edns.set_edns(edns);
    let answer = Message::from_vec(&agent.ask(Udp, &with_edns.to_vec().unwrap())).unwrap();
    assert_eq!(addresses(&answer).len(), 100);
    assert!(answer.edns.unwrap().flags().dnssec_ok);
}

#[test]
fn what_is_no_proper_question_is_refused_by_its_kind() {
    let mut agent = FakeAgent::with(directory(0), &[]);
    let mut code = |message: &Message| {
        let bytes = agent.ask(Udp, &message.to_vec().unwrap());
        let answer = Message::from_vec(&bytes).unwrap();
        assert_eq!(answer.metadata.id, 0x1234);
        answer.response_code.low() as u16 | u16::from(answer.edns.map_or(0, |edns| edns.rcode_high())) << 4
    };
    let plain = message("db.", RecordType::A);
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = plain.clone();
        change(&mut message);
        message
    };
    assert_eq!(code(&plain), 0);
    assert_eq!(code(&with(&|message| message.metadata.op_code = OpCode::Status)), 4);
    assert_eq!(code(&with(&|message| message.metadata.op_code = OpCode::Update)), 4);
    assert_eq!(code(&with(&|message| message.queries.clear())), 1);
    assert_eq!(code(&with(&|message| message.queries.push(plain.queries[0].clone()))), 1);
    let record = Record::from_rdata(Name::root(), 1, RData::A(rdata::A::new(1, 2, 3, 4)));
    assert_eq!(code(&with(&|message| message.answers.push(record.clone()))), 1);
    let chaos = |message: &mut Message| {
        message.queries[0].set_query_class(DNSClass::CH);
    };
    assert_eq!(code(&with(&chaos)), 5);
    assert_eq!(code(&message("db.", RecordType::AXFR)), 5);
    let newer = |message: &mut Message| {
        let mut edns = Edns::new();
        edns.set_version(1);
        message.set_edns(edns);
    };
    assert_eq!(code(&with(&newer)), 16);
}

#[test]
fn nonsense_gets_an_answer_or_none_and_the_next_question_is_answered() {
    let mut agent = FakeAgent::with(directory(0), &[]);
    let mut answer = question("db.", RecordType::A);
    answer[2] |= 0x80;
    assert!(agent.ask(Udp, &answer).is_empty());
    let mut looped = question("db.", RecordType::A)[..12].to_vec();
    looped.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(agent.ask(Udp, &looped)[3] & 15, 1);
    assert_eq!(agent.ask(Udp, &[0; 12])[3] & 15, 1);
    assert_eq!(agent.ask(Tcp, &[0x7f; 65_535])[3] & 15, 4);
    assert_eq!(agent.look_up("db.", RecordType::A).answers.len(), 1);
}

#[test]
fn a_stream_of_something_else_ends_and_so_does_one_that_closes() {
    let mut agent = FakeAgent::with(directory(0), &[]);
    agent.send_raw(&[0xff; 64]);
    assert!(matches!(agent.server.join().unwrap(), Err(StreamError::Frame(_))));
    let agent = FakeAgent::with(directory(0), &[]);
    drop(agent.stream);
    assert!(agent.server.join().unwrap().is_ok());
}

#[test]
fn other_names_are_asked_outside_with_the_asker_s_spelling() {
    let server = NameServer::honest();
    let mut agent = FakeAgent::with(directory(0), &[&server]);
    let answer = agent.look_up("ExAmple.org.", RecordType::A);
    assert_eq!(addresses(&answer), ips(&["192.0.2.1"]));
    assert_eq!(answer.queries[0].name().to_ascii(), "ExAmple.org.");
    agent.ask(Tcp, &question("example.org.", RecordType::MX));
    assert_eq!(server.asked(), ["udp A ExAmple.org.", "tcp MX example.org."]);
}

#[test]
fn forged_answers_are_ignored() {
    let server = NameServer::start(|query, answer, _| {
        let bytes = |message: Message| message.to_vec().unwrap();
        let mut other_id = with_address(query, answer.clone(), 66);
        other_id.metadata.id ^= 1;
        let mut other_name = with_address(query, answer.clone(), 66);
        other_name.queries[0].set_name(Name::from_ascii("other.example.").unwrap());
        let mut other_type = with_address(query, answer.clone(), 66);
        other_type.queries[0].set_query_type(RecordType::MX);
        let mut no_question = with_address(query, answer.clone(), 66);
        no_question.queries.clear();
        let mut is_question = with_address(query, answer.clone(), 66);
        is_question.metadata.message_type = hickory_proto::op::MessageType::Query;
        let right = with_address(query, answer, 1);
        vec![
            Vec::new(),
            vec![0xff; 700],
            bytes(other_id),
            bytes(other_name),
            bytes(other_type),
            bytes(no_question),
            bytes(is_question),
            bytes(right),
        ]
    });
    let mut agent = FakeAgent::with(directory(0), &[&server]);
    assert_eq!(addresses(&agent.look_up("example.org.", RecordType::A)), ips(&["192.0.2.1"]));
}

#[test]
fn what_a_server_cuts_off_is_fetched_by_tcp() {
    let server = NameServer::start(|query, mut answer, tcp| {
        let many = if tcp { 20 } else { 0 };
        answer.metadata.truncation = !tcp;
        for last in 0..many {
            answer = with_address(query, answer, last);
        }
        vec![answer.to_vec().unwrap()]
    });
    let mut agent = FakeAgent::with(directory(0), &[&server]);
    let answer = agent.look_up("example.org.", RecordType::A);
    assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, 20));
    assert_eq!(server.asked(), ["udp A example.org.", "tcp A example.org."]);
}

#[test]
fn a_server_that_fails_hangs_up_or_is_not_there_is_followed_by_the_next() {
    let code = |code| {
        NameServer::start(move |_, mut answer, _| {
            answer.metadata.response_code = code;
            vec![answer.to_vec().unwrap()]
        })
    };
    let (failing, refusing, good) =
        (code(ResponseCode::ServFail), code(ResponseCode::Refused), NameServer::honest());
    let mut agent = FakeAgent::with(directory(0), &[&failing, &refusing, &good]);
    assert_eq!(agent.look_up("example.org.", RecordType::A).answers.len(), 1);
    // By TCP, with nothing but a hang-up.
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mute = NameServer::start(|_, _, _| Vec::new());
    let mut agent = FakeAgent::start(context(directory(0), vec![gone, mute.address, good.address]));
    let answer = agent.ask(Tcp, &question("example.org.", RecordType::A));
    assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 1);
    // All of them.
    let mut agent = FakeAgent::with(directory(0), &[&failing, &refusing]);
    assert_eq!(agent.look_up("a.example.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    let absent = code(ResponseCode::NXDomain);
    let mut agent = FakeAgent::with(directory(0), &[&absent, &good]);
    assert_eq!(agent.look_up("a.example.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn a_silent_server_holds_up_nobody_else_and_is_followed_by_the_next() {
    let (silent, good) = (NameServer::start(|_, _, _| Vec::new()), NameServer::honest());
    let mut agent = FakeAgent::with(directory(0), &[&silent, &good]);
    let slow = agent.send(Udp, &question("example.org.", RecordType::A));
    assert_eq!(agent.look_up("db.", RecordType::A).answers.len(), 1);
    let (id, answer) = agent.receive();
    assert_eq!((id, Message::from_vec(&answer).unwrap().answers.len()), (slow, 1));
}

#[test]
fn a_flood_of_questions_is_bounded_and_local_names_are_answered_all_the_same() {
    let silent = NameServer::start(|_, _, _| Vec::new());
    let mut agent = FakeAgent::with(directory(0), &[&silent]);
    let extra = 50;
    for _ in 0..MAX_FORWARDS + extra {
        agent.send(Udp, &question("example.org.", RecordType::A));
    }
    for _ in 0..extra {
        let (_, answer) = agent.receive();
        assert_eq!(Message::from_vec(&answer).unwrap().metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(agent.look_up("db.", RecordType::A).answers.len(), 1);
}

#[test]
fn an_agent_that_reads_nothing_does_not_make_the_answers_pile_up() {
    let mut agent = FakeAgent::with(directory(100), &[]);
    let asked = question("pool.", RecordType::A);
    // Nothing is read until no more questions are taken.
    let sent = (0..2000).take_while(|_| agent.try_send(Tcp, &asked)).count();
    assert!(sent < 2000, "{sent}");
    let mut answered = 0;
    while answered < sent && !agent.receive().1.is_empty() {
        answered += 1;
    }
    assert_eq!(answered, sent);
}

#[test]
fn without_a_way_outside_nothing_is_asked_there() {
    let server = NameServer::honest();
    let mut internal = network("vault");
    internal.settings.internal = true;
    let mut vault = Directory::default();
    vault.add(&internal, &endpoint(&[]), &[neighbour('b', "db", "172.20.0.3", None)]);
    let mut agent = FakeAgent::with(vault, &[&server]);
    assert_eq!(agent.look_up("db.", RecordType::A).answers.len(), 1);
    assert_eq!(agent.look_up("example.org.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert!(server.asked().is_empty());
}

struct OnlyExample(mpsc::Sender<(String, usize, Duration)>);

impl Policy for OnlyExample {
    fn permits(&mut self, name: &str) -> bool {
        name == "example.org"
    }

    fn resolved(&mut self, name: &str, addresses: &[std::net::IpAddr], ttl: Duration) -> bool {
        self.0.send((name.to_owned(), addresses.len(), ttl)).is_ok()
    }
}

#[test]
fn a_policy_refuses_names_and_hears_of_addresses_before_the_container() {
    let server = NameServer::start(|query, mut answer, _| {
        let alias = Name::from_ascii("cdn.example.").unwrap();
        let to_alias = RData::CNAME(rdata::CNAME(alias.clone()));
        answer.add_answer(Record::from_rdata(query.name().clone(), 30, to_alias));
        answer.add_answer(Record::from_rdata(alias, 300, RData::A(rdata::A::new(192, 0, 2, 1))));
        let other = Name::from_ascii("other.example.").unwrap();
        answer.add_answer(Record::from_rdata(other, 5, RData::A(rdata::A::new(192, 0, 2, 66))));
        vec![answer.to_vec().unwrap()]
    });
    let (sender, heard) = mpsc::channel();
    let mut context = context(directory(0), vec![server.address]);
    context.policy = Some(Box::new(OnlyExample(sender)));
    let mut agent = FakeAgent::start(context);
    assert_eq!(agent.look_up("evil.example.", RecordType::A).metadata.response_code, ResponseCode::Refused);
    assert_eq!(agent.look_up("db.", RecordType::A).answers.len(), 1);
    assert_eq!(heard.try_recv().unwrap(), ("db".to_owned(), 1, Duration::ZERO));
    assert!(server.asked().is_empty() && heard.try_recv().is_err());
    assert_eq!(agent.look_up("EXAMPLE.org.", RecordType::A).answers.len(), 3);
    assert_eq!(heard.try_recv().unwrap(), ("example.org".to_owned(), 1, Duration::from_secs(30)));
    drop(heard);
    assert_eq!(agent.look_up("example.org.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
}
