use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use tempfile::TempDir;

use super::*;

impl Output for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

fn archived(folder: &TempDir) -> Vec<u8> {
    let mut archive = Vec::new();
    write(fs::File::open(folder.path()).unwrap().into(), &mut archive).unwrap();
    archive
}

/// What GNU tar makes of it, in another folder.
fn unpacked(archive: &[u8]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("archive.tar");
    fs::write(&path, archive).unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let status = Command::new("tar").arg("-xpf").arg(&path).arg("-C").arg(&root).status().unwrap();
    assert!(status.success());
    folder
}

#[test]
fn a_tree_comes_back_through_tar() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/file"), vec![7; 300_000]).unwrap();
    fs::set_permissions(at("a/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(at("a/file"), at("z-link")).unwrap();
    symlink("/nowhere/at/all", at("a/b/symlink")).unwrap();
    fs::write(at("empty"), b"").unwrap();
    let long = "n".repeat(200);
    fs::write(at(&format!("a/{long}")), b"long").unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();

    let archive = archived(&folder);
    assert_eq!(archived(&folder), archive, "names are sorted");
    let back = unpacked(&archive);
    let back = |name: &str| back.path().join("root").join(name);
    assert_eq!(fs::read(back("a/file")).unwrap(), vec![7; 300_000]);
    let (file, link) = (fs::metadata(back("a/file")).unwrap(), fs::metadata(back("z-link")).unwrap());
    assert_eq!((file.ino(), file.mode() & 0o7777), (link.ino(), 0o4711));
    assert_eq!(file.mtime(), fs::metadata(at("a/file")).unwrap().mtime());
    assert_eq!(fs::read_link(back("a/b/symlink")).unwrap().to_str(), Some("/nowhere/at/all"));
    assert_eq!(fs::read(back(&format!("a/{long}"))).unwrap(), b"long");
    assert!(fs::metadata(back("empty")).unwrap().is_file() && !back("socket").exists());
}

#[test]
fn names_of_any_bytes_are_kept() {
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"new\nline\xff\x1b");
    fs::write(folder.path().join(name), b"x").unwrap();
    let back = unpacked(&archived(&folder));
    assert_eq!(fs::read(back.path().join("root").join(name)).unwrap(), b"x");
}

#[test]
fn deep_trees_take_a_descriptor_a_level_and_no_stack() {
    let folder = TempDir::new().unwrap();
    let mut fd: OwnedFd = fs::File::open(folder.path()).unwrap().into();
    for _ in 0..300 {
        rustix::fs::mkdirat(&fd, "deep-deep-deep", Mode::from_raw_mode(0o755)).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fd = openat(&fd, "deep-deep-deep", flags, Mode::empty()).unwrap();
    }
    // Longer than PATH_MAX, which readers have records for.
    assert!(archived(&folder).len() > 300 * 512);
}

/// Changes a file's length behind its header, which is the second thing that is put.
struct Changing<'a> {
    archive: Vec<u8>,
    puts: u32,
    change: &'a dyn Fn(),
}

impl Output for Changing<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.archive.extend_from_slice(bytes);
        self.puts += 1;
        if self.puts == 2 {
            (self.change)();
        }
        Ok(())
    }
}

#[test]
fn files_that_change_keep_the_size_of_their_header() {
    for length in [10, 500_000] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![1; 200_000]).unwrap();
        let change = || fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        let mut out = Changing { archive: Vec::new(), puts: 0, change: &change };
        write(fs::File::open(folder.path()).unwrap().into(), &mut out).unwrap();
        let back = unpacked(&out.archive);
        let content = fs::read(back.path().join("root/file")).unwrap();
        assert_eq!((content.len(), content[9], content[199_999]), (200_000, 1, u8::from(length > 200_000)));
    }
}
