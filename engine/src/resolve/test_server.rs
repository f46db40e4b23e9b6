//! A name server for tests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};

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
