//! Names: links, renames, folders, extended attributes, owners.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::{Check, opened, pair, refused, same};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("rename-over-open", rename_over_open),
    ("unlinked-open", unlinked_open),
    ("rename-flags", rename_flags),
    ("tmpfile", tmpfile),
    ("hard-links", hard_links),
    ("long-names", long_names),
    ("many-entries", many_entries),
    ("reading-while-removing", reading_while_removing),
    ("xattrs", xattrs),
    ("setgid-folder", setgid_folder),
    ("sticky-folder", sticky_folder),
    ("special-bits-fall", special_bits_fall),
    ("owners", owners),
    ("times", times),
    ("fifo", fifo),
    ("socket", socket),
    ("deep-tree", deep_tree),
];

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// The result of a call that yields -1 and errno.
fn told(result: impl Into<i64>) -> io::Result<i64> {
    match result.into() {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

fn rename_over_open(folder: &Path) -> io::Result<()> {
    let (one, two) = pair(folder);
    fs::write(&one, "old")?;
    fs::write(&two, "new")?;
    let mut old = File::open(&one)?;
    fs::rename(&two, &one)?;
    let mut text = String::new();
    old.read_to_string(&mut text)?;
    same("what was open", text.as_str(), "old")?;
    same("links of what was replaced", old.metadata()?.nlink(), 0)?;
    same("what is at the name", fs::read_to_string(&one)?.as_str(), "new")
}

fn unlinked_open(folder: &Path) -> io::Result<()> {
    let one = folder.join("one");
    let mut file = opened(&one)?;
    fs::remove_file(&one)?;
    file.write_all(b"still here")?;
    file.set_len(5)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    same("its size", file.metadata()?.len(), 5)?;
    same("entries", fs::read_dir(folder)?.count(), 0)?;
    // A removed folder, too, can still be looked at by who is in it.
    let inner = folder.join("inner");
    fs::create_dir(&inner)?;
    let held = File::open(&inner)?;
    fs::remove_dir(&inner)?;
    held.metadata().map(drop)
}

fn rename_flags(folder: &Path) -> io::Result<()> {
    let (one, two) = pair(folder);
    fs::write(&one, "1")?;
    fs::write(&two, "2")?;
    let [a, b] = [c_path(&one)?, c_path(&two)?];
    let rename = |flags| {
        // SAFETY: both are C strings that live through the call.
        told(unsafe { libc::renameat2(libc::AT_FDCWD, a.as_ptr(), libc::AT_FDCWD, b.as_ptr(), flags) })
    };
    refused("RENAME_NOREPLACE", rename(libc::RENAME_NOREPLACE), libc::EEXIST)?;
    rename(libc::RENAME_EXCHANGE)?;
    same(
        "after the exchange",
        (fs::read_to_string(&one)?, fs::read_to_string(&two)?),
        ("2".into(), "1".into()),
    )
}

fn tmpfile(folder: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .read(true)
        .mode(0o640)
        .custom_flags(libc::O_TMPFILE)
        .open(folder)?;
    file.write_all(b"from nowhere")?;
    same("entries", fs::read_dir(folder)?.count(), 0)?;
    let from = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let to = c_path(&folder.join("named"))?;
    // SAFETY: both are C strings that live through the call.
    told(unsafe {
        libc::linkat(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::AT_SYMLINK_FOLLOW)
    })?;
    same("content", fs::read_to_string(folder.join("named"))?.as_str(), "from nowhere")
}

fn hard_links(folder: &Path) -> io::Result<()> {
    let (one, two) = pair(folder);
    fs::write(&one, "x")?;
    fs::hard_link(&one, &two)?;
    fs::write(&two, "through the other")?;
    let (a, b) = (fs::metadata(&one)?, fs::metadata(&two)?);
    same("inode, links and size", (a.ino(), a.nlink(), a.len()), (b.ino(), 2, b.len()))?;
    refused("a hard link to a folder", fs::hard_link(folder, folder.join("three")), libc::EPERM)?;
    fs::remove_file(&one)?;
    same("links left", fs::metadata(&two)?.nlink(), 1)
}

fn long_names(folder: &Path) -> io::Result<()> {
    let name = "ä".repeat(127);
    fs::write(folder.join(&name), "x")?;
    refused("a name of 256 bytes", fs::write(folder.join("n".repeat(256)), "x"), libc::ENAMETOOLONG)?;
    let odd = folder.join(std::ffi::OsStr::from_bytes(b"\xff \n\x01\\*"));
    fs::write(&odd, "x")?;
    let target = "t".repeat(4095);
    symlink(&target, folder.join("link"))?;
    same("a link's length", fs::read_link(folder.join("link"))?.as_os_str().len(), target.len())?;
    same("entries", fs::read_dir(folder)?.count(), 3)
}

fn many_entries(folder: &Path) -> io::Result<()> {
    const MANY: usize = 10_000;
    for n in 0..MANY {
        File::create(folder.join(n.to_string()))?;
    }
    let entries: Result<BTreeSet<_>, _> =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name())).collect();
    same("names", entries?.len(), MANY)?;
    // None twice either.
    same("entries", fs::read_dir(folder)?.count(), MANY)
}

/// POSIX: what is neither made nor removed meanwhile is seen once.
fn reading_while_removing(folder: &Path) -> io::Result<()> {
    for n in 0..2_000 {
        File::create(folder.join(format!("{n:04}")))?;
    }
    let mut kept = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.as_os_str().as_bytes().ends_with(b"0") {
            kept += 1;
        } else {
            fs::remove_file(path)?;
        }
    }
    same("what was kept", kept, 200)?;
    same("what is left", fs::read_dir(folder)?.count(), 200)
}

fn set_xattr(path: &Path, name: &str, value: &[u8], flags: i32) -> io::Result<()> {
    let (path, name) = (c_path(path)?, CString::new(name)?);
    // SAFETY: C strings and a slice that live through the call.
    told(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags) })
        .map(drop)
}

fn xattr(path: &Path, name: &str) -> io::Result<Vec<u8>> {
    let (path, name) = (c_path(path)?, CString::new(name)?);
    let mut value = vec![0u8; 65536];
    // SAFETY: C strings and a buffer of that length that live through the call.
    let length =
        told(
            unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) }
                as i64,
        )?;
    value.truncate(usize::try_from(length).map_err(io::Error::other)?);
    Ok(value)
}

fn xattrs(folder: &Path) -> io::Result<()> {
    let one = folder.join("one");
    fs::write(&one, "x")?;
    set_xattr(&one, "user.hull", b"a\0b", 0)?;
    same("user.hull", xattr(&one, "user.hull")?, b"a\0b".to_vec())?;
    refused("XATTR_CREATE", set_xattr(&one, "user.hull", b"c", libc::XATTR_CREATE), libc::EEXIST)?;
    refused("XATTR_REPLACE", set_xattr(&one, "user.none", b"c", libc::XATTR_REPLACE), libc::ENODATA)?;
    refused("one that is not there", xattr(&one, "user.none"), libc::ENODATA)?;
    let name = c_path(&one)?;
    // SAFETY: C strings that live through the call.
    told(unsafe { libc::removexattr(name.as_ptr(), c"user.hull".as_ptr()) })?;
    refused("one that was removed", xattr(&one, "user.hull"), libc::ENODATA)
}

fn setgid_folder(folder: &Path) -> io::Result<()> {
    let inner = folder.join("shared");
    fs::create_dir(&inner)?;
    chown(&inner, Some(1), Some(60))?;
    fs::set_permissions(&inner, Permissions::from_mode(0o2775))?;
    fs::write(inner.join("file"), "x")?;
    fs::create_dir(inner.join("below"))?;
    let (file, below) = (fs::metadata(inner.join("file"))?, fs::metadata(inner.join("below"))?);
    same("the groups", (file.uid(), file.gid(), below.gid()), (0, 60, 60))?;
    same("the bit of a folder below", below.mode() & 0o2000, 0o2000)
}

/// Acts as a user with nothing but its id, in a child.
fn as_user(uid: u32, part: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let child = super::in_child(|| {
        nix::unistd::setgroups(&[])?;
        nix::unistd::setgid(uid.into())?;
        nix::unistd::setuid(uid.into())?;
        part()
    })?;
    super::ended_well(child)
}

fn sticky_folder(folder: &Path) -> io::Result<()> {
    let inner = folder.join("tmp");
    fs::create_dir(&inner)?;
    fs::set_permissions(&inner, Permissions::from_mode(0o1777))?;
    as_user(1000, || fs::write(inner.join("mine"), "x"))?;
    as_user(1001, || refused("another's file", fs::remove_file(inner.join("mine")), libc::EPERM))?;
    as_user(1001, || refused("another's file", fs::write(inner.join("mine"), "y"), libc::EACCES))?;
    same("its owner", fs::metadata(inner.join("mine"))?.uid(), 1000)?;
    as_user(1000, || fs::remove_file(inner.join("mine")))
}

/// Who writes to a program that is not theirs, or gives it away, takes its setuid bit (chown(2), inode(7)).
fn special_bits_fall(folder: &Path) -> io::Result<()> {
    let one = folder.join("one");
    fs::write(&one, "x")?;
    fs::set_permissions(&one, Permissions::from_mode(0o6777))?;
    as_user(1000, || fs::write(&one, "y"))?;
    same("the mode after another's write", fs::metadata(&one)?.mode() & 0o7777, 0o777)?;
    fs::set_permissions(&one, Permissions::from_mode(0o6777))?;
    chown(&one, Some(5), Some(6))?;
    same("the mode after chown", fs::metadata(&one)?.mode() & 0o7777, 0o777)
}

fn owners(folder: &Path) -> io::Result<()> {
    let (one, link) = pair(folder);
    fs::write(&one, "x")?;
    symlink("one", &link)?;
    chown(&one, Some(1234), Some(5678))?;
    std::os::unix::fs::lchown(&link, Some(4321), Some(8765))?;
    let (file, link) = (fs::metadata(&one)?, fs::symlink_metadata(&link)?);
    same("owners", [file.uid(), file.gid(), link.uid(), link.gid()], [1234, 5678, 4321, 8765])?;
    fs::set_permissions(&one, Permissions::from_mode(0o640))?;
    as_user(1000, || refused("a stranger's read", fs::read(&one), libc::EACCES))?;
    as_user(1234, || fs::read(&one).map(drop))?;
    as_user(5678, || fs::read(&one).map(drop))
}

fn times(folder: &Path) -> io::Result<()> {
    let file = opened(&folder.join("one"))?;
    let at = std::time::UNIX_EPOCH + std::time::Duration::new(981_173_106, 123_456_789);
    file.set_times(fs::FileTimes::new().set_modified(at).set_accessed(at))?;
    let metadata = fs::metadata(folder.join("one"))?;
    same("mtime", (metadata.mtime(), metadata.mtime_nsec()), (981_173_106, 123_456_789))?;
    let before = fs::metadata(folder)?;
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(folder.join("two"), "x")?;
    let after = fs::metadata(folder)?;
    let moved = (after.mtime(), after.mtime_nsec()) > (before.mtime(), before.mtime_nsec());
    same("whether the folder's mtime moves", moved, true)
}

fn fifo(folder: &Path) -> io::Result<()> {
    let path = folder.join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    let child = super::in_child(|| fs::write(&path, "through"))?;
    let text = fs::read_to_string(&path)?;
    super::ended_well(child)?;
    same("what came", text.as_str(), "through")
}

fn socket(folder: &Path) -> io::Result<()> {
    let path = folder.join("s");
    // Paths of sockets are short (unix(7)), this one may not be.
    std::env::set_current_dir(folder)?;
    let listener = UnixListener::bind("s")?;
    let mut near = UnixStream::connect("s")?;
    let (mut far, _) = listener.accept()?;
    near.write_all(b"hello")?;
    drop(near);
    let mut text = String::new();
    far.read_to_string(&mut text)?;
    std::env::set_current_dir("/")?;
    fs::remove_file(&path)?;
    same("what came", text.as_str(), "hello")
}

/// Deeper than a path can be long.
pub fn deep_tree(folder: &Path) -> io::Result<()> {
    let name = CString::new("d".repeat(200))?;
    let mut at = File::open(folder)?;
    for _ in 0..60 {
        // SAFETY: a C string that lives through the calls, and a descriptor that is open.
        told(unsafe { libc::mkdirat(at.as_raw_fd(), name.as_ptr(), 0o755) })?;
        // SAFETY: as above.
        let fd =
            told(unsafe { libc::openat(at.as_raw_fd(), name.as_ptr(), libc::O_DIRECTORY | libc::O_RDONLY) })?;
        // SAFETY: a fresh descriptor that nobody else has.
        at = unsafe { File::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) };
    }
    at.metadata().map(drop)
}
