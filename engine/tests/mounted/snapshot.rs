//! All that can be said of a tree of files, to be compared.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use hull_engine::image::Digest;

/// A file, without its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    mode: u32,
    owner: (u32, u32),
    /// Not of directories: unpackers change them as they go.
    mtime: Option<(i64, i64)>,
    /// Not of directories, either.
    links: Option<u64>,
    content: Content,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Directory,
    File(u64, Digest),
    Symlink(Vec<u8>),
    Device(u64),
    Other,
}

pub type Snapshot = BTreeMap<Vec<u8>, Entry>;

pub fn take(root: &Path) -> Snapshot {
    let mut snapshot = Snapshot::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Content::Directory
        } else if kind.is_file() {
            Content::File(metadata.len(), Digest::of(&fs::read(&path).unwrap()))
        } else if kind.is_symlink() {
            Content::Symlink(fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else if kind.is_char_device() || kind.is_block_device() {
            Content::Device(metadata.rdev())
        } else {
            Content::Other
        };
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let entry = Entry {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            mtime: (!kind.is_dir()).then(|| (metadata.mtime(), metadata.mtime_nsec())),
            links: (!kind.is_dir()).then(|| metadata.nlink()),
            content,
            xattrs: xattrs(&path),
        };
        snapshot.insert(relative, entry);
    }
    snapshot
}

/// Says where two trees differ, rather than printing both.
pub fn assert_same(expected: &Snapshot, found: &Snapshot, what: &str) {
    let mut differences = Vec::new();
    for path in expected.keys().chain(found.keys().filter(|path| !expected.contains_key(*path))) {
        let (left, right) = (expected.get(path), found.get(path));
        if left != right {
            differences.push(format!("{}:\n  {left:?}\n  {right:?}", path.escape_ascii()));
        }
    }
    differences.truncate(20);
    assert!(differences.is_empty(), "{what}: expected and found differ\n{}", differences.join("\n"));
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0_u8; 65_536];
    // SAFETY: `path` ends with a NUL, and `names` has as many bytes as is said.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(length).expect("attributes are listed"));
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let text = CString::new(name).unwrap();
            let mut value = vec![0_u8; 65_536];
            // SAFETY: both strings end with a NUL, and `value` has as many bytes as is said.
            let length = unsafe {
                libc::lgetxattr(path.as_ptr(), text.as_ptr(), value.as_mut_ptr().cast(), value.len())
            };
            let shown = OsStr::from_bytes(name);
            value.truncate(usize::try_from(length).unwrap_or_else(|_| panic!("{} is read", shown.display())));
            (name.to_vec(), value)
        })
        .collect()
}
