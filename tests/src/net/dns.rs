//! The "internet's" DNS server: one small zone, over UDP, and over TCP what does not fit.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use crate::net::Namespace;

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
/// RFC 1035, 4.2.1
const MOST_OVER_UDP: usize = 512;
/// Addresses of `big.example.test`, too many for a datagram.
pub const BIG: u8 = 100;

pub struct Dns {
    udp: UdpSocket,
    tcp: TcpListener,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    pub fn start(namespace: &Namespace, at: &str) -> Dns {
        let at: SocketAddr = at.parse().unwrap();
        let bound = namespace.enter(|| Ok::<_, io::Error>((UdpSocket::bind(at)?, TcpListener::bind(at)?)));
        let (udp, tcp) = bound.unwrap_or_else(|e| panic!("{at}: {e}"));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (socket, log) = (udp.try_clone().unwrap(), asked.clone());
        std::thread::spawn(move || over_udp(&socket, &log));
        let (listener, log) = (tcp.try_clone().unwrap(), asked.clone());
        std::thread::spawn(move || over_tcp(&listener, &log));
        Dns { udp, tcp, asked }
    }

    /// Names that were asked for so far, in lower case.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        for fd in [self.udp.as_raw_fd(), self.tcp.as_raw_fd()] {
            // SAFETY: no pointers. Wakes the thread that waits for it, also where it is not connected.
            unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
        }
    }
}

fn over_udp(socket: &UdpSocket, log: &Mutex<Vec<String>>) {
    let mut buffer = [0; 4096];
    while let Ok((length @ 1.., peer)) = socket.recv_from(&mut buffer) {
        let Some(mut message) = answer(&buffer[..length], log) else { continue };
        if message.len() > MOST_OVER_UDP {
            message[2] |= 0x02; // TC: the question only, ask again over TCP
            message[6..8].fill(0);
            message.truncate(question(&message).map_or(12, |question| question.end));
        }
        let _ = socket.send_to(&message, peer);
    }
}

fn over_tcp(listener: &TcpListener, log: &Mutex<Vec<String>>) {
    while let Ok((mut stream, _)) = listener.accept() {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut message = vec![0; u16::from_be_bytes(length).into()];
            let Ok(()) = stream.read_exact(&mut message) else { break };
            let Some(message) = answer(&message, log) else { break };
            let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes(), message.as_slice()].concat();
            let Ok(()) = stream.write_all(&framed) else { break };
        }
    }
}

struct Question {
    name: String,
    kind: u16,
    end: usize,
}

/// The first question: names in questions are not compressed.
fn question(message: &[u8]) -> Option<Question> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    let whole = at + 4 <= message.len();
    whole.then(|| Question { name: labels.join("."), kind, end: at + 4 })
}

fn answer(query: &[u8], log: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let question = question(query)?;
    log.lock().unwrap().push(question.name.clone());
    let records = records(&question.name);
    let fitting: Vec<_> = records.iter().flatten().filter(|record| record.0 == question.kind).collect();
    let mut message = query.get(..question.end)?.to_vec();
    message[2] = 0x84 | (query[2] & 0x01); // QR, AA, RD as asked
    message[3] = if records.is_some() { 0x80 } else { 0x83 }; // RA; NXDOMAIN
    message[6..8].copy_from_slice(&u16::try_from(fitting.len()).unwrap().to_be_bytes());
    message[8..12].fill(0);
    for (kind, data) in fitting {
        message.extend([0xc0, 12]); // the question's name
        message.extend([kind.to_be_bytes(), 1u16.to_be_bytes()].concat());
        message.extend(60u32.to_be_bytes());
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
    }
    Some(message)
}

/// The zone. None: there is no such name.
fn records(name: &str) -> Option<Vec<(u16, Vec<u8>)>> {
    let address = |text: &str| match text.parse().unwrap() {
        IpAddr::V4(address) => (A, address.octets().to_vec()),
        IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
    };
    Some(match name {
        "www.example.test" | "only.search.test" => vec![address("198.51.100.2"), address("2001:db8:100::2")],
        "second.example.test" => vec![address("198.51.100.3")],
        "big.example.test" => (1..=BIG).map(|n| (A, vec![192, 0, 2, n])).collect(),
        "2.100.51.198.in-addr.arpa" => vec![(PTR, b"\x03www\x07example\x04test\0".to_vec())],
        _ => return None,
    })
}
