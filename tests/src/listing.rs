//! A tree of files as text: one line an entry, with all that an image can say of it.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::archive::sha256;

/// Every entry below `root`, sorted by path: path, type, mode, owner, links, size or device, mtime,
/// link target, digest of the content, xattrs. `skip` names paths (with a leading slash) that are
/// left out together with what is below them. Other file systems are not entered.
pub fn of(root: &Path, skip: &[&str]) -> Vec<String> {
    let mut walk = Walk { root, skip, lines: Vec::new(), digests: HashMap::new() };
    if let Ok(metadata) = fs::symlink_metadata(root) {
        walk.enter(Path::new("."), &metadata);
    }
    walk.lines.sort();
    walk.lines
}

struct Walk<'a> {
    root: &'a Path,
    skip: &'a [&'a str],
    lines: Vec<String>,
    /// Of files with several names, by device and inode.
    digests: HashMap<(u64, u64), String>,
}

impl Walk<'_> {
    fn enter(&mut self, path: &Path, metadata: &Metadata) {
        let shown = path.as_os_str().as_bytes().escape_ascii().to_string();
        if self.skip.iter().any(|s| shown.strip_prefix('.') == Some(s)) {
            return;
        }
        let full = self.root.join(path);
        let description = self.describe(&full, metadata);
        self.lines.push(format!("{shown} {description}"));
        if !metadata.is_dir() {
            return;
        }
        for entry in fs::read_dir(&full).unwrap_or_else(|e| panic!("{}: {e}", full.display())) {
            let entry = entry.unwrap();
            // An entry may go while a store is looked at.
            let Ok(below) = entry.metadata() else { continue };
            if below.dev() == metadata.dev() || !below.is_dir() {
                self.enter(&path.join(entry.file_name()), &below);
            }
        }
    }

    fn describe(&mut self, path: &Path, metadata: &Metadata) -> String {
        let kind = metadata.file_type();
        let mut line = format!("{:06o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
        if !kind.is_dir() {
            // How folders count their links, and what size they have, is the file system's affair.
            let _ = write!(line, " links={} size={}", metadata.nlink(), metadata.size());
        }
        let _ = write!(line, " mtime={}.{:09}", metadata.mtime(), metadata.mtime_nsec());
        if kind.is_symlink() {
            let target = fs::read_link(path).unwrap();
            let _ = write!(line, " -> {}", target.as_os_str().as_bytes().escape_ascii());
        } else if kind.is_file() {
            let digest = self.digests.entry((metadata.dev(), metadata.ino()));
            let digest = digest
                .or_insert_with(|| fs::read(path).map_or_else(|e| e.to_string(), |bytes| sha256(&bytes)));
            let _ = write!(line, " {digest}");
        } else if kind.is_char_device() || kind.is_block_device() {
            let _ = write!(line, " device={}:{}", libc::major(metadata.rdev()), libc::minor(metadata.rdev()));
        }
        for (name, value) in xattrs(path) {
            let _ = write!(line, " {name}={}", value.escape_ascii());
        }
        line
    }
}

/// llistxattr(2) and lgetxattr(2), sorted by name.
fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let c_path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0u8; 64 * 1024];
    // SAFETY: both pointers are valid for the lengths given through the call.
    let len = unsafe { libc::llistxattr(c_path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(len).unwrap_or(0));
    let mut found: Vec<_> = names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let c_name = CString::new(name).unwrap();
            let mut value = vec![0u8; 64 * 1024];
            // SAFETY: all pointers are valid for the lengths given through the call.
            let len = unsafe {
                libc::lgetxattr(c_path.as_ptr(), c_name.as_ptr(), value.as_mut_ptr().cast(), value.len())
            };
            value.truncate(usize::try_from(len).unwrap_or(0));
            (OsStr::from_bytes(name).to_string_lossy().into_owned(), value)
        })
        .collect();
    found.sort();
    found
}
