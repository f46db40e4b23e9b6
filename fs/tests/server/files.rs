//! What files are to a guest.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use crate::fixture::guest;
use crate::fuse::*;

#[test]
fn folder_is_read_and_written() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::write(source.join("greeting"), "hello").unwrap();
    assert_eq!(guest.contents("data/greeting").unwrap(), b"hello");
    let data = guest.walk("data").unwrap();
    let (file, handle) = guest.create(data.node, "new", libc::O_RDWR, 0o640).unwrap();
    assert_eq!(guest.write(file.node, handle, 0, b"from the guest", 0).unwrap(), 14);
    assert_eq!(fs::read(source.join("new")).unwrap(), b"from the guest");
    assert_eq!(guest.names(data.node).unwrap(), [".", "..", "greeting", "new"]);
    let fields = Fields::new().u64(handle).u64(0);
    guest.call(FSYNC, file.node, &fields).unwrap();
    guest.call(SYNCFS, data.node, &Fields::new().u64(0)).unwrap();
    guest.call(FLUSH, file.node, &Fields::new().u64(handle).zeros(16)).unwrap();
    guest.close(file.node, handle).unwrap();
    assert_eq!(guest.read(file.node, handle, 0, 1), Err(Refusal::Errno(libc::EBADF)));
}

#[test]
fn tree_is_made_moved_and_taken_down() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let data = guest.walk("data").unwrap().node;
    let folder = guest.make_folder(data, "folder", 0o700).unwrap();
    guest.create(folder.node, "file", libc::O_RDWR, 0o600).unwrap();
    guest.rename((folder.node, "file"), (data, "moved")).unwrap();
    assert!(source.join("moved").exists());
    guest.link_to(data, "link", "/no/such/target").unwrap();
    let link = guest.walk("data/link").unwrap();
    assert_eq!(guest.call(READLINK, link.node, &[]).unwrap(), b"/no/such/target");
    let moved = guest.walk("data/moved").unwrap();
    let twin = guest.hard_link(moved.node, data, "twin").unwrap();
    assert_eq!((twin.node, twin.attributes.links), (moved.node, 2));
    assert_eq!(fs::metadata(source.join("twin")).unwrap().nlink(), 2);
    for name in ["moved", "twin", "link"] {
        guest.call(UNLINK, data, &Fields::new().name(name)).unwrap();
    }
    guest.call(RMDIR, data, &Fields::new().name("folder")).unwrap();
    assert_eq!(fs::read_dir(&source).unwrap().count(), 0);
    // What is open stays readable when its name is gone.
    assert_eq!(guest.attributes(moved.node).unwrap().links, 0);
}

#[test]
fn pipes_and_sockets_can_be_made_and_devices_cannot() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let data = guest.walk("data").unwrap().node;
    guest.make_node(data, "pipe", libc::S_IFIFO | 0o600, 0).unwrap();
    guest.make_node(data, "socket", libc::S_IFSOCK | 0o600, 0).unwrap();
    guest.make_node(data, "plain", libc::S_IFREG | 0o600, 0).unwrap();
    assert!(fs::metadata(source.join("pipe")).unwrap().file_type().is_fifo());
    assert!(fs::metadata(source.join("socket")).unwrap().file_type().is_socket());
    let (zero, whiteout) = (0x105, 0);
    for (kind, device) in [(libc::S_IFCHR, zero), (libc::S_IFBLK, zero), (libc::S_IFCHR, whiteout)] {
        let made = guest.make_node(data, "device", kind | 0o666, device);
        assert_eq!(made.unwrap_err(), Refusal::Errno(libc::EPERM));
    }
    assert!(!source.join("device").exists());
}

#[test]
fn sizes_holes_and_copies_are_the_hosts() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let data = guest.walk("data").unwrap().node;
    let (file, handle) = guest.create(data, "sparse", libc::O_RDWR, 0o600).unwrap();
    guest.set(file.node, FATTR_SIZE, 1 << 20, 0, (0, 0)).unwrap();
    guest.write(file.node, handle, 1 << 19, b"middle", 0).unwrap();
    let seek = Fields::new().u64(handle).u64(0).u32(libc::SEEK_DATA.cast_unsigned()).u32(0);
    let at = guest.call(LSEEK, file.node, &seek).unwrap();
    assert_eq!(at, (1_u64 << 19).to_le_bytes());
    let (copy, target) = guest.create(data, "copy", libc::O_RDWR, 0o600).unwrap();
    let copied = Fields::new().u64(handle).u64(1 << 19).u64(copy.node).u64(target).u64(0).u64(6).u64(0);
    guest.call(COPY_FILE_RANGE, file.node, &copied).unwrap();
    assert_eq!(fs::read(source.join("copy")).unwrap(), b"middle");
    let reserve = Fields::new().u64(target).u64(0).u64(8192).u32(0).u32(0);
    guest.call(FALLOCATE, copy.node, &reserve).unwrap();
    assert_eq!(fs::metadata(source.join("copy")).unwrap().len(), 8192);
    let statfs = guest.call(STATFS, data, &[]).unwrap();
    let blocks = u64::from_le_bytes(statfs[..8].try_into().unwrap());
    assert_eq!(blocks, rustix::fs::statvfs(&source).unwrap().f_blocks);
}

#[test]
fn folder_with_attributes_of_its_entries_is_read_in_pieces() {
    let Some((_server, mut guest, source)) = guest() else { return };
    for number in 0..500 {
        fs::write(source.join(format!("file-{number}")), "").unwrap();
    }
    let data = guest.walk("data").unwrap().node;
    let handle = guest.open_folder(data).unwrap();
    let (mut offset, mut seen) = (0, 0);
    loop {
        let body = Fields::new().u64(handle).u64(offset).u32(4096).u32(0).u64(0).u32(0).u32(0);
        let piece = guest.call(READDIRPLUS, data, &body).unwrap();
        assert!(piece.len() <= 4096);
        let mut rest = &piece[..];
        while rest.len() >= ENTRY + 24 {
            let entry = &rest[ENTRY..];
            offset = u64::from_le_bytes(entry[8..16].try_into().unwrap());
            let length = usize::try_from(u32::from_le_bytes(entry[16..20].try_into().unwrap())).unwrap();
            seen += 1;
            rest = &rest[(ENTRY + 24 + length).next_multiple_of(8).min(rest.len())..];
        }
        if piece.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 502, "with . and ..");
}

#[test]
fn changes_of_the_host_are_seen() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::write(source.join("file"), "one").unwrap();
    let file = guest.walk("data/file").unwrap();
    fs::write(source.join("file"), "three").unwrap();
    assert_eq!(guest.attributes(file.node).unwrap().size, 5);
    symlink("file", source.join("late")).unwrap();
    assert_eq!(guest.walk("data/late").unwrap().attributes.mode & libc::S_IFMT, libc::S_IFLNK);
}

/// Their guest keeps locks to itself then, and says EOPNOTSUPP to O_TMPFILE.
#[test]
fn locks_and_nameless_files_are_not_served() {
    let Some((_server, mut guest, _source)) = guest() else { return };
    let data = guest.walk("data").unwrap().node;
    let (file, handle) = guest.create(data, "file", libc::O_RDWR, 0o600).unwrap();
    let lock = Fields::new().u64(handle).u64(1).u64(0).u64(u64::MAX).u32(1).u32(1).u32(0).u32(0);
    assert_eq!(guest.call(SETLK, file.node, &lock), Err(Refusal::Errno(libc::ENOSYS)));
    let nameless = Fields::new().u32(libc::O_RDWR.cast_unsigned()).u32(0o600).u32(0).u32(0).name("#");
    assert_eq!(guest.call(TMPFILE, data, &nameless), Err(Refusal::Errno(libc::ENOSYS)));
}
