use std::fs::File;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;

fn pair() -> (Client, OwnedFd) {
    let (ours, theirs) = ends();
    (Client::new(ours, Duration::from_secs(5)).unwrap(), theirs)
}

fn ends() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

#[test]
fn names_are_checked() {
    for good in ["a", "0-share", &"x".repeat(64)] {
        assert_eq!(good.parse::<ShareName>().unwrap().as_str(), good);
    }
    for bad in ["", ".", "..", "a/b", "A", "a b", "a\0", "\u{e4}", &"x".repeat(65)] {
        assert!(bad.parse::<ShareName>().is_err(), "{bad:?}");
        let packet = serde_json::json!({ "add": { "name": bad } });
        assert!(serde_json::from_value::<Command>(packet).is_err(), "{bad:?}");
    }
}

#[test]
fn descriptor_arrives_with_its_command() {
    let (client, server) = pair();
    let name: ShareName = "data".parse().unwrap();
    let asked = name.clone();
    let asking = thread::spawn(move || {
        let file = File::open("/dev/null").unwrap();
        client.add(&asked, file.as_fd()).unwrap();
        client.make_read_only(&asked).unwrap();
        client.remove(&asked).unwrap_err().to_string()
    });
    let (command, descriptor) = receive_command(server.as_fd()).unwrap().unwrap();
    assert_eq!(command, Command::Add { name: name.clone() });
    assert!(descriptor.is_some());
    send_answer(server.as_fd(), Ok(())).unwrap();
    let (command, descriptor) = receive_command(server.as_fd()).unwrap().unwrap();
    assert_eq!((command, descriptor.is_none()), (Command::ReadOnly { name: name.clone() }, true));
    send_answer(server.as_fd(), Ok(())).unwrap();
    let (command, descriptor) = receive_command(server.as_fd()).unwrap().unwrap();
    assert_eq!((command, descriptor.is_none()), (Command::Remove { name }, true));
    send_answer(server.as_fd(), Err("no such share".into())).unwrap();
    assert_eq!(asking.join().unwrap(), "The file server refused: no such share");
    assert!(receive_command(server.as_fd()).unwrap().is_none(), "the client has hung up");
}

#[test]
fn server_that_went_is_told_apart() {
    let (client, server) = pair();
    drop(server);
    let name = "data".parse().unwrap();
    assert!(matches!(client.remove(&name), Err(ControlError::HungUp)));
}

#[test]
fn packets_that_are_none_are_refused() {
    let (ours, theirs) = ends();
    let put = |bytes: &[u8], descriptors: &[BorrowedFd<'_>]| {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        sendmsg(&ours, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty()).unwrap();
    };
    put(b"{\"add\":{\"name\":\"a\",\"mode\":1}}", &[]);
    assert!(matches!(receive_command(theirs.as_fd()), Err(ControlError::Packet { .. })));
    put(&[b' '; MAX_PACKET + 1], &[]);
    assert!(matches!(receive_command(theirs.as_fd()), Err(ControlError::TooLarge)));
    let file = File::open("/dev/null").unwrap();
    put(b"{\"remove\":{\"name\":\"a\"}}", &[file.as_fd(); 3]);
    assert!(matches!(receive_command(theirs.as_fd()), Err(ControlError::Descriptors)));
}

#[test]
fn long_failure_still_fits() {
    let (client, server) = pair();
    let name = "data".parse().unwrap();
    for part in ["\u{1}", "\u{e4}."] {
        send_answer(server.as_fd(), Err(part.repeat(4000))).unwrap();
        assert!(
            matches!(client.remove(&name), Err(ControlError::Refused(text)) if text.len() > MAX_MESSAGE - 4)
        );
    }
}
