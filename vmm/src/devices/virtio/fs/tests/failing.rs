//! Servers that die, hang, or say what they should not.

use std::io::Write;
use std::time::Instant;

use vhost::vhost_user::message::{FrontendReq, VhostUserProtocolFeatures, VhostUserVirtioFeatures};

use super::*;
use crate::lifecycle::ExitCause;

/// Short, where it is to run out.
const SHORT: Duration = Duration::from_millis(200);

/// The device's failure, once it was reported; the driver sees that the device is of no use.
fn failure(driver: &mut Driver) -> String {
    driver.wait_failure();
    driver.wait_needs_reset();
    reason(driver)
}

fn reason(driver: &Driver) -> String {
    match driver.failure.cause() {
        Some(ExitCause::FileServerFailed { reason }) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// A machine whose server has said `bytes` before it was asked, and says nothing else.
fn prepared(bytes: &[u8]) -> (UnixStream, Driver) {
    let (mut theirs, ours) = UnixStream::pair().unwrap();
    theirs.write_all(bytes).unwrap();
    (theirs, Driver::on_shared_memory(Box::new(Fs::with_patience("hull", ours, SHORT))))
}

/// Brings a device up that cannot come up.
fn start_in_vain(driver: &mut Driver) -> String {
    driver.negotiate(feature::COMMON);
    driver.setup_queues();
    driver.go();
    failure(driver)
}

#[test]
fn a_server_that_ends_while_nothing_happens_is_noticed() {
    let (server, mut driver) = device(Manners::default());
    driver.start();
    echo(&mut driver, REQUESTS);
    drop(server);
    assert_eq!(failure(&mut driver), "the file server (hull-fs) has ended");
}

#[test]
fn a_server_that_ends_with_requests_under_way_is_noticed() {
    let (server, mut driver) = device(Manners::default());
    driver.start();
    server.freeze();
    for _ in 0..16 {
        driver.add(REQUESTS, &[Buffer::Out(b"lost"), Buffer::In(16)]);
        driver.kick(REQUESTS);
    }
    drop(server);
    assert!(failure(&mut driver).contains("has ended"));
    let begin = Instant::now();
    driver.reset();
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn a_server_that_has_ended_before_it_was_needed_is_told_at_the_start() {
    for peer_first in [true, false] {
        let (server, mut driver) = device(Manners::default());
        if peer_first {
            drop(server);
        } else {
            driver.offered();
            drop(server);
        }
        let message = start_in_vain(&mut driver);
        assert_eq!(message, "the file server (hull-fs) has ended");
    }
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() {
    // Nothing at all, and half a header.
    for bytes in [[].as_slice(), &[1; 5]] {
        let (_server, mut driver) = prepared(bytes);
        let message = start_in_vain(&mut driver);
        assert_eq!(message, "the file server (hull-fs) did not answer for 200ms");
    }
}

#[test]
fn a_server_that_hangs_cannot_hold_up_a_reset() {
    let (server, socket) = Server::start(Manners::default());
    let mut driver = Driver::on_shared_memory(Box::new(Fs::with_patience("hull", socket, SHORT * 10)));
    driver.start();
    echo(&mut driver, REQUESTS);
    server.freeze();
    driver.reset();
    driver.wait_failure();
    assert_eq!(reason(&driver), "the file server (hull-fs) did not answer for 2s");
}

#[test]
fn what_is_no_answer_is_refused() {
    let header = |request: u32, flags: u32, size: u32| {
        [request, flags, size].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()
    };
    let (get_features, reply) = (1, 5);
    let answers = [
        vec![0xff; 4096],
        vec![0; 4096],
        // Of another request, no reply, too long, of another version.
        [header(15, reply, 8), vec![0xff; 8]].concat(),
        [header(get_features, 1, 8), vec![0xff; 8]].concat(),
        [header(get_features, reply, u32::MAX), vec![0xff; 4096]].concat(),
        [header(get_features, 6, 8), vec![0xff; 8]].concat(),
    ];
    for answer in answers {
        let (_server, mut driver) = prepared(&answer);
        let message = start_in_vain(&mut driver);
        assert!(
            message.contains("asked to name its features and failed or gave a wrong answer"),
            "{message}"
        );
    }
}

#[test]
fn a_server_that_lacks_what_is_needed_is_refused() {
    let good = Manners::default();
    let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
    let cases = [
        (Manners { features: good.features & !feature::VERSION_1, ..good }, "lacks the feature VERSION_1"),
        (Manners { features: good.features & !protocol, ..good }, "lacks the feature PROTOCOL_FEATURES"),
        (Manners { protocol: VhostUserProtocolFeatures::REPLY_ACK, ..good }, "MQ and REPLY_ACK"),
        (Manners { queues: 1, ..good }, "serves 1 queues; 2 are needed"),
        (Manners { queues: u64::MAX, ..good }, "asked to say how many queues it serves"),
    ];
    for (manners, expected) in cases {
        let (_server, mut driver) = device(manners);
        let message = start_in_vain(&mut driver);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_refusal_names_what_was_asked() {
    let cases = [
        (FrontendReq::SET_FEATURES, "use the guest's features"),
        (FrontendReq::SET_MEM_TABLE, "map guest memory"),
        (FrontendReq::SET_VRING_KICK, "take a ring's kick event"),
    ];
    for (request, expected) in cases {
        let (_server, mut driver) = device(Manners { refuses: Some(request), ..Manners::default() });
        let message = start_in_vain(&mut driver);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_server_that_does_not_give_the_rings_back_fails_the_device() {
    let refuses = Some(FrontendReq::GET_VRING_BASE);
    let (server, socket) = Server::start(Manners { refuses, ..Manners::default() });
    let mut driver = Driver::on_shared_memory(Box::new(Fs::with_patience("hull", socket, SHORT)));
    driver.start();
    driver.reset();
    driver.wait_failure();
    drop(server);
}

#[test]
fn a_server_that_speaks_unasked_fails_the_device() {
    let (server, mut driver) = device(Manners::default());
    driver.start();
    echo(&mut driver, REQUESTS);
    server.babble();
    let message = failure(&mut driver);
    assert_eq!(message, "the file server (hull-fs) spoke without being asked");
}

#[test]
fn private_memory_is_not_handed_out() {
    let (_server, socket) = Server::start(Manners::default());
    let mut driver = Driver::new(Box::new(Fs::new("hull", socket)));
    let message = start_in_vain(&mut driver);
    assert!(message.contains("which is not shared"), "{message}");
}
