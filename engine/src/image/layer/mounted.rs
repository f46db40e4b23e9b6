//! For tests: EROFS files as the kernel and `fsck.erofs` see them.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, Metadata};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::erofs::reader::LayerReader;
use super::erofs::writer::{self, Device, Kind};
use super::merge;
use super::tree::Tree;
use crate::image::digest::Digest;

/// A merged root of these layers, mounted.
pub struct Mounted {
    folder: TempDir,
    mounted: bool,
}

/// What is known of a file. Names of one inode have the same `inode`: the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub kind: String,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub links: u64,
    pub inode: String,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What `/proc` calls an open file.
fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Fails unless `fsck.erofs` finds nothing wrong with the file.
pub fn assert_sound(file: &File, devices: &[&File]) {
    let devices = devices.iter().map(|device| format!("--device={}", path_of(device).display()));
    // The child has the descriptors by their path only, so it is given this process's.
    let own = format!("/proc/{}/fd/", std::process::id());
    let words = devices.chain([path_of(file).display().to_string()]);
    let words: Vec<_> = words.map(|word| word.replace("/proc/self/fd/", &own)).collect();
    let output = Command::new("fsck.erofs").args(&words).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !text.contains("corrupted"), "{text}");
}

/// Merges layers and writes the root's file.
pub fn merged_file(layers: &[File]) -> File {
    let mut tree = Tree::new();
    let mut devices = Vec::new();
    for (file, number) in layers.iter().zip(1..) {
        let layer = LayerReader::open(file).unwrap();
        merge::apply(&mut tree, &layer, number).unwrap();
        devices.push(Device { tag: [b'a'; 64], blocks: layer.blocks() });
    }
    let root = tempfile::tempfile().unwrap();
    writer::write(&root, &tree, &Kind::Merged { devices: &devices }, [9; 16]).unwrap();
    root
}

impl Mounted {
    /// `None` where this process or this kernel cannot mount files: then the test has nothing to see.
    pub fn new(layers: &[File]) -> Option<Self> {
        let root = merged_file(layers);
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<_> =
            layers.iter().map(|layer| format!("device={}", path_of(layer).display())).collect();
        let (source, options) = (path_of(&root), options.join(","));
        let outcome =
            mount(Some(&source), folder.path(), Some("erofs"), MsFlags::MS_RDONLY, Some(options.as_str()));
        match outcome {
            Ok(()) => Some(Self { folder, mounted: true }),
            // Not root; before Linux 6.12 only block devices.
            Err(Errno::EPERM | Errno::ENOTBLK | Errno::ENODEV) => {
                let _ = writeln!(std::io::stderr(), "skipped: this kernel does not mount EROFS files for us");
                None
            }
            Err(errno) => panic!("mount {options}: {errno}"),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Everything in it, by path below it; `/` is the root.
    pub fn listing(&self) -> BTreeMap<String, Seen> {
        let mut listing = BTreeMap::new();
        let mut inodes: BTreeMap<u64, String> = BTreeMap::new();
        let mut todo = vec![(self.path().to_owned(), String::from("/"))];
        while let Some((path, shown)) = todo.pop() {
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                let prefix = if shown == "/" { "" } else { shown.as_str() };
                for entry in fs::read_dir(&path).unwrap() {
                    let name = entry.unwrap().file_name();
                    let shown = format!("{prefix}/{}", name.as_bytes().escape_ascii());
                    todo.push((path.join(&name), shown));
                }
            }
            let first = inodes.entry(metadata.ino()).or_insert_with(|| shown.clone());
            if shown < *first {
                *first = shown.clone();
            }
            listing.insert(shown, (metadata.ino(), seen(&path, &metadata)));
        }
        let named = |(path, (inode, seen)): (String, (u64, Seen))| {
            (path, Seen { inode: inodes.get(&inode).cloned().unwrap_or_default(), ..seen })
        };
        listing.into_iter().map(named).collect()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.mounted {
            let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
        }
    }
}

fn seen(path: &Path, metadata: &Metadata) -> Seen {
    let kind = metadata.file_type();
    let what = if kind.is_dir() {
        "dir".to_owned()
    } else if kind.is_symlink() {
        format!("-> {}", fs::read_link(path).unwrap().as_os_str().as_bytes().escape_ascii())
    } else if kind.is_file() {
        format!("file {} {}", metadata.len(), Digest::of(&fs::read(path).unwrap()).hex())
    } else if kind.is_char_device() {
        format!("char {:#x}", metadata.rdev())
    } else if kind.is_block_device() {
        format!("block {:#x}", metadata.rdev())
    } else {
        "fifo".to_owned()
    };
    Seen {
        kind: what,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        // A directory's say how many directories are in it.
        links: if kind.is_dir() { 0 } else { metadata.nlink() },
        inode: String::new(),
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0_u8; 65_536];
    // SAFETY: `path` ends with a NUL and `names` has as many bytes as the call is told.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(length).unwrap_or(0));
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let text = CString::new(name).unwrap();
        let mut value = vec![0_u8; 65_536];
        // SAFETY: both texts end with a NUL and `value` has as many bytes as the call is told.
        let length =
            unsafe { libc::lgetxattr(path.as_ptr(), text.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        value.truncate(usize::try_from(length).unwrap());
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}
