use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::network::model::Port;
use crate::network::model::{Networking, Protocol, Publish};
use crate::network::ports::bind;
use crate::store::Store;

/// A port of 127.0.0.1 and ::1, relayed to one at 127.0.0.1 that "the container" listens at.
struct Fixture {
    port: u16,
    relay: Relay,
}

fn bound(container: u16, protocol: Protocol) -> Bound {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
    let publish = Publish { container: Port { number: container, protocol }, address: None, host: None };
    bind(&store, "owner", &Networking { publish: vec![publish], ..Networking::default() }).unwrap()
}

fn relay(container: u16, protocol: Protocol) -> Fixture {
    let bound = bound(container, protocol);
    let port = bound.first().port();
    let relay = bound.relay(Some(Ipv4Addr::LOCALHOST), None, |work| Some(thread::spawn(work))).unwrap();
    Fixture { port, relay }
}

impl Fixture {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

#[test]
fn a_connection_is_carried_both_ways_and_each_half_ends_by_itself() {
    let (listener, container) = listener();
    let fixture = relay(container, Protocol::Tcp);
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut data = Vec::new();
        stream.read_to_end(&mut data).unwrap();
        stream.write_all(&data).unwrap();
    });
    let mut client = fixture.connect();
    let sent = pattern(5_000_000);
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(received == sent, "{} of {}", received.len(), sent.len());
    server.join().unwrap();
}

#[test]
fn both_families_reach_a_container_that_has_one() {
    let (listener, container) = listener();
    let fixture = relay(container, Protocol::Tcp);
    for address in ["127.0.0.1", "127.0.0.9", "::1"] {
        let mut client = TcpStream::connect((address, fixture.port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(server.read(&mut [0; 2]).unwrap(), 1);
    }
}

#[test]
fn a_port_that_nobody_listens_at_resets_its_client() {
    let (listener, container) = listener();
    drop(listener);
    let fixture = relay(container, Protocol::Tcp);
    let error = fixture.connect().read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_of_one_side_is_one_of_the_others() {
    let (listener, container) = listener();
    let fixture = relay(container, Protocol::Tcp);
    let mut client = fixture.connect();
    client.write_all(b"unread").unwrap();
    let (server, _) = listener.accept().unwrap();
    server.peek(&mut [0; 1]).unwrap();
    // Closed with something unread: a reset.
    drop(server);
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn data_that_is_not_taken_stops_its_sender_and_is_whole_in_the_end() {
    let (listener, container) = listener();
    let fixture = relay(container, Protocol::Tcp);
    let mut client = fixture.connect();
    let (mut server, _) = listener.accept().unwrap();
    client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let data = pattern(64 << 20);
    let mut sent = 0;
    while let Ok(count) = client.write(&data[sent..]) {
        sent += count;
    }
    // The kernel's buffers on three ways, and 64 KiB of the relay's.
    assert!(sent < data.len(), "{sent}");
    client.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert!(received == data[..sent], "{} of {sent}", received.len());
}

#[test]
fn many_connections_at_once_keep_apart() {
    let (listener, container) = listener();
    let fixture = relay(container, Protocol::Tcp);
    let echo = thread::spawn(move || {
        for _ in 0..200 {
            let (mut stream, _) = listener.accept().unwrap();
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    let mut clients: Vec<TcpStream> = (0..200).map(|_| fixture.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&u64::try_from(number).unwrap().to_le_bytes()).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut answer = [0; 8];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(u64::from_le_bytes(answer), u64::try_from(number).unwrap());
    }
    echo.join().unwrap();
}

#[test]
fn new_connections_go_where_the_relay_is_aimed() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let container = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("127.0.0.7", container)).unwrap();
    let fixture = relay(container, Protocol::Tcp);
    let _old = fixture.connect();
    first.accept().unwrap();
    fixture.relay.aim(Some(Ipv4Addr::new(127, 0, 0, 7)), None);
    let _new = fixture.connect();
    second.accept().unwrap();
    fixture.relay.aim(None, None);
    assert_eq!(fixture.connect().read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn the_relays_end_is_that_of_its_connections_and_frees_the_port() {
    let (listener, container) = listener();
    let fixture = relay(container, Protocol::Tcp);
    let mut client = fixture.connect();
    let (mut server, _) = listener.accept().unwrap();
    drop(fixture.relay);
    assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(matches!(server.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(TcpListener::bind(("0.0.0.0", fixture.port)).is_ok());
}

#[test]
fn datagrams_answers_find_their_client_from_the_address_it_asked() {
    let container = UdpSocket::bind("127.0.0.1:0").unwrap();
    let fixture = relay(container.local_addr().unwrap().port(), Protocol::Udp);
    let client = |own: &str, asks: &str| {
        let socket = UdpSocket::bind((own, 0)).unwrap();
        // Connected: it takes answers of the address it asked only.
        socket.connect((asks, fixture.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    };
    let clients = [client("127.0.0.1", "127.0.0.1"), client("127.0.0.1", "127.0.0.8"), client("::1", "::1")];
    let mut buffer = vec![0; 65_536];
    for (number, client) in clients.iter().enumerate() {
        client.send(&pattern(60_000 + number)).unwrap();
    }
    for _ in &clients {
        let (count, from) = container.recv_from(&mut buffer).unwrap();
        container.send_to(&buffer[..count], from).unwrap();
    }
    for (number, client) in clients.iter().enumerate() {
        let count = client.recv(&mut buffer).unwrap();
        assert!(buffer[..count] == pattern(60_000 + number), "{count}");
    }
}

#[test]
fn datagrams_to_a_deaf_container_do_no_harm() {
    let container = UdpSocket::bind("127.0.0.1:0").unwrap();
    let number = container.local_addr().unwrap().port();
    drop(container);
    let fixture = relay(number, Protocol::Udp);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", fixture.port)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.send(b"lost").unwrap();
    let container = UdpSocket::bind(("127.0.0.1", number)).unwrap();
    // The refusal of the first may meet the second.
    container.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let from = loop {
        client.send(b"heard").unwrap();
        if let Ok((_, from)) = container.recv_from(&mut [0; 16]) {
            break from;
        }
    };
    container.send_to(b"answer", from).unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 6);
}

#[test]
fn more_clients_than_there_is_room_for_displace_the_silent() {
    let container = UdpSocket::bind("127.0.0.1:0").unwrap();
    container.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let fixture = relay(container.local_addr().unwrap().port(), Protocol::Udp);
    for _ in 0..udp::MOST + 50 {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"x", ("127.0.0.1", fixture.port)).unwrap();
        container.recv_from(&mut [0; 4]).unwrap();
    }
}

/// Takes root: the relay's thread is in another network namespace than the port.
#[test]
fn ports_and_the_container_may_be_in_different_network_namespaces() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let bound = bound(4321, Protocol::Tcp);
    let port = bound.first().port();
    let (sender, server) = std::sync::mpsc::channel();
    let elsewhere = move |work: Work| {
        Some(thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
            sender.send(TcpListener::bind("127.0.0.1:4321").unwrap()).unwrap();
            work();
        }))
    };
    let _relay = bound.relay(Some(Ipv4Addr::LOCALHOST), None, elsewhere).unwrap();
    let server = server.recv().unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut stream, _) = server.accept().unwrap();
    stream.write_all(b"x").unwrap();
    assert_eq!(client.read(&mut [0; 2]).unwrap(), 1);
}
