mod guest;
mod hostile;
mod streams;

use std::io::{Read, Write};
use std::net::Shutdown;

use super::packet::{Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use super::*;
use guest::{Guest, connect, end_of, line_of};

#[test]
fn the_configuration_is_the_guests_address() {
    let mut guest = Guest::silent();
    assert_eq!(u64::from_le_bytes(guest.driver.config(0)), guest::CID);
    assert_eq!(guest.driver.config::<4>(8), [0; 4]);
}

#[test]
fn bytes_go_both_ways_once_the_guest_has_accepted() {
    let mut guest = Guest::listening();
    let mut client = guest.client(b"CONNECT 52\n");
    let peer = guest.accept(52);
    assert_eq!(line_of(&mut client), format!("OK {}\n", peer.host_port));
    client.write_all(b"hello").unwrap();
    assert_eq!(guest.receive_data(&peer), b"hello");
    guest.send_data(&peer, b"good ");
    guest.send_data(&peer, b"bye");
    let mut answer = [0; 8];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"good bye");
}

#[test]
fn bytes_behind_the_line_are_data() {
    let mut guest = Guest::listening();
    let mut client = guest.client(b"CONNECT 52\nearly\nbird");
    let peer = guest.accept(52);
    assert_eq!(guest.receive_data(&peer), b"early\nbird");
    assert!(line_of(&mut client).starts_with("OK "));
}

#[test]
fn clients_wait_for_the_doorbell_which_is_answered_by_rst() {
    let mut guest = Guest::silent();
    let mut first = guest.client(b"CONNECT 1\n");
    let second = guest.client(b"CONNECT 2\n");
    guest.settle();
    assert!(guest.try_receive().is_none());
    guest.ring();
    let peer = guest.accept(1);
    guest.accept(2);
    assert!(line_of(&mut first).starts_with("OK "));
    guest.send_data(&peer, b"x");
    let mut byte = [0];
    first.read_exact(&mut byte).unwrap();
    drop(second);
}

#[test]
fn a_reset_closes_all_clients_and_takes_the_doorbell_back() {
    let mut guest = Guest::listening();
    let mut open = guest.client(b"CONNECT 1\n");
    guest.accept(1);
    let mut requested = guest.client(b"CONNECT 2\n");
    guest.receive_op(Op::Request);
    guest.restart();
    assert!(line_of(&mut open).starts_with("OK "));
    assert_eq!(end_of(&mut open), b"");
    assert_eq!(end_of(&mut requested), b"");
    let mut late = guest.client(b"CONNECT 3\n");
    guest.settle();
    assert!(guest.try_receive().is_none());
    guest.ring();
    guest.accept(3);
    assert!(line_of(&mut late).starts_with("OK "));
}

#[test]
fn clients_that_come_before_the_driver_are_served_when_it_is_up() {
    let mut guest = Guest::off();
    let mut early = connect(&guest.path, b"CONNECT 9\n");
    guest.restart();
    guest.ring();
    guest.accept(9);
    assert!(line_of(&mut early).starts_with("OK "));
}

#[test]
fn a_refusal_closes_the_client_without_a_word() {
    let mut guest = Guest::listening();
    let mut client = guest.client(b"CONNECT 52\n");
    let request = guest.receive_op(Op::Request);
    guest.answer(&request, Op::Reset);
    assert_eq!(end_of(&mut client), b"");
}

#[test]
fn a_line_that_is_none_closes_the_client() {
    let mut guest = Guest::listening();
    for line in [&b"HELLO 52\n"[..], b"CONNECT x\n", b"\n", &[b'C'; 100]] {
        assert_eq!(end_of(&mut guest.client(line)), b"", "{line:?}");
    }
    guest.settle();
    assert!(guest.try_receive().is_none());
}

#[test]
fn a_client_that_left_while_it_waited_is_not_announced() {
    let mut guest = Guest::silent();
    drop(guest.client(b"CONNECT 1\n"));
    let _stays = guest.client(b"CONNECT 2\n");
    guest.settle();
    guest.ring();
    assert_eq!(guest.receive_op(Op::Request).dst_port, 2);
}

#[test]
fn a_client_that_left_after_its_request_is_reset() {
    let mut guest = Guest::listening();
    let client = guest.client(b"CONNECT 1\n");
    let request = guest.receive_op(Op::Request);
    drop(client);
    assert_eq!(guest.receive_op(Op::Reset).src_port, request.src_port);
    // The guest's answer comes too late.
    guest.answer(&request, Op::Response);
    assert_eq!(guest.receive_op(Op::Reset).src_port, request.src_port);
}

#[test]
fn the_clients_end_is_told_and_the_other_direction_goes_on() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    client.write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.receive_data(&peer), b"last words");
    assert_eq!(guest.receive_op(Op::Shutdown).flags, SHUTDOWN_SEND);
    let data = (0..1 << 20).map(|at: u32| at.to_le_bytes()[1]).collect::<Vec<_>>();
    let reader = std::thread::spawn(move || end_of(&mut client));
    guest.send_all(&peer, &data);
    guest.send_op(&peer, Op::Shutdown, SHUTDOWN_SEND);
    // Nothing is left to say in either direction: the device ends it in order.
    assert!(guest.receive_until_closed(&peer).is_empty());
    assert!(reader.join().unwrap() == data);
}

#[test]
fn the_guests_end_is_told_and_the_other_direction_goes_on() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    guest.send_data(&peer, b"last words");
    guest.send_op(&peer, Op::Shutdown, SHUTDOWN_SEND);
    assert_eq!(end_of(&mut client), b"last words");
    let data = (0..1 << 20).map(|at: u32| at.to_le_bytes()[1]).collect::<Vec<_>>();
    let expected = data.clone();
    let writer = std::thread::spawn(move || {
        client.write_all(&data).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    });
    assert!(guest.receive_all(&peer) == expected);
    writer.join().unwrap();
}

#[test]
fn a_guest_that_closes_gets_its_rst_and_the_client_everything_it_sent() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    guest.send_data(&peer, &[5; 30_000]);
    guest.send_op(&peer, Op::Shutdown, SHUTDOWN_BOTH);
    guest.receive_op(Op::Reset);
    assert!(end_of(&mut client) == vec![5; 30_000]);
}

#[test]
fn a_client_that_closes_has_its_bytes_delivered_first() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    client.write_all(&[7; 20_000]).unwrap();
    drop(client);
    assert!(guest.receive_until_closed(&peer) == vec![7; 20_000]);
    // The guest's own farewell meets nobody, and is not answered.
    guest.answer(&peer.request, Op::Reset);
    guest.settle();
    assert!(guest.try_receive().is_none());
}

#[test]
fn a_guest_that_listens_no_more_stops_the_client() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    guest.send_op(&peer, Op::Shutdown, SHUTDOWN_RECEIVE);
    guest.settle();
    assert_eq!(client.write(b"anyone?").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    guest.send_data(&peer, b"still here");
    let mut answer = [0; 10];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here");
    guest.send_op(&peer, Op::Shutdown, SHUTDOWN_SEND);
    guest.receive_op(Op::Reset);
    assert_eq!(end_of(&mut client), b"");
}
