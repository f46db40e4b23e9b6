//! Packets that no sound driver sends.

use super::super::READY_PORT;
use super::super::packet::{Header, Op, SHUTDOWN_SEND, TYPE_STREAM};
use super::guest::{CID, Guest, Peer, RX, TX, end_of};
use crate::devices::virtio::driver::Buffer;

fn still_works(guest: &mut Guest) {
    use std::io::Write;
    let (mut client, peer) = guest.connection();
    client.write_all(b"alive").unwrap();
    assert_eq!(guest.receive_data(&peer), b"alive");
    guest.send_op(&peer, Op::Reset, 0);
    assert_eq!(end_of(&mut client), b"");
}

/// `packet` costs the connection and nothing else.
fn costs_the_connection(change: impl Fn(&Guest, &Peer) -> Header) {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    let header = change(&guest, &peer);
    guest.send_bytes(&header.bytes());
    let reset = guest.receive_op(Op::Reset);
    assert_eq!((reset.src_port, reset.dst_port), (peer.host_port, peer.port));
    assert_eq!(end_of(&mut client), b"");
    still_works(&mut guest);
}

#[test]
fn a_length_beyond_the_packet_costs_the_connection() {
    for len in [1, 0xffff, u32::MAX] {
        costs_the_connection(|guest, peer| guest.header(Op::Data, peer.port, peer.host_port, 0, len));
    }
}

#[test]
fn an_unknown_operation_or_type_costs_the_connection() {
    let any = |guest: &Guest, peer: &Peer| guest.header(Op::Data, peer.port, peer.host_port, 0, 0);
    costs_the_connection(|guest, peer| Header { op: None, ..any(guest, peer) });
    costs_the_connection(|guest, peer| Header { kind: 2, ..any(guest, peer) });
    costs_the_connection(|guest, peer| Header { kind: 0, ..any(guest, peer) });
}

#[test]
fn answers_and_requests_on_an_open_connection_cost_it() {
    for op in [Op::Response, Op::Request] {
        costs_the_connection(|guest, peer| guest.header(op, peer.port, peer.host_port, 0, 0));
    }
}

#[test]
fn data_behind_the_guests_end_costs_the_connection() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    guest.send_op(&peer, Op::Shutdown, SHUTDOWN_SEND);
    guest.send_data(&peer, b"more");
    guest.receive_op(Op::Reset);
    assert_eq!(end_of(&mut client), b"");
}

#[test]
fn anything_but_an_answer_to_a_request_refuses_it() {
    for op in [Op::Data, Op::Shutdown, Op::CreditRequest, Op::Request] {
        let mut guest = Guest::listening();
        let mut client = guest.client(b"CONNECT 52\n");
        let request = guest.receive_op(Op::Request);
        guest.answer(&request, op);
        guest.receive_op(Op::Reset);
        assert_eq!(end_of(&mut client), b"", "{op:?}");
        still_works(&mut guest);
    }
}

#[test]
fn zero_length_data_and_strange_shutdown_flags_are_harmless() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    guest.send_data(&peer, b"");
    guest.send_op(&peer, Op::Shutdown, 0);
    guest.send_op(&peer, Op::Shutdown, !3);
    guest.send_data(&peer, b"x");
    std::io::Read::read_exact(&mut client, &mut [0]).unwrap();
}

#[test]
fn packets_for_nobody_are_answered_by_rst_except_rst() {
    let mut guest = Guest::listening();
    for op in [Op::Request, Op::Response, Op::Shutdown, Op::Data, Op::CreditUpdate, Op::CreditRequest] {
        guest.send(op, 7, 4321, 0, &[]);
        let reset = guest.receive_op(Op::Reset);
        assert_eq!((reset.src_port, reset.dst_port), (4321, 7), "{op:?}");
    }
    guest.send(Op::Reset, 7, 4321, 0, &[]);
    guest.settle();
    assert!(guest.try_receive().is_none());
}

#[test]
fn another_port_of_the_guest_does_not_reach_a_connection() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    guest.send(Op::Data, peer.port + 1, peer.host_port, 0, b"forged");
    guest.receive_op(Op::Reset);
    guest.send_data(&peer, b"real");
    let mut data = [0; 4];
    std::io::Read::read_exact(&mut client, &mut data).unwrap();
    assert_eq!(&data, b"real");
}

#[test]
fn packets_with_foreign_addresses_and_short_ones_are_ignored() {
    let mut guest = Guest::listening();
    let sound = guest.header(Op::Request, 5, READY_PORT, 0, 0);
    guest.send_bytes(&Header { src_cid: CID + 1, ..sound }.bytes());
    guest.send_bytes(&Header { dst_cid: 1, ..sound }.bytes());
    guest.send_bytes(&Header { src_cid: CID | 1 << 32, ..sound }.bytes());
    guest.send_bytes(&sound.bytes()[..43]);
    guest.send_bytes(&[0xff]);
    // Nothing to read at all.
    guest.driver.request(TX, &[Buffer::In(100)]);
    guest.settle();
    assert!(guest.try_receive().is_none());
    still_works(&mut guest);
}

#[test]
fn requests_of_the_guest_ring_at_the_ready_port_only() {
    let mut guest = Guest::silent();
    let _client = guest.client(b"CONNECT 52\n");
    for port in [READY_PORT - 1, READY_PORT + 1, 52, 0, u32::MAX] {
        guest.send(Op::Request, 5, port, 0, &[]);
        guest.receive_op(Op::Reset);
    }
    guest.send(Op::Data, 5, READY_PORT, 0, &[]);
    guest.receive_op(Op::Reset);
    guest.settle();
    assert!(guest.try_receive().is_none());
    guest.ring();
    guest.accept(52);
}

#[test]
fn a_receive_buffer_without_room_for_a_header_breaks_the_device() {
    let mut guest = Guest::silent();
    guest.restart();
    guest.driver.reset();
    guest.driver.start();
    guest.driver.add(RX, &[Buffer::In(43)]);
    let header = guest.header(Op::Request, 5, READY_PORT, 0, 0);
    guest.driver.add(TX, &[Buffer::Out(&header.bytes())]);
    guest.driver.kick(TX);
    guest.driver.wait_needs_reset();
    guest.restart();
    guest.ring();
    still_works(&mut guest);
}

#[test]
fn receive_buffers_with_room_for_a_header_only_are_used_up() {
    use std::io::Write;
    let mut guest = Guest::silent();
    guest.driver.start();
    guest.refill = false;
    let mut client = guest.client(b"CONNECT 52\n");
    for _ in 0..4 {
        guest.driver.add(RX, &[Buffer::In(44)]);
    }
    guest.driver.kick(RX);
    guest.ring();
    let peer = guest.accept(52);
    client.write_all(b"data").unwrap();
    // Two are left.
    guest.receive_op(Op::CreditUpdate);
    guest.receive_op(Op::CreditUpdate);
    guest.add_buffers(1);
    assert_eq!(guest.receive_data(&peer), b"data");
}

#[test]
fn a_guest_that_takes_no_answers_is_not_listened_to() {
    let mut guest = Guest::silent();
    guest.driver.start();
    guest.refill = false;
    let header = guest.header(Op::Request, 5, 9, 0, 0);
    // No receive buffers: answers pile up, then the guest's packets stay where they are.
    let mut taken = 0;
    for _ in 0..600 {
        guest.driver.add(TX, &[Buffer::Out(&header.bytes())]);
        guest.driver.kick(TX);
        guest.settle();
        while guest.driver.try_used(TX).is_some() {
            taken += 1;
        }
        if guest.driver.in_use(TX) > 20 {
            break;
        }
    }
    assert_eq!(taken, 256);
    let waiting = guest.driver.in_use(TX);
    for _ in 0..taken + waiting {
        guest.add_buffers(1);
        guest.receive_op(Op::Reset);
    }
}

#[test]
fn random_packets_cost_no_one_but_their_sender() {
    let mut guest = Guest::listening();
    // xorshift64: the same packets in each run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut clients = Vec::new();
    for round in 0..3000_u32 {
        if round % 100 == 0 {
            clients.push(guest.client(b"CONNECT 52\n"));
            guest.settle();
        }
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap();
        let mut header = guest.header(Op::Data, 52, 1024 + low(random() % 40), 0, 0);
        let mut bytes = {
            header.flags = low(random() % 4);
            header.len = low(random() % 64);
            header.buf_alloc = low(random());
            header.fwd_cnt = low(random());
            header.kind = if random() % 16 == 0 { 2 } else { TYPE_STREAM };
            header.bytes()
        };
        // The operation, known or not.
        bytes[30] = u8::try_from(random() % 9).unwrap();
        if random() % 8 == 0 {
            let at = usize::try_from(random() % 44).unwrap();
            bytes[at] = u8::try_from(random() & 0xff).unwrap();
        }
        let mut packet = bytes.to_vec();
        packet.resize(44 + usize::try_from(random() % 64).unwrap(), 0xab);
        guest.send_bytes(&packet);
        while guest.try_receive().is_some() {}
    }
    drop(clients);
    // Whatever the last packets caused comes first.
    guest.restart();
    guest.ring();
    still_works(&mut guest);
}
