use std::net::UdpSocket;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::network::model::Egress;

/// In a network namespace of its own, with a loopback device that is up. False: not without root.
fn apart<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let test = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        test()
    };
    Some(thread::spawn(test).join().unwrap())
}

#[test]
fn each_sandbox_has_a_group_of_its_own_and_gives_it_back() {
    apart(|| {
        let first = Log::open("a").unwrap();
        let second = Log::open("a").unwrap();
        assert_eq!(second.group(), first.group() + 1);
        let group = first.group();
        drop(first);
        assert_eq!(Log::open("a").unwrap().group(), group);
    });
}

#[test]
fn refused_packets_are_told_and_what_is_not_refused_is_not() {
    let told = apart(|| {
        let log = Log::open("b").unwrap();
        let rules = format!(
            "table inet t {{ chain c {{ type filter hook output priority 0; \
             udp dport 4444 log group {} snaplen 128 reject; }}; }}",
            log.group()
        );
        if !Command::new("nft").arg(rules).status().is_ok_and(|status| status.success()) {
            return None;
        }
        let (sender, told) = channel();
        let tell = move |denied: super::super::Denied| drop(sender.send(denied.attributes()));
        let enforcer = Arc::new(Enforcer::new(Egress::default(), tell));
        let watch = log.watch(enforcer, |work| Some(thread::spawn(work))).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = socket.send_to(b"x", "127.0.0.1:5555");
        let _ = socket.send_to(b"x", "127.0.0.1:4444");
        let first = told.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(watch);
        Some((first, told.try_iter().count()))
    });
    let Some(Some((first, more))) = told else { return };
    let expected = [("address", "127.0.0.1"), ("port", "4444"), ("protocol", "udp")];
    assert_eq!(first, expected.map(|(key, value)| (key, value.to_owned())));
    assert_eq!(more, 0);
}

#[test]
fn messages_that_are_cut_or_lie_about_their_length_are_no_packets() {
    let mut message = Vec::new();
    message.extend(32u32.to_ne_bytes());
    message.extend(PACKET.to_ne_bytes());
    message.extend([0; 14]);
    message.extend(7u16.to_ne_bytes());
    message.extend(NFULA_PAYLOAD.to_ne_bytes());
    message.extend([1, 2, 3, 0, 0, 0, 0, 0]);
    let packets = |bytes: &[u8]| {
        let mut packets = Vec::new();
        each_packet(bytes, |packet| packets.push(packet.to_vec()));
        packets
    };
    assert_eq!(packets(&message), [vec![1, 2, 3]]);
    assert_eq!(packets(&[message.clone(), message.clone()].concat()).len(), 2);
    for length in 0..message.len() {
        assert!(packets(&message[..length]).is_empty(), "{length}");
    }
    for lie in [0u32, 15, 33, u32::MAX] {
        message[..4].copy_from_slice(&lie.to_ne_bytes());
        assert!(packets(&message).is_empty(), "{lie}");
    }
}
