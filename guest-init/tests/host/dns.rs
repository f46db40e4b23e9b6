//! Questions for names: from the sandbox to whoever holds the `Dns` call's connection, and back.

use std::io::{ErrorKind as Io, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hull_guest::protocol::*;

use crate::fixture::{Agent, receive};
use crate::network::{Namespace, configure};

const RESOLVER: &str = "127.0.0.11:53";
/// Longer than anything here takes.
const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// An agent whose sandbox passes questions on, and its network.
fn start() -> Option<(Agent, Namespace)> {
    let inside = Namespace::new();
    let agent = Agent::start_with(Some(inside.handed()))?;
    let namespace = NetworkNamespace::Handed;
    configure(&agent, NetworkConfig { namespace, interfaces: vec![], dns: true }).unwrap();
    Some((agent, inside))
}

fn dns(agent: &Agent) -> UnixStream {
    let mut link = agent.send(&Request::Dns);
    assert!(matches!(receive(&mut link), Ok(Outcome::Done)));
    link.set_read_timeout(LIMIT).unwrap();
    link
}

fn question(link: &mut UnixStream) -> DnsQuestion {
    let mut header = [0; 4];
    link.read_exact(&mut header).unwrap();
    let mut body = vec![0; DnsQuestion::length(header).unwrap()];
    link.read_exact(&mut body).unwrap();
    DnsQuestion::decode(&body).unwrap()
}

fn answer(link: &mut UnixStream, id: u32, message: &[u8]) {
    link.write_all(&DnsAnswer::encode(id, message)).unwrap();
}

fn udp(inside: &Namespace) -> UdpSocket {
    let socket = inside.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    socket.connect(RESOLVER).unwrap();
    socket.set_read_timeout(LIMIT).unwrap();
    socket
}

fn tcp(inside: &Namespace) -> TcpStream {
    let socket = inside.enter(|| TcpStream::connect(RESOLVER).unwrap());
    socket.set_read_timeout(LIMIT).unwrap();
    socket
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 70_000];
    let length = socket.recv(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

fn read(socket: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

/// A name's address, asked for by `question`, as RFC 1035 has it.
fn address(question: &[u8], address: [u8; 4]) -> Vec<u8> {
    let mut message = question.to_vec();
    // A response with one answer: the name at offset 12, A, IN, a minute.
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[6..8].copy_from_slice(&[0, 1]);
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend(address);
    message
}

#[test]
fn container_asks_for_a_name_and_hears_the_hosts_answer() {
    let Some((agent, _inside)) = start() else { return };
    let mut link = dns(&agent);
    let host = std::thread::spawn(move || {
        // Both for A and AAAA, in any order; then the agent ends, and the stream.
        for _ in 0..2 {
            let asked = question(&mut link);
            assert_eq!(asked.transport, DnsTransport::Udp);
            let ipv4 = asked.message.ends_with(&[0, 1, 0, 1]);
            let mut none = asked.message.clone();
            none[2..4].copy_from_slice(&[0x81, 0x80]);
            let message = if ipv4 { address(&asked.message, [10, 1, 2, 3]) } else { none };
            answer(&mut link, asked.id, &message);
        }
        link
    });
    let told = agent.shell("nslookup web.example 127.0.0.11");
    assert!(told.contains("10.1.2.3"), "{told}");
    host.join().unwrap();
}

#[test]
fn questions_go_over_both_transports_and_answers_come_in_any_order() {
    let Some((agent, inside)) = start() else { return };
    let mut link = dns(&agent);
    let (first, second) = (udp(&inside), udp(&inside));
    let mut third = tcp(&inside);
    first.send(&[1; 40]).unwrap();
    let a = question(&mut link);
    second.send(&[2; MAX_DNS_DATAGRAM]).unwrap();
    let b = question(&mut link);
    // Piece by piece.
    let long = framed(&[3; MAX_DNS_MESSAGE]);
    third.write_all(&long[..1]).unwrap();
    third.write_all(&long[1..1000]).unwrap();
    third.write_all(&long[1000..]).unwrap();
    let c = question(&mut link);
    assert_eq!((a.transport, a.message), (DnsTransport::Udp, vec![1; 40]));
    assert_eq!((b.transport, b.message), (DnsTransport::Udp, vec![2; MAX_DNS_DATAGRAM]));
    assert_eq!((c.transport, c.message), (DnsTransport::Tcp, vec![3; MAX_DNS_MESSAGE]));
    answer(&mut link, c.id, &[6; MAX_DNS_MESSAGE]);
    answer(&mut link, 999_999, &[0; 12]);
    answer(&mut link, b.id, &[5; 600]);
    answer(&mut link, a.id, &[4; 12]);
    answer(&mut link, a.id, &[9; 12]);
    assert_eq!((received(&first), received(&second)), (vec![4; 12], vec![5; 600]));
    assert_eq!(read(&mut third, MAX_DNS_MESSAGE + 2), framed(&[6; MAX_DNS_MESSAGE]));
    // Two at once on one connection: one after the other.
    third.write_all(&[framed(&[7; 12]), framed(&[8; 12])].concat()).unwrap();
    for message in [[7; 12], [8; 12]] {
        let asked = question(&mut link);
        assert_eq!(asked.message, message);
        answer(&mut link, asked.id, &message);
        assert_eq!(read(&mut third, 14), framed(&message));
    }
    third.write_all(&framed(&[1; 12])).unwrap();
    let refused = question(&mut link);
    answer(&mut link, refused.id, &[]);
    assert_eq!(third.read(&mut [0; 1]).unwrap(), 0, "there will be no answer");
}

#[test]
fn image_with_a_name_server_of_its_own_still_works() {
    let Some((agent, inside)) = start() else { return };
    let mut link = dns(&agent);
    for address in ["0.0.0.0:53", "127.0.0.1:53", RESOLVER] {
        let (own_udp, own_tcp) =
            inside.enter(|| (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap()));
        own_udp.set_read_timeout(LIMIT).unwrap();
        let asker = udp(&inside);
        asker.send(&[1; 12]).unwrap();
        let asked = question(&mut link);
        answer(&mut link, asked.id, &[2; 12]);
        assert_eq!(received(&asker), [2; 12], "{address}: the resolver's address is the agent's");
        if address != RESOLVER {
            let asker = inside.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
            asker.set_read_timeout(LIMIT).unwrap();
            asker.send_to(&[3; 5], "127.0.0.1:53").unwrap();
            let (length, from) = own_udp.recv_from(&mut [0; 64]).unwrap();
            own_udp.send_to(&[4; 7], from).unwrap();
            assert_eq!((length, received(&asker)), (5, vec![4; 7]), "{address}: others are the image's own");
            let _client = inside.enter(|| TcpStream::connect("127.0.0.1:53").unwrap());
            own_tcp.accept().unwrap();
        }
    }
}

#[test]
fn questions_wait_for_a_host_and_a_later_one_takes_over() {
    let Some((agent, inside)) = start() else { return };
    let asker = udp(&inside);
    asker.send(&[1; 12]).unwrap();
    let mut first = dns(&agent);
    assert_eq!(question(&mut first).message, [1; 12]);
    let mut client = tcp(&inside);
    client.write_all(&framed(&[2; 12])).unwrap();
    question(&mut first);
    let mut second = dns(&agent);
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "what was asked of the first is lost");
    asker.send(&[3; 12]).unwrap();
    let asked = question(&mut second);
    answer(&mut second, asked.id, &[4; 12]);
    assert_eq!(received(&asker), [4; 12]);
    drop(second);
    asker.send(&[5; 12]).unwrap();
    let mut third = dns(&agent);
    assert_eq!(question(&mut third).message, [5; 12]);
}

#[test]
fn flood_of_questions_holds_up_nobody_else() {
    let Some((agent, inside)) = start() else { return };
    let mut link = dns(&agent);
    let flood = udp(&inside);
    // Far more than all buffers on the way to a host that reads nothing.
    for _ in 0..5000 {
        let _ = flood.send(&[1; 4000]);
        let _ = flood.send(&[1; 3]);
    }
    let _idle: Vec<TcpStream> = (0..20).map(|_| tcp(&inside)).collect();
    assert!(matches!(agent.call(&Request::List), Ok(Outcome::Containers(_))));
    let asker = udp(&inside);
    let mut ids = vec![];
    // The kernel drops what finds no room, so it is asked again until it comes through.
    link.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let asked = loop {
        asker.send(&[2; 12]).unwrap();
        let mut header = [0; 4];
        match link.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == Io::WouldBlock => continue,
            Err(error) => panic!("{error}"),
        }
        let mut body = vec![0; DnsQuestion::length(header).unwrap()];
        link.read_exact(&mut body).unwrap();
        let asked = DnsQuestion::decode(&body).unwrap();
        if asked.message == [2; 12] {
            break asked;
        }
        assert_eq!(asked.message, [1; 4000]);
        ids.push(asked.id);
    };
    assert!(!ids.is_empty());
    for id in ids {
        answer(&mut link, id, &[7; 12]);
    }
    answer(&mut link, asked.id, &[4; 12]);
    assert_eq!(received(&asker), [4; 12]);
}

#[test]
fn connection_that_was_still_for_longest_gives_way() {
    let Some((agent, inside)) = start() else { return };
    let mut link = dns(&agent);
    let mut idle: Vec<TcpStream> = (0..40).map(|_| tcp(&inside)).collect();
    let mut last = idle.pop().unwrap();
    last.write_all(&framed(&[5; 12])).unwrap();
    let asked = question(&mut link);
    assert_eq!(asked.message, [5; 12]);
    answer(&mut link, asked.id, &[6; 12]);
    assert_eq!(read(&mut last, 14), framed(&[6; 12]));
    assert_eq!(idle[0].read(&mut [0; 1]).unwrap(), 0, "the first has given way");
}

#[test]
fn oldest_question_gives_way_to_the_256th_after_it() {
    let Some((agent, inside)) = start() else { return };
    let mut link = dns(&agent);
    let (old, new) = (udp(&inside), udp(&inside));
    old.send(&[1; 12]).unwrap();
    let oldest = question(&mut link);
    let mut newest = 0;
    for _ in 0..256 {
        new.send(&[2; 12]).unwrap();
        newest = question(&mut link).id;
    }
    answer(&mut link, oldest.id, &[3; 12]);
    answer(&mut link, newest, &[4; 12]);
    assert_eq!(received(&new), [4; 12]);
    old.set_nonblocking(true).unwrap();
    assert_eq!(old.recv(&mut [0; 12]).unwrap_err().kind(), Io::WouldBlock);
}

#[test]
fn frames_that_make_no_sense_end_their_connection_and_nothing_else() {
    let Some((agent, inside)) = start() else { return };
    for wire in [u32::MAX.to_le_bytes(), 3u32.to_le_bytes(), 0u32.to_le_bytes()] {
        let mut link = dns(&agent);
        link.write_all(&wire).unwrap();
        assert_eq!(link.read(&mut [0; 1]).unwrap(), 0, "{wire:?}");
    }
    let mut link = dns(&agent);
    for wire in [&[0u8, 0][..], &[0, 11, 1, 2, 3]] {
        let mut client = tcp(&inside);
        client.write_all(wire).unwrap();
        // Ended with something unread, it may be a reset.
        let ended = client.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0)) || ended.unwrap_err().kind() == Io::ConnectionReset, "{wire:?}");
    }
    let (short, long, good) = (udp(&inside), udp(&inside), udp(&inside));
    short.send(&[1; 11]).unwrap();
    long.send(&[1; MAX_DNS_DATAGRAM + 1]).unwrap();
    good.send(&[2; 12]).unwrap();
    let asked = question(&mut link);
    assert_eq!(asked.message, [2; 12]);
    answer(&mut link, asked.id, &vec![3; MAX_DNS_MESSAGE]);
    answer(&mut link, asked.id, &[4; 12]);
    good.send(&[5; 12]).unwrap();
    let asked = question(&mut link);
    answer(&mut link, asked.id, &[6; 12]);
    assert_eq!(received(&good), [6; 12], "what was too long for a datagram is lost");
}
