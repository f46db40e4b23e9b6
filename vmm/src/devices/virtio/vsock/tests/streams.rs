//! Flow control, limits and fairness.

use std::io::{Read, Write};

use super::super::packet::{Op, SHUTDOWN_BOTH};
use super::super::{BUF_ALLOC, MAX_CLIENTS};
use super::guest::{Guest, Peer, RX, WINDOW, end_of, line_of};

fn fill(guest: &mut Guest, peer: &Peer, bytes: u32) {
    guest.send_data(peer, &vec![1; usize::try_from(bytes).unwrap()]);
}

/// Sends to a client that does not read, until all credit is spent. Returns the bytes sent, and how many
/// of them the device is rid of.
fn spend_all_credit(guest: &mut Guest, peer: &Peer) -> (u32, u32) {
    let (mut total, mut forwarded) = (0, 0);
    loop {
        guest.settle();
        while let Some((header, _)) = guest.try_receive() {
            assert_eq!(header.op, Some(Op::CreditUpdate));
            forwarded = header.fwd_cnt;
        }
        match BUF_ALLOC - (total - forwarded) {
            0 => return (total, forwarded),
            credit => {
                fill(guest, peer, credit);
                total += credit;
            }
        }
    }
}

#[test]
fn a_slow_client_costs_the_guest_its_credit_and_gives_it_back() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    let (total, mut forwarded) = spend_all_credit(&mut guest, &peer);
    let mut taken = vec![0; usize::try_from(total).unwrap()];
    client.read_exact(&mut taken).unwrap();
    while forwarded < total - BUF_ALLOC / 2 {
        forwarded = guest.receive_op(Op::CreditUpdate).fwd_cnt;
    }
    fill(&mut guest, &peer, BUF_ALLOC / 2);
    client.read_exact(&mut taken[..usize::try_from(BUF_ALLOC / 2).unwrap()]).unwrap();
}

#[test]
fn a_slow_client_gets_the_rest_after_the_guest_has_closed() {
    for op in [Op::Shutdown, Op::Reset] {
        let mut guest = Guest::listening();
        let (mut client, peer) = guest.connection();
        let (total, _) = spend_all_credit(&mut guest, &peer);
        guest.send_op(&peer, op, SHUTDOWN_BOTH);
        if op == Op::Shutdown {
            guest.receive_op(Op::Reset);
        }
        assert_eq!(end_of(&mut client).len(), usize::try_from(total).unwrap());
    }
}

#[test]
fn a_guest_that_exceeds_its_credit_is_reset() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    // The client reads nothing: sooner or later the room is full.
    for _ in 0..100 {
        fill(&mut guest, &peer, BUF_ALLOC / 2);
        guest.settle();
        while let Some((header, _)) = guest.try_receive() {
            if header.op == Some(Op::Reset) {
                assert_eq!(header.src_port, peer.host_port);
                let received = end_of(&mut client);
                assert!(received.iter().all(|byte| *byte == 1));
                return;
            }
        }
    }
    panic!("megabytes beyond the credit were taken");
}

#[test]
fn a_packet_larger_than_all_credit_is_reset_at_once() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    fill(&mut guest, &peer, BUF_ALLOC + 1);
    guest.receive_op(Op::Reset);
    assert_eq!(end_of(&mut client), b"");
}

#[test]
fn the_client_never_exceeds_the_guests_credit() {
    let mut guest = Guest::listening();
    guest.buf_alloc = 10_000;
    let (mut client, peer) = guest.connection();
    client.write_all(&[9; 25_000]).unwrap();
    let mut got = 0;
    for limit in [10_000, 20_000, 25_000] {
        while got < limit {
            got += guest.receive_data(&peer).len();
        }
        assert_eq!(got, limit);
        guest.settle();
        assert!(guest.try_receive().is_none());
        guest.fwd_cnt = u32::try_from(got).unwrap();
        guest.send_op(&peer, Op::CreditUpdate, 0);
    }
}

#[test]
fn a_credit_request_is_answered() {
    let mut guest = Guest::listening();
    let (mut client, peer) = guest.connection();
    guest.send_data(&peer, b"12345");
    client.read_exact(&mut [0; 5]).unwrap();
    guest.send_op(&peer, Op::CreditRequest, 0);
    let update = guest.receive_op(Op::CreditUpdate);
    assert_eq!((update.fwd_cnt, update.buf_alloc), (5, BUF_ALLOC));
}

#[test]
fn connections_take_turns() {
    let mut guest = Guest::silent();
    guest.driver.start();
    guest.refill = false;
    // One for the answer to the doorbell, two for requests; none for data.
    guest.add_buffers(3);
    guest.ring();
    let (mut first, one) = guest.connection();
    let (mut second, two) = guest.connection();
    first.write_all(&[1; 100_000]).unwrap();
    second.write_all(&[2; 100_000]).unwrap();
    guest.settle();
    guest.add_buffers(20);
    let mut counts = [0, 0];
    for _ in 0..20 {
        let (header, _) = guest.receive();
        assert!([one.host_port, two.host_port].contains(&header.src_port));
        counts[usize::from(header.src_port == two.host_port)] += 1;
    }
    assert_eq!(counts, [10, 10]);
}

#[test]
fn packets_wait_until_there_are_buffers() {
    let mut guest = Guest::listening();
    guest.refill = false;
    let (mut client, peer) = guest.connection();
    client.write_all(&vec![3; 260_000]).unwrap();
    let mut got = 0;
    while guest.driver.in_use(RX) > 0 {
        got += guest.receive_data(&peer).len();
    }
    guest.settle();
    assert!(guest.try_receive().is_none());
    guest.refill = true;
    guest.add_buffers(4);
    while got < 260_000 {
        got += guest.receive_data(&peer).len();
    }
    assert!(got <= usize::try_from(WINDOW).unwrap());
}

#[test]
fn bytes_that_a_dead_client_leaves_unread_are_dropped() {
    let mut guest = Guest::listening();
    let (client, peer) = guest.connection();
    drop(client);
    guest.settle();
    guest.send_data(&peer, b"anyone?");
    assert!(guest.receive_until_closed(&peer).is_empty());
    guest.receive_op(Op::Reset);
}

#[test]
fn further_clients_are_closed_at_once_and_room_comes_back() {
    raise_descriptor_limit();
    let mut guest = Guest::listening();
    let mut clients = Vec::new();
    for _ in 0..MAX_CLIENTS {
        clients.push(guest.connection());
    }
    for _ in 0..50 {
        assert_eq!(end_of(&mut guest.client(b"CONNECT 52\n")), b"");
    }
    for (client, peer) in clients.iter_mut().rev().take(5) {
        client.write_all(b"ping").unwrap();
        assert_eq!(guest.receive_data(peer), b"ping");
        guest.send_data(peer, b"pong");
        client.read_exact(&mut [0; 4]).unwrap();
    }
    let (mut client, peer) = clients.pop().unwrap();
    guest.send_op(&peer, Op::Reset, 0);
    assert_eq!(end_of(&mut client), b"");
    let mut another = guest.client(b"CONNECT 52\n");
    guest.accept(52);
    assert!(line_of(&mut another).starts_with("OK "));
}

#[test]
fn a_connection_without_client_makes_room_for_a_client() {
    raise_descriptor_limit();
    let mut guest = Guest::listening();
    guest.buf_alloc = 0;
    let (mut client, gone) = guest.connection();
    client.write_all(b"never taken").unwrap();
    drop(client);
    guest.receive_op(Op::Shutdown);
    guest.buf_alloc = WINDOW;
    let clients = (1..MAX_CLIENTS).map(|_| guest.connection()).collect::<Vec<_>>();
    let mut another = guest.client(b"CONNECT 52\n");
    assert_eq!(guest.receive_op(Op::Reset).src_port, gone.host_port);
    guest.accept(52);
    assert!(line_of(&mut another).starts_with("OK "));
    // The others' clients are all there.
    assert_eq!(end_of(&mut guest.client(b"CONNECT 52\n")), b"");
    drop(clients);
}

/// Runs in a process of its own, whose descriptors are counted.
#[test]
fn a_client_for_whom_there_was_no_descriptor_is_served_when_another_goes() {
    const NAME: &str = "a_client_for_whom_there_was_no_descriptor_is_served_when_another_goes";
    if std::env::var_os(NAME).is_none() {
        let path = format!("{}::{NAME}", module_path!().split_once("::").unwrap().1);
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", &path]).env(NAME, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let mut guest = Guest::listening();
    let (_client, peer) = guest.connection();
    leave_one_descriptor();
    let mut waiting = guest.client(b"CONNECT 53\n");
    // The answer comes after the device has tried to accept.
    guest.send(Op::Request, 5, 9, 0, &[]);
    guest.receive_op(Op::Reset);
    guest.send_op(&peer, Op::Reset, 0);
    guest.accept(53);
    assert!(line_of(&mut waiting).starts_with("OK "));
}

fn leave_one_descriptor() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use std::os::fd::AsRawFd;
    let lowest_free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(lowest_free).unwrap() + 1, hard).unwrap();
}

/// Two descriptors a connection, in one process.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < 4096 {
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).unwrap();
    }
}
