use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{XattrFlags, chown, lgetxattr, lsetxattr, makedev};

use super::*;

fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, FOLDER, Mode::empty()).unwrap()
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    // It goes to folders, and this thread is one of many.
    // SAFETY: FS touches neither descriptors nor memory.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }.unwrap();
    tree(b"/data", open(from), open(to)).map_err(|error| crate::protocol::CallError::from(error).message)
}

fn two_folders() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let base = tempfile::TempDir::new().unwrap();
    let (from, to) = (base.path().join("from"), base.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    (base, from, to)
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

#[test]
fn all_kinds_of_files_keep_what_they_are() {
    if !is_root() {
        return;
    }
    let (_base, from, to) = two_folders();
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::write(from.join("a/b/tool"), "content").unwrap();
    chown(from.join("a/b/tool"), Some(rustix::fs::Uid::from_raw(7)), None).unwrap();
    fs::set_permissions(from.join("a/b/tool"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o1770)).unwrap();
    fs::set_permissions(&from, fs::Permissions::from_mode(0o2711)).unwrap();
    fs::hard_link(from.join("a/b/tool"), from.join("other")).unwrap();
    symlink("/etc/shadow", from.join("link")).unwrap();
    lsetxattr(from.join("a/b/tool"), "user.mark", b"kept", XattrFlags::empty()).unwrap();
    lsetxattr(from.join("link"), "trusted.mark", b"too", XattrFlags::empty()).unwrap();
    let node = |name: &str, kind, device| {
        mknodat(CWD, from.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    node("pipe", FileType::Fifo, 0);
    node("null", FileType::CharacterDevice, makedev(1, 3));
    node("whiteout", FileType::CharacterDevice, 0);
    fs::File::open(&from).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    copy(&from, &to).unwrap();

    let at = |name: &str| fs::symlink_metadata(to.join(name)).unwrap();
    let (tool, other) = (at("a/b/tool"), at("other"));
    assert_eq!((tool.mode() & 0o7777, tool.uid(), tool.nlink()), (0o4751, 7, 2));
    assert_eq!(tool.ino(), other.ino());
    assert_eq!(fs::read_to_string(to.join("other")).unwrap(), "content");
    assert_eq!((at("a").mode() & 0o7777, at("").mode() & 0o7777), (0o1770, 0o2711));
    assert_eq!(at("").modified().unwrap(), std::time::UNIX_EPOCH);
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/shadow"));
    let mut value = [0; 8];
    assert_eq!(lgetxattr(to.join("a/b/tool"), "user.mark", &mut value), Ok(4));
    assert_eq!(lgetxattr(to.join("link"), "trusted.mark", &mut value), Ok(3));
    assert!(at("pipe").file_type().is_fifo());
    assert_eq!((at("null").rdev(), at("null").mode() & 0o777), (makedev(1, 3), 0o640));
    assert!(!to.join("whiteout").exists());
}

#[test]
fn holes_stay_holes() {
    let (_base, from, to) = two_folders();
    let file = fs::File::create(from.join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"middle", 32 << 20).unwrap();
    copy(&from, &to).unwrap();
    let copied = fs::metadata(to.join("sparse")).unwrap();
    assert_eq!(copied.len(), 64 << 20);
    assert!(copied.blocks() * 512 < 1 << 20, "{} blocks", copied.blocks());
    assert_eq!(fs::read(to.join("sparse")).unwrap()[32 << 20..][..7], *b"middle\0");
}

#[test]
fn folder_that_is_not_empty_is_left_alone() {
    let (_base, from, to) = two_folders();
    fs::write(from.join("new"), "").unwrap();
    fs::write(to.join("old"), "").unwrap();
    copy(&from, &to).unwrap();
    assert!(!to.join("new").exists());
}

#[test]
fn deep_trees_need_no_stack() {
    let (_base, from, to) = two_folders();
    let deep = "d/".repeat(400);
    fs::create_dir_all(from.join(&deep)).unwrap();
    copy(&from, &to).unwrap();
    assert!(to.join(&deep).exists());
}

#[test]
fn full_volume_is_told_in_one_line() {
    if !is_root() {
        return;
    }
    let (_base, from, to) = two_folders();
    fs::create_dir(from.join("in")).unwrap();
    fs::write(from.join("in/big"), vec![1; 1 << 20]).unwrap();
    rustix::mount::mount(c"none", &to, c"tmpfs", rustix::mount::MountFlags::empty(), c"size=64k").unwrap();
    let told = copy(&from, &to).unwrap_err();
    rustix::mount::unmount(&to, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(told, "Failed to copy /data/in/big of the image to the volume: No space left on device");
}
