//! Owners, modes and attributes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use crate::fixture::guest;
use crate::fuse::*;

/// FATTR_KILL_SUIDGID.
const KILL_WITH_SIZE: u32 = 1 << 11;

#[test]
fn what_a_user_makes_belongs_to_that_user() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).unwrap();
    let data = guest.walk("data").unwrap().node;
    guest.user = (1234, 5678);
    guest.create(data, "file", libc::O_RDWR, 0o4751).unwrap();
    guest.make_folder(data, "folder", 0o1777).unwrap();
    guest.link_to(data, "link", "x").unwrap();
    guest.make_node(data, "pipe", libc::S_IFIFO | 0o606, 0).unwrap();
    for (name, mode) in [("file", 0o4751), ("folder", 0o1777), ("link", 0o777), ("pipe", 0o606)] {
        let made = fs::symlink_metadata(source.join(name)).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (1234, 5678, mode), "{name}");
        let seen = guest.walk(&format!("data/{name}")).unwrap().attributes;
        assert_eq!((seen.uid, seen.gid, seen.mode & 0o7777), (1234, 5678, mode), "{name}");
    }
    // The guest's kernel decides for its users; the server's own thread is root again.
    guest.user = (0, 0);
    guest.create(data, "roots", libc::O_RDWR, 0o600).unwrap();
    assert_eq!(fs::metadata(source.join("roots")).unwrap().uid(), 0);
}

/// As far as a supplementary group goes (FUSE_CREATE_SUPP_GROUP), and no further.
#[test]
fn users_groups_count() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let folder = source.join("folder");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(0), Some(4321)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2770)).unwrap();
    let node = guest.walk("data/folder").unwrap().node;
    guest.user = (1234, 1234);
    // `struct fuse_ext_header`, FUSE_EXT_GROUPS, `struct fuse_supp_groups`.
    let with_group = |group: u32| {
        let body = Fields::new().u32(libc::O_RDWR.cast_unsigned()).u32(0o660).u32(0).u32(0).name("file");
        body.u32(16).u32(32).u32(1).u32(group)
    };
    assert_eq!(guest.call(CREATE, node, &with_group(4322)), Err(Refusal::Errno(libc::EACCES)));
    guest.call(CREATE, node, &with_group(4321)).unwrap();
    let made = fs::metadata(folder.join("file")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1234, 4321), "as set-group-ID of the folder says");
    guest.user = (0, 0);
    guest.create(node, "roots", libc::O_RDWR, 0o600).unwrap();
}

#[test]
fn times_and_modes_are_changed_by_name_and_by_handle() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let data = guest.walk("data").unwrap().node;
    let (file, handle) = guest.create(data, "file", libc::O_RDWR, 0o600).unwrap();
    let link = guest.link_to(data, "link", "x").unwrap();
    // FATTR_MODE, FATTR_ATIME, FATTR_MTIME and, the second time, FATTR_FH.
    for (valid, seconds, mode) in [(0x31, 1_000_000_u64, 0o640), (0x71, 2_000_000, 0o604)] {
        let body = Fields::new().u32(valid).u32(0).u64(handle).u64(0).u64(0).u64(seconds).u64(seconds);
        guest.call(SETATTR, file.node, &body.zeros(8 + 3 * 4).u32(mode).zeros(4 * 4)).unwrap();
        let changed = fs::metadata(source.join("file")).unwrap();
        assert_eq!((changed.mode() & 0o777, changed.mtime().cast_unsigned()), (mode, seconds));
    }
    guest.call(FSYNC, file.node, &Fields::new().u64(handle).u32(1).u32(0)).unwrap();
    // What cannot be opened has attributes, too, though not a user's.
    let denied = Err(Refusal::Errno(libc::EPERM));
    assert_eq!(guest.set_attribute(link.node, "user.x", b"x"), denied);
    assert_eq!(guest.call(REMOVEXATTR, link.node, &Fields::new().name("user.x")).map(drop), denied);
    guest.call(LISTXATTR, link.node, &Fields::new().u32(4096).u32(0)).unwrap();
}

#[test]
fn owners_and_modes_are_changed() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::write(source.join("file"), "").unwrap();
    chown(source.join("file"), Some(1000), Some(1000)).unwrap();
    let file = guest.walk("data/file").unwrap();
    assert_eq!((file.attributes.uid, file.attributes.gid), (1000, 1000));
    let owner = FATTR_UID | FATTR_GID;
    let changed = guest.set(file.node, owner, 0, 0, (70_000, 4_000_000_000)).unwrap();
    assert_eq!((changed.uid, changed.gid), (70_000, 4_000_000_000));
    assert_eq!(guest.set(file.node, FATTR_MODE, 0, 0o6755, (0, 0)).unwrap().mode & 0o7777, 0o6755);
    assert_eq!(fs::metadata(source.join("file")).unwrap().mode() & 0o7777, 0o6755);
    assert_eq!(guest.set(file.node, owner, 0, 0, (0, 0)).unwrap().mode & 0o7777, 0o755, "as chown(2) says");
}

/// Whoever writes: the kernel asks for the host's CAP_FSETID, which nobody in a user namespace has.
#[test]
fn write_takes_set_user_id_away() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let path = source.join("program");
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    let privileged = || {
        fs::write(&path, "program").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).unwrap();
    };
    privileged();
    let file = guest.walk("data/program").unwrap().node;
    let handle = guest.open(file, libc::O_RDWR).unwrap();
    for flags in [KILL_SUIDGID, 0] {
        privileged();
        guest.write(file, handle, 0, b"P", flags).unwrap();
        assert_eq!(mode(), 0o755);
    }
    privileged();
    guest.set(file, FATTR_SIZE | KILL_WITH_SIZE, 3, 0, (0, 0)).unwrap();
    assert_eq!(mode(), 0o755);
    // Set-group-ID for a group that root is not in: its capability is back.
    chown(&path, None, Some(4321)).unwrap();
    assert_eq!(guest.set(file, FATTR_MODE, 0, 0o2755, (0, 0)).unwrap().mode & 0o7777, 0o2755);
}

#[test]
fn attributes_of_users_are_kept() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::write(source.join("file"), "").unwrap();
    let file = guest.walk("data/file").unwrap().node;
    match guest.set_attribute(file, "user.colour", b"blue") {
        Err(Refusal::Errno(libc::EOPNOTSUPP)) => return eprintln!("skipped: no user attributes on /tmp"),
        result => result.unwrap(),
    }
    assert_eq!(guest.attribute(file, "user.colour").unwrap(), b"blue");
    let mut value = [0; 16];
    let size = rustix::fs::getxattr(source.join("file"), "user.colour", &mut value).unwrap();
    assert_eq!(&value[..size], b"blue");
    let listed = guest.call(LISTXATTR, file, &Fields::new().u32(4096).u32(0)).unwrap();
    assert!(listed.split(|byte| *byte == 0).any(|name| name == b"user.colour"));
    guest.call(REMOVEXATTR, file, &Fields::new().name("user.colour")).unwrap();
    assert_eq!(guest.attribute(file, "user.colour"), Err(Refusal::Errno(libc::ENODATA)));
}

#[test]
fn file_capabilities_are_set_as_the_hosts_root_would() {
    let Some((_server, mut guest, source)) = guest() else { return };
    fs::write(source.join("program"), "").unwrap();
    let file = guest.walk("data/program").unwrap().node;
    // `struct vfs_cap_data`, revision 2, effective: CAP_NET_RAW.
    let capability = Fields::new().u32(0x0200_0001).u32(1 << 13).zeros(12);
    guest.set_attribute(file, "security.capability", &capability).unwrap();
    let mut value = [0; 64];
    let size = rustix::fs::getxattr(source.join("program"), "security.capability", &mut value).unwrap();
    assert_eq!(&value[..size], &*capability, "as root of the host sees it");
    let handle = guest.open(file, libc::O_RDWR).unwrap();
    guest.write(file, handle, 0, b"other", KILL_SUIDGID).unwrap();
    let gone = rustix::fs::getxattr(source.join("program"), "security.capability", &mut value);
    assert_eq!(gone.unwrap_err(), rustix::io::Errno::NODATA, "a write takes them away");
}

#[test]
fn access_lists_are_inherited_from_the_folder() {
    let Some((_server, mut guest, source)) = guest() else { return };
    let data = guest.walk("data").unwrap().node;
    // linux/posix_acl_xattr.h: version 2; owner rwx, user 1000 rwx, group r-x, mask rwx, others none.
    let entry = |tag: u16, rights: u16, id: u32| {
        let mut entry = [tag.to_le_bytes(), rights.to_le_bytes()].concat();
        entry.extend(id.to_le_bytes());
        entry
    };
    let nobody = u32::MAX;
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(1, 7, nobody), (2, 7, 1000), (4, 5, nobody), (0x10, 7, nobody), (0x20, 0, nobody)]
    {
        list.extend(entry(tag, rights, id));
    }
    match guest.set_attribute(data, "system.posix_acl_default", &list) {
        Err(Refusal::Errno(libc::EOPNOTSUPP)) => return eprintln!("skipped: no access lists on /tmp"),
        result => result.unwrap(),
    }
    // A umask of 077 does not count where there is a default list (acl(5)).
    let body = Fields::new().u32(libc::O_RDWR.cast_unsigned()).u32(0o666).u32(0o077).u32(0).name("file");
    guest.call(CREATE, data, &body).unwrap();
    let mut value = [0; 256];
    rustix::fs::getxattr(source.join("file"), "system.posix_acl_access", &mut value).unwrap();
    assert_eq!(fs::metadata(source.join("file")).unwrap().mode() & 0o777, 0o660);
    let plain = source.join("folder");
    fs::create_dir(&plain).unwrap();
    rustix::fs::removexattr(&plain, "system.posix_acl_default").unwrap();
    let plain = guest.walk("data/folder").unwrap().node;
    guest.call(CREATE, plain, &body).unwrap();
    assert_eq!(fs::metadata(source.join("folder/file")).unwrap().mode() & 0o777, 0o600, "the umask counts");
}
