//! Networks and servers for the tests of this folder.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hull_guest::protocol::{DnsAnswer, DnsQuestion, DnsTransport};

use super::{Directory, DnsContext, StreamError, Upstream, serve};
use crate::network::model::{Driver, EndpointRow, EndpointSettings, Link, NetworkRow, NetworkSettings};
use crate::store::db::Neighbour;

pub fn network(name: &str) -> NetworkRow {
    NetworkRow {
        id: format!("{name:0<64}"),
        name: name.to_owned(),
        driver: Driver::Bridge,
        created: 1,
        settings: NetworkSettings::default(),
    }
}

pub fn endpoint(links: &[Link]) -> EndpointRow {
    EndpointRow {
        id: "e".repeat(64),
        network: String::new(),
        owner: String::new(),
        position: 0,
        settings: EndpointSettings { links: links.to_vec(), ..EndpointSettings::default() },
        live: None,
    }
}

pub fn link(container: char, alias: &str) -> Link {
    Link { container: container.to_string().repeat(64), alias: alias.to_owned() }
}

pub fn neighbour(id: char, name: &str, ipv4: &str, ipv6: Option<&str>) -> Neighbour {
    Neighbour {
        id: id.to_string().repeat(64),
        name: name.to_owned(),
        hostname: format!("{name}-host"),
        aliases: Vec::new(),
        ipv4: Some(ipv4.parse().unwrap()),
        ipv6: ipv6.map(|address| address.parse().unwrap()),
    }
}

pub fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

/// A name server by UDP and TCP that answers as its test says, until the test's process ends.
pub struct NameServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Told the question's message, an empty answer to it, and whether it came by TCP; says what goes back.
type Answers = dyn Fn(&Query, Message, bool) -> Vec<Vec<u8>> + Send + Sync;

impl NameServer {
    pub fn start(answer: impl Fn(&Query, Message, bool) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (listener, socket) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
                break (listener, socket);
            }
        };
        let (address, asked) = (socket.local_addr().unwrap(), Arc::default());
        let (answer, seen): (Arc<Answers>, _) = (Arc::new(answer), Arc::clone(&asked));
        let (by_tcp, seen_by_tcp) = (Arc::clone(&answer), Arc::clone(&asked));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                for message in replies(&buffer[..length], &*answer, &seen, false) {
                    socket.send_to(&message, from).unwrap();
                }
            }
        });
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut message = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut message).unwrap();
                for message in replies(&message, &*by_tcp, &seen_by_tcp, true) {
                    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length, message.as_slice()].concat()).unwrap();
                }
            }
        });
        Self { address, asked }
    }

    /// One that has an address for everything.
    pub fn honest() -> Self {
        Self::start(|query, answer, _| vec![with_address(query, answer, 1).to_vec().unwrap()])
    }

    /// `udp A name.` of each question.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn replies(bytes: &[u8], answer: &Answers, seen: &Mutex<Vec<String>>, tcp: bool) -> Vec<Vec<u8>> {
    let question = Message::from_vec(bytes).unwrap();
    let query = question.queries[0].clone();
    let way = if tcp { "tcp" } else { "udp" };
    seen.lock().unwrap().push(format!("{way} {} {}", query.query_type(), query.name()));
    let mut empty = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    empty.add_query(query.clone());
    if question.edns.is_some() {
        empty.set_edns(Edns::new());
    }
    answer(&query, empty, tcp)
}

/// The answer with 192.0.2.`last` for the question's name.
pub fn with_address(query: &Query, mut answer: Message, last: u8) -> Message {
    let data = RData::A(A::new(192, 0, 2, last));
    answer.add_answer(Record::from_rdata(query.name().clone(), 300, data));
    answer
}

/// The agent's end of a stream whose other end is served.
pub struct FakeAgent {
    pub stream: UnixStream,
    next: u32,
    pub server: JoinHandle<Result<(), StreamError>>,
}

impl FakeAgent {
    pub fn start(context: DnsContext) -> Self {
        let (stream, theirs) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, next: 7, server: thread::spawn(|| serve(theirs, context)) }
    }

    /// With these local names, asking these servers.
    pub fn with(directory: Directory, servers: &[&NameServer]) -> Self {
        Self::start(context(directory, servers.iter().map(|server| server.address).collect()))
    }

    pub fn send(&mut self, transport: DnsTransport, message: &[u8]) -> u32 {
        self.next += 1;
        self.stream.write_all(&DnsQuestion::encode(self.next, transport, message)).unwrap();
        self.next
    }

    /// False: it was not taken in a while.
    pub fn try_send(&mut self, transport: DnsTransport, message: &[u8]) -> bool {
        self.next += 1;
        self.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        self.stream.write_all(&DnsQuestion::encode(self.next, transport, message)).is_ok()
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn receive(&mut self) -> (u32, Vec<u8>) {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).unwrap();
        let mut body = vec![0; DnsAnswer::length(header).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        let answer = DnsAnswer::decode(&body).unwrap();
        (answer.id, answer.message)
    }

    pub fn ask(&mut self, transport: DnsTransport, message: &[u8]) -> Vec<u8> {
        let id = self.send(transport, message);
        let (answered, message) = self.receive();
        assert_eq!(answered, id);
        message
    }

    /// Asks by UDP and reads the answer.
    pub fn look_up(&mut self, name: &str, kind: RecordType) -> Message {
        let question = question(name, kind);
        let answer = Message::from_vec(&self.ask(DnsTransport::Udp, &question)).unwrap();
        assert_eq!(answer.metadata.id, 0x1234);
        assert_eq!(answer.metadata.message_type, MessageType::Response);
        answer
    }
}

pub fn context(directory: Directory, servers: Vec<SocketAddr>) -> DnsContext {
    let directory = Arc::new(directory);
    DnsContext {
        names: Box::new(move || Some(Arc::clone(&directory))),
        upstream: Upstream::These(servers),
        policy: None,
    }
}

pub fn question(name: &str, kind: RecordType) -> Vec<u8> {
    message(name, kind).to_vec().unwrap()
}

pub fn message(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

pub fn addresses(answer: &Message) -> Vec<IpAddr> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(address).collect()
}
