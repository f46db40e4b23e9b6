//! Shares that come and go, and what else is there: nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use hull_fs::control::ControlError;

use crate::fixture::{guest, server};
use crate::fuse::*;

fn refusal(result: Result<(), ControlError>) -> String {
    match result {
        Err(ControlError::Refused(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_a_file_only_the_file_is_shared() {
    let Some(mut server) = server() else { return };
    let source = server.source("source");
    fs::write(source.join("shared"), "this").unwrap();
    fs::write(source.join("other"), "that").unwrap();
    server.share("file", &source.join("shared")).unwrap();
    let mut guest = server.mount();
    assert_eq!(guest.contents("file").unwrap(), b"this");
    let file = guest.walk("file").unwrap();
    assert_eq!(file.attributes.mode & libc::S_IFMT, libc::S_IFREG);
    assert!(guest.lookup(file.node, "other").is_err());
    assert_eq!(guest.names(ROOT).unwrap(), [".", "..", "file"]);
    let handle = guest.open(file.node, libc::O_WRONLY).unwrap();
    guest.write(file.node, handle, 0, b"THIS", 0).unwrap();
    assert_eq!(fs::read(source.join("shared")).unwrap(), b"THIS");
}

#[test]
fn shares_come_and_go_while_the_guest_runs() {
    let Some((server, mut guest, source)) = guest() else { return };
    let data = guest.walk("data").unwrap();
    assert_eq!(data.attributes.flags & SUBMOUNT, SUBMOUNT, "the guest keeps inode numbers apart");
    let late = server.source("late");
    fs::write(late.join("file"), "late").unwrap();
    server.share("late", &late).unwrap();
    assert_eq!(guest.contents("late/file").unwrap(), b"late");
    server.unshare("data").unwrap();
    assert_eq!(guest.walk("data").unwrap_err(), Refusal::Errno(libc::ENOENT));
    // What the guest had of it still is its own.
    fs::write(source.join("file"), "").unwrap();
    guest.lookup(data.node, "file").unwrap();
    server.share("data", &late).unwrap();
    assert_eq!(guest.contents("data/file").unwrap(), b"late");
}

#[test]
fn commands_that_cannot_be_are_refused_in_words() {
    let Some((server, _guest, source)) = guest() else { return };
    assert_eq!(refusal(server.share("data", &source)), "There is a share data already");
    assert_eq!(refusal(server.unshare("other")), "There is no share other");
    assert_eq!(refusal(server.make_read_only("other")), "There is no share other");
    let _socket = UnixListener::bind(source.join("socket")).unwrap();
    let words = refusal(server.share("socket", &source.join("socket")));
    assert_eq!(words, "Only folders and regular files can be shared; this is a socket");
    let words = refusal(server.share("null", Path::new("/dev/null")));
    assert_eq!(words, "Only folders and regular files can be shared; this is a device");
    // A descriptor that is no mount.
    let plain = fs::File::open(&source).unwrap();
    let words = refusal(server.share_tree("plain", plain.into()));
    assert!(words.starts_with("Failed to take devices and set-user-ID away from plain"), "{words}");
    server.share("after", &source).unwrap();
}

/// The C library looks for some of its own below these names.
#[test]
fn share_of_any_name_is_nothing_to_the_server_itself() {
    let Some((server, mut guest, source)) = guest() else { return };
    for name in ["proc", "etc", "dev", "sys", "shares"] {
        server.share(name, &source).unwrap();
    }
    assert_eq!(guest.names(ROOT).unwrap(), [".", "..", "data", "dev", "etc", "proc", "shares", "sys"]);
    let root = fs::read_dir(format!("/proc/{}/root", server.server_pid())).unwrap();
    let names: Vec<_> = root.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["shares"]);
}

#[test]
fn guest_makes_nothing_among_the_shares() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let denied = Refusal::Errno(libc::EROFS);
    assert_eq!(guest.make_folder(ROOT, "late", 0o755).unwrap_err(), denied);
    assert_eq!(guest.create(ROOT, "late", libc::O_RDWR, 0o600).unwrap_err(), denied);
    assert_eq!(guest.link_to(ROOT, "late", "/").unwrap_err(), denied);
    assert_eq!(guest.set(ROOT, FATTR_MODE, 0, 0o777, (0, 0)).unwrap_err(), denied);
    fs::write(source.join("file"), "").unwrap();
    let data = guest.walk("data").unwrap().node;
    assert_eq!(guest.rename((ROOT, "data"), (data, "inside")).unwrap_err(), Refusal::Errno(libc::EXDEV));
    assert!(guest.call(RMDIR, ROOT, &Fields::new().name("data")).is_err());
    assert_eq!(guest.contents("data/file").unwrap(), b"");
}

#[test]
fn every_mount_is_without_devices_and_set_user_id() {
    let Some((server, _guest, _source)) = guest() else { return };
    server.share("host", Path::new("/")).unwrap();
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", server.server_pid())).unwrap();
    assert!(mounts.lines().count() > 3, "with what is mounted on the host:\n{mounts}");
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(words[5].contains("nosuid") && words[5].contains("nodev"), "{line}");
        assert!(words[6] == "-", "nothing propagates: {line}");
    }
}

#[test]
fn links_of_the_share_are_the_guests_to_follow() {
    let Some((_server, mut guest, source)) = guest() else { return };
    for (name, target) in [("absolute", "/etc/passwd"), ("up", "../../../etc/passwd"), ("root", "/")] {
        symlink(target, source.join(name)).unwrap();
        let link = guest.walk(&format!("data/{name}")).unwrap();
        assert_eq!(link.attributes.mode & libc::S_IFMT, libc::S_IFLNK);
        assert_eq!(guest.open(link.node, libc::O_RDONLY).unwrap_err(), Refusal::Errno(libc::ELOOP));
        assert_eq!(guest.lookup(link.node, "passwd").unwrap_err(), Refusal::Errno(libc::ENOTDIR));
        assert!(guest.open_folder(link.node).is_err());
        // O_CREAT of a name that is a link follows none either.
        let data = guest.walk("data").unwrap().node;
        assert!(guest.create(data, name, libc::O_RDWR, 0o600).is_err());
    }
}
