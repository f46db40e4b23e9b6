//! Networks and agents for the tests of this folder.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hull_guest::protocol::{DnsAnswer, DnsQuestion, DnsTransport};

use super::{Directory, DnsContext, StreamError, Upstream, serve};
use crate::network::model::{Driver, EndpointRow, EndpointSettings, Link, NetworkRow, NetworkSettings};
pub use crate::resolve::test_server::{NameServer, with_address};
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
