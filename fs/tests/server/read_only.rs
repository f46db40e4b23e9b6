//! Shares that a guest may only read: from the beginning, or after it has written to them.

use std::fs;
use std::path::Path;

use hull_fs::control::ControlError;

use crate::fixture::{guest, read_only, server, tree};
use crate::fuse::*;

const DENIED: Refusal = Refusal::Errno(libc::EROFS);

/// Whatever changes a file or folder, of what the guest has looked up before.
fn assert_unwritable(guest: &mut Guest, data: u64, file: u64) {
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_WRONLY | libc::O_TRUNC, libc::O_RDWR | libc::O_APPEND]
    {
        assert_eq!(guest.open(file, flags).unwrap_err(), DENIED, "{flags:o}");
    }
    assert_eq!(guest.create(data, "new", libc::O_RDWR, 0o600).unwrap_err(), DENIED);
    assert_eq!(guest.make_folder(data, "folder", 0o700).unwrap_err(), DENIED);
    assert_eq!(guest.make_node(data, "pipe", libc::S_IFIFO, 0).unwrap_err(), DENIED);
    assert_eq!(guest.link_to(data, "link", "file").unwrap_err(), DENIED);
    assert_eq!(guest.hard_link(file, data, "hard").unwrap_err(), DENIED);
    assert_eq!(guest.rename((data, "file"), (data, "other")).unwrap_err(), DENIED);
    assert_eq!(guest.call(UNLINK, data, &Fields::new().name("file")).unwrap_err(), DENIED);
    assert_eq!(guest.set(file, FATTR_SIZE, 0, 0, (0, 0)).unwrap_err(), DENIED);
    assert_eq!(guest.set(file, FATTR_MODE, 0, 0o777, (0, 0)).unwrap_err(), DENIED);
    assert_eq!(guest.set(data, FATTR_UID | FATTR_GID, 0, 0, (1, 1)).unwrap_err(), DENIED);
    assert_eq!(guest.set_attribute(file, "user.x", b"x").unwrap_err(), DENIED);
    assert_eq!(guest.call(REMOVEXATTR, file, &Fields::new().name("user.x")).unwrap_err(), DENIED);
}

#[test]
fn read_only_share_is_not_written() {
    let Some(mut server) = server() else { return };
    let source = server.source("source");
    fs::write(source.join("file"), "kept").unwrap();
    server.share_tree("data", read_only(tree(&source))).unwrap();
    let mut guest = server.mount();
    let data = guest.walk("data").unwrap().node;
    let file = guest.walk("data/file").unwrap().node;
    assert_unwritable(&mut guest, data, file);
    assert_eq!(guest.contents("data/file").unwrap(), b"kept");
}

#[test]
fn share_that_was_made_read_only_is_not_written_by_what_the_guest_knew_before() {
    let Some((server, mut guest, source)) = guest() else { return };
    server.share("other", &source).unwrap();
    let data = guest.walk("data").unwrap().node;
    let (file, handle) = guest.create(data, "file", libc::O_RDWR, 0o600).unwrap();
    guest.write(file.node, handle, 0, b"kept", 0).unwrap();
    guest.set_attribute(file.node, "user.x", b"x").unwrap();
    guest.close(file.node, handle).unwrap();
    let reading = guest.open(file.node, libc::O_RDONLY).unwrap();
    let folder = guest.open_folder(data).unwrap();
    server.make_read_only("data").unwrap();
    assert_unwritable(&mut guest, data, file.node);
    // What is open for reading is that, and no way to anything else.
    assert_eq!(guest.read(file.node, reading, 0, 9).unwrap(), b"kept");
    let bad = Refusal::Errno(libc::EBADF);
    assert_eq!(guest.write(file.node, reading, 0, b"lost", 0).unwrap_err(), bad);
    let length = Fields::new().u64(reading).u64(0).u64(9).u32(0).u32(0);
    assert_eq!(guest.call(FALLOCATE, file.node, &length).unwrap_err(), bad);
    for (node, handle) in [(file.node, reading), (data, folder)] {
        let mode =
            Fields::new().u32(FATTR_MODE | FATTR_HANDLE).u32(0).u64(handle).zeros(52).u32(0o777).zeros(16);
        assert_eq!(guest.call(SETATTR, node, &mode).unwrap_err(), DENIED);
    }
    server.make_read_only("data").unwrap();
    assert_eq!(fs::read(source.join("file")).unwrap(), b"kept");
    assert_eq!(fs::read_dir(&source).unwrap().count(), 1);
    // The same folder as another share.
    let elsewhere = guest.walk("other/file").unwrap().node;
    let handle = guest.open(elsewhere, libc::O_RDWR).unwrap();
    guest.write(elsewhere, handle, 0, b"more", 0).unwrap();
}

#[test]
fn share_that_the_guest_has_open_for_writing_stays_as_it_is() {
    let Some((server, mut guest, source)) = guest() else { return };
    let data = guest.walk("data").unwrap().node;
    let (file, handle) = guest.create(data, "file", libc::O_WRONLY, 0o600).unwrap();
    let (gone, other) = guest.create(data, "gone", libc::O_RDWR, 0o600).unwrap();
    // It has no name and no node any more, and is open for writing.
    guest.call(UNLINK, data, &Fields::new().name("gone")).unwrap();
    guest.forget(gone.node, 1);
    for (node, handle) in [(file.node, handle), (gone.node, other)] {
        let refused = server.make_read_only("data").unwrap_err();
        let ControlError::Refused(words) = refused else { panic!("{refused:?}") };
        assert_eq!(words, "The guest has a file of data open for writing");
        guest.make_folder(data, &format!("made-{handle}"), 0o700).unwrap();
        guest.close(node, handle).unwrap();
    }
    server.make_read_only("data").unwrap();
    assert_unwritable(&mut guest, data, file.node);
    assert_eq!(fs::read_dir(&source).unwrap().count(), 3);
}

#[test]
fn what_is_mounted_below_a_share_is_read_only_with_it() {
    let Some((server, _guest, _source)) = guest() else { return };
    server.share("host", Path::new("/")).unwrap();
    server.make_read_only("host").unwrap();
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", server.server_pid())).unwrap();
    let options = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[4].to_owned(), words[5].split(',').any(|option| option == "ro"))
    };
    let (hosts, others): (Vec<_>, Vec<_>) =
        mounts.lines().map(options).partition(|(path, _)| path.starts_with("/shares/host"));
    assert!(hosts.len() > 1 && hosts.iter().all(|(_, read_only)| *read_only), "{mounts}");
    assert!(others.contains(&("/shares/data".to_owned(), false)), "{mounts}");
}
