//! A guest that wants out, and a host process that moves what it looks at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};

use crate::fixture::{guest, read_only, server, server_with, tree};
use crate::fuse::*;

#[test]
fn names_with_slashes_and_dots_are_none() {
    let Some((server, mut guest, source)) = guest() else { return };
    fs::write(server.folder.path().join("secret"), "secret").unwrap();
    symlink("/", source.join("link")).unwrap();
    fs::create_dir(source.join("folder")).unwrap();
    fs::write(source.join("file"), "").unwrap();
    let data = guest.walk("data").unwrap().node;
    let file = guest.walk("data/file").unwrap().node;
    for name in ["..", ".", "", "../secret", "../../etc/passwd", "/etc/passwd", "link/etc", "folder/.."] {
        let refused = Refusal::Errno(libc::EINVAL);
        let only = Fields::new().name(name);
        assert_eq!(guest.lookup(data, name).unwrap_err(), refused, "{name}");
        assert_eq!(guest.call(UNLINK, data, &only).unwrap_err(), refused, "{name}");
        assert_eq!(guest.call(RMDIR, data, &only).unwrap_err(), refused, "{name}");
        assert_eq!(guest.make_folder(data, name, 0o777).unwrap_err(), refused, "{name}");
        assert_eq!(guest.make_node(data, name, libc::S_IFIFO, 0).unwrap_err(), refused, "{name}");
        assert_eq!(guest.create(data, name, libc::O_RDWR, 0o777).unwrap_err(), refused, "{name}");
        assert_eq!(guest.link_to(data, name, "x").unwrap_err(), refused, "{name}");
        assert_eq!(guest.hard_link(file, data, name).unwrap_err(), refused, "{name}");
        assert_eq!(guest.rename((data, "file"), (data, name)).unwrap_err(), refused, "{name}");
        assert_eq!(guest.rename((data, name), (data, "x")).unwrap_err(), refused, "{name}");
    }
}

#[test]
fn folder_above_a_share_is_the_root_of_the_shares() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::write(source.join("file"), "").unwrap();
    let data = guest.walk("data").unwrap().node;
    let handle = guest.open_folder(data).unwrap();
    let body = Fields::new().u64(handle).u64(0).u32(1 << 16).u32(0).u64(0).u32(0).u32(0);
    // `..` is listed, with a number, and cannot be asked for.
    guest.call(READDIRPLUS, data, &body).unwrap();
    assert_eq!(guest.names(ROOT).unwrap(), [".", "..", "data"]);
}

#[test]
fn link_swapped_by_the_host_is_never_followed() {
    let Some((server, mut guest, source)) = guest() else { return };
    let outside = server.source("outside");
    fs::write(outside.join("file"), "secret").unwrap();
    fs::create_dir(source.join("folder")).unwrap();
    fs::write(source.join("folder/file"), "shared").unwrap();
    symlink(&outside, source.join("swapped")).unwrap();
    let (folder, swapped) = (source.join("folder"), source.join("swapped"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, &folder, CWD, &swapped, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let mut read = 0;
        for _ in 0..1000 {
            for name in ["folder", "swapped"] {
                if let Ok(contents) = guest.contents(&format!("data/{name}/file")) {
                    assert_eq!(contents, b"shared");
                    read += 1;
                }
            }
            let data = guest.walk("data").unwrap().node;
            let _ = guest.create(data, "swapped", libc::O_RDWR | libc::O_TRUNC, 0o600);
        }
        over.store(true, Ordering::Relaxed);
        assert!(read > 0, "the guest was faster now and then");
    });
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn folder_moved_out_of_the_share_leads_nowhere_new() {
    let Some((server, mut guest, source)) = guest() else { return };
    fs::create_dir_all(source.join("inner/deep")).unwrap();
    fs::write(server.folder.path().join("secret"), "secret").unwrap();
    let deep = guest.walk("data/inner/deep").unwrap().node;
    fs::rename(source.join("inner"), server.folder.path().join("inner")).unwrap();
    for name in ["..", "../..", "../../secret"] {
        assert!(guest.lookup(deep, name).is_err(), "{name}");
    }
    assert!(guest.names(deep).is_ok(), "it keeps what it had");
}

#[test]
fn devices_pipes_and_sockets_are_neither_opened_nor_waited_for() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let make = |name: &str, kind, device| {
        mknodat(CWD, source.join(name), kind, Mode::from_raw_mode(0o666), device).unwrap();
    };
    make("zero", FileType::CharacterDevice, makedev(1, 5));
    make("disk", FileType::BlockDevice, makedev(7, 0));
    make("pipe", FileType::Fifo, 0);
    make("socket", FileType::Socket, 0);
    let data = guest.walk("data").unwrap().node;
    for name in ["zero", "disk", "pipe", "socket"] {
        let node = guest.walk(&format!("data/{name}")).unwrap().node;
        for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR] {
            assert_eq!(guest.open(node, flags).unwrap_err(), Refusal::Errno(libc::ENXIO), "{name}");
        }
        assert_eq!(guest.call(SYNCFS, node, &Fields::new().u64(0)).unwrap_err(), Refusal::Errno(libc::ENXIO));
        assert!(guest.open_folder(node).is_err());
        let _ = guest.create(data, name, libc::O_WRONLY, 0o600);
        let truncated = guest.set(node, FATTR_SIZE, 0, 0, (0, 0));
        assert_ne!(truncated.map(drop), Err(Refusal::Silence), "{name}");
        assert_ne!(guest.attribute(node, "user.x").map(drop), Err(Refusal::Silence), "{name}");
        assert_eq!(guest.attributes(node).unwrap().inode, guest.attributes(node).unwrap().inode);
    }
}

#[test]
fn forged_nodes_and_handles_are_refused() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::write(source.join("file"), "").unwrap();
    let file = guest.walk("data/file").unwrap().node;
    let handle = guest.open(file, libc::O_RDONLY).unwrap();
    let bad = || Refusal::Errno(libc::EBADF);
    for node in [0, 2 + file, 1 << 32, u64::MAX] {
        assert_eq!(guest.attributes(node).unwrap_err(), bad());
        assert_eq!(guest.lookup(node, "x").unwrap_err(), bad());
        assert_eq!(guest.open(node, 0).unwrap_err(), bad());
        assert_eq!(guest.read(node, handle, 0, 1).unwrap_err(), bad(), "a handle of another node");
    }
    assert_eq!(guest.read(file, u64::MAX, 0, 1).unwrap_err(), bad());
    // More than it was ever given: the request has no answer.
    guest.forget(file, u64::MAX);
    assert_eq!(guest.open(file, 0).unwrap_err(), bad());
    guest.forget(ROOT, 1);
    assert_ne!(guest.attributes(ROOT).map(drop), Err(Refusal::Silence));
}

#[test]
fn sizes_and_offsets_beyond_all_reason_are_answered() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::write(source.join("file"), "").unwrap();
    let file = guest.walk("data/file").unwrap().node;
    let data = guest.walk("data").unwrap().node;
    let handle = guest.open(file, libc::O_RDWR).unwrap();
    let folder = guest.open_folder(data).unwrap();
    let most = u32::MAX;
    let mut answered = |opcode, node, body: &[u8], room| {
        let reply = guest.call_with_room(opcode, node, body, room);
        assert_ne!(reply, Err(Refusal::Silence), "{opcode}");
    };
    for offset in [0, i64::MAX.cast_unsigned(), u64::MAX] {
        let read = |handle: u64| Fields::new().u64(handle).u64(offset).u32(most).u32(0).u64(0).u32(0).u32(0);
        answered(READ, file, &read(handle), 4096);
        answered(READDIR, data, &read(folder), 4096);
        answered(READDIRPLUS, data, &read(folder), 4096);
        answered(LSEEK, file, &Fields::new().u64(handle).u64(offset).u32(most).u32(0), 4096);
        answered(FALLOCATE, file, &Fields::new().u64(handle).u64(offset).u64(offset).u32(0).u32(0), 4096);
        let write = Fields::new().u64(handle).u64(offset).u32(most).u32(0).u64(0).u32(0).u32(0);
        answered(WRITE, file, &write.bytes(b"few"), 4096);
    }
    answered(GETXATTR, file, &Fields::new().u32(most).u32(0).name("user.x"), 4096);
    answered(LISTXATTR, file, &Fields::new().u32(most).u32(0), 4096);
    answered(SETXATTR, file, &Fields::new().u32(0).u32(0).u32(0).u32(0).name("user.x"), 4096);
    answered(u32::MAX, file, &[], 4096);
    let long = "x".repeat(5000);
    answered(LOOKUP, data, &Fields::new().name(&long), 4096);
    assert_eq!(fs::read(source.join("file")).unwrap(), b"few", "what it did send, where it could be");
}

/// A share of the host's root has the host's /proc.
#[test]
fn links_of_proc_lead_nowhere() {
    let Some(mut server) = server() else { return };
    server.share_tree("host", read_only(tree(Path::new("/")))).unwrap();
    let pid = server.server_pid();
    let stager = server.process.id();
    let mut guest = server.mount();
    assert!(guest.contents("host/etc/passwd").unwrap().starts_with(b"root:"));
    for process in [format!("{pid}"), format!("{stager}"), "1".into(), "self".into()] {
        for name in ["root", "cwd", "exe", "fd/3"] {
            let Ok(link) = guest.walk(&format!("host/proc/{process}/{name}")) else { continue };
            assert_eq!(link.attributes.mode & libc::S_IFMT, libc::S_IFLNK);
            assert_eq!(guest.open(link.node, libc::O_RDONLY).unwrap_err(), Refusal::Errno(libc::ELOOP));
            assert_eq!(guest.lookup(link.node, "etc").unwrap_err(), Refusal::Errno(libc::ENOTDIR));
        }
        let Ok(memory) = guest.walk(&format!("host/proc/{process}/mem")) else { continue };
        assert!(guest.open(memory.node, libc::O_RDWR).is_err());
    }
    for process in [stager, 1] {
        let memory = guest.walk(&format!("host/proc/{process}/mem")).unwrap().node;
        assert_eq!(guest.open(memory, libc::O_RDONLY).unwrap_err(), Refusal::Errno(libc::EACCES));
    }
}

/// Each file that a guest remembers is open on the host, and takes its memory.
#[test]
fn guest_that_remembers_more_files_than_it_may_is_refused_the_next() {
    let Some(mut server) = server_with(["--max-files", "900"]) else { return };
    let source = server.source("source");
    for number in 0..900 {
        fs::write(source.join(number.to_string()), "x").unwrap();
    }
    server.share("data", &source).unwrap();
    let mut guest = server.mount();
    let data = guest.walk("data").unwrap().node;
    let mut known = Vec::new();
    let refused = loop {
        match guest.lookup(data, &known.len().to_string()) {
            Ok(entry) => known.push(entry.node),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Refusal::Errno(libc::ENFILE));
    assert!(known.len() > 100, "{}", known.len());
    let next = known.len().to_string();
    assert_eq!(guest.lookup(data, &next).unwrap_err(), Refusal::Errno(libc::ENFILE));
    guest.forget(known[0], 1);
    guest.forget(known[1], 1);
    assert_eq!(guest.contents(&format!("data/{next}")).unwrap(), b"x");
}
