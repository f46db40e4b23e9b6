//! A file tree into a tar archive, while others may change it.
//!
//! Nothing in the tree is trusted: names are followed one by one and never through a link, files are
//! opened only where they are regular ones, a file that grows is cut where its header says, and one that
//! shrinks is filled up with zeros. What has gone since its name was read is left out.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::header::{Entry, Kind, end, padding};
use super::xattrs::{self, Xattrs};
use crate::error::{Step, StepError, shown};
use crate::protocol::ErrorKind;

/// Where an archive goes.
pub trait Output {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno>;
}

/// Bytes of a file read at a time.
const CHUNK: usize = 128 * 1024;
/// Bytes of names that may wait, of all folders on the way to where the walk is.
const MAX_NAMES: usize = 64 << 20;
/// Bytes of a path: records of readers end somewhere.
const MAX_PATH: usize = 512 * 1024;
/// Bytes of paths kept to tell files with several names. Beyond that each name is a file of its own.
const MAX_LINKS: usize = 32 << 20;

/// Writes all below `root`, which is one mount, and the archive's end. The names of a folder are sorted.
pub fn write(root: OwnedFd, out: &mut dyn Output) -> Result<(), StepError> {
    let mut walk =
        Walk { out, path: b"./".to_vec(), held: 0, links: HashMap::new(), linked: 0, chunk: vec![0; CHUNK] };
    let stat = fstat(&root).step("look at the container's root")?;
    walk.head(&stat, Kind::Directory, 0, b"", &xattrs::of_file(&root))?;
    walk.path.clear();
    let mut stack = vec![walk.open(root, 0)?];
    while let Some(folder) = stack.last_mut() {
        let Some(name) = folder.names.pop() else {
            walk.held -= folder.held;
            stack.pop();
            continue;
        };
        walk.path.truncate(folder.path_len);
        walk.path.extend_from_slice(&name);
        if walk.path.len() > MAX_PATH {
            return Err(too_much("paths of more than 512 KiB"));
        }
        if let Some(below) = walk.entry(&folder.fd, &name)? {
            stack.push(below);
        }
    }
    walk.put(&end())
}

/// A folder on the way to where the walk is.
struct Folder {
    fd: OwnedFd,
    /// Those still to come, the next one last.
    names: Vec<Vec<u8>>,
    /// Bytes that they took.
    held: usize,
    /// Of the walk's path, with the slash behind it.
    path_len: usize,
}

struct Walk<'a> {
    out: &'a mut dyn Output,
    /// Of the entry at hand.
    path: Vec<u8>,
    held: usize,
    /// Of files with several names, the first.
    links: HashMap<(u64, u64), Vec<u8>>,
    linked: usize,
    chunk: Vec<u8>,
}

impl Walk<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), StepError> {
        self.out.put(bytes).step("send the archive")
    }

    /// Reads a folder's names.
    fn open(&mut self, fd: OwnedFd, path_len: usize) -> Result<Folder, StepError> {
        let mut names = Vec::new();
        let mut held = 0;
        {
            let mut buffer = Vec::with_capacity(32 * 1024);
            let mut listing = RawDir::new(&fd, buffer.spare_capacity_mut());
            while let Some(entry) = listing.next() {
                let entry = entry.step(format_args!("list the folder /{}", shown(&self.path)))?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                held += name.len() + size_of::<Vec<u8>>();
                if self.held + held > MAX_NAMES {
                    return Err(too_much("folders of so many names"));
                }
                names.push(name.to_vec());
            }
        }
        names.sort_unstable_by(|one, other| other.cmp(one));
        self.held += held;
        Ok(Folder { fd, names, held, path_len })
    }

    /// Writes one entry; a folder is gone into next.
    fn entry(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<Option<Folder>, StepError> {
        let what = || format!("look at /{}", shown(name));
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(cause) if is_passing(cause) => return Ok(None),
            stat => stat.step(what())?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.folder(parent, name),
            FileType::RegularFile => self.file(parent, name)?,
            FileType::Symlink => {
                let target = match readlinkat(parent, name, Vec::new()) {
                    Err(cause) if is_passing(cause) => return Ok(None),
                    target => target.step(what())?,
                };
                self.other(parent, name, &stat, Kind::Symlink, target.as_bytes())?;
            }
            // What overlayfs takes for a whiteout is none of a container's files.
            FileType::CharacterDevice if stat.st_rdev == 0 => {}
            FileType::CharacterDevice => self.other(parent, name, &stat, Kind::CharDevice, b"")?,
            FileType::BlockDevice => self.other(parent, name, &stat, Kind::BlockDevice, b"")?,
            FileType::Fifo => self.other(parent, name, &stat, Kind::Fifo, b"")?,
            // Archives have no sockets.
            FileType::Socket | FileType::Unknown => {}
        }
        Ok(None)
    }

    fn folder(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<Option<Folder>, StepError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(parent, name, flags, Mode::empty()) {
            Err(cause) if is_passing(cause) => return Ok(None),
            opened => opened.step(format_args!("open the folder /{}", shown(&self.path)))?,
        };
        let stat = fstat(&fd).step("look at a folder")?;
        self.path.push(b'/');
        self.head(&stat, Kind::Directory, 0, b"", &xattrs::of_file(&fd))?;
        let path_len = self.path.len();
        self.open(fd, path_len).map(Some)
    }

    fn file(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), StepError> {
        // Something else may have taken its place: that neither blocks nor becomes the terminal.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match openat(parent, name, flags, Mode::empty()) {
            Err(cause) if is_passing(cause) => return Ok(()),
            opened => opened.step(format_args!("open the file /{}", shown(&self.path)))?,
        };
        let stat = fstat(&fd).step("look at a file")?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() || self.is_further_name(&stat)? {
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.head(&stat, Kind::File, size, b"", &xattrs::of_file(&fd))?;
        self.content(&fd, size)
    }

    fn content(&mut self, fd: &OwnedFd, size: u64) -> Result<(), StepError> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let read = rustix::io::read(fd, self.chunk.get_mut(..most).unwrap_or_default());
            let mut n = match read {
                Err(Errno::INTR) => continue,
                read => read.step(format_args!("read the file /{}", shown(&self.path)))?,
            };
            if n == 0 {
                // It has shrunk.
                n = most;
                self.chunk.get_mut(..n).unwrap_or_default().fill(0);
            }
            self.out.put(self.chunk.get(..n).unwrap_or_default()).step("send the archive")?;
            left -= n as u64;
        }
        self.put(padding(size))
    }

    /// An entry without data.
    fn other(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        kind: Kind,
        link: &[u8],
    ) -> Result<(), StepError> {
        if self.is_further_name(stat)? {
            return Ok(());
        }
        self.head(stat, kind, 0, link, &xattrs::of_name(parent, name))
    }

    /// Writes a hard link if the same file went by under another name.
    fn is_further_name(&mut self, stat: &Stat) -> Result<bool, StepError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key).cloned() {
            self.head(stat, Kind::HardLink, 0, &first, &Vec::new())?;
            return Ok(true);
        }
        let bytes = self.path.len() + size_of::<((u64, u64), Vec<u8>)>();
        if self.linked + bytes <= MAX_LINKS {
            self.linked += bytes;
            self.links.insert(key, self.path.clone());
        }
        Ok(false)
    }

    fn head(
        &mut self,
        stat: &Stat,
        kind: Kind,
        size: u64,
        link: &[u8],
        xattrs: &Xattrs,
    ) -> Result<(), StepError> {
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => {
                (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
            }
            _ => (0, 0),
        };
        let entry = Entry {
            kind,
            path: &self.path,
            link,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size,
            mtime: stat.st_mtime,
            device,
            xattrs,
        };
        self.out.put(&entry.encode()).step("send the archive")
    }
}

/// It has gone, or become something else, since its name was read.
fn is_passing(cause: Errno) -> bool {
    matches!(cause, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL | Errno::NXIO | Errno::ACCESS)
}

fn too_much(what: &str) -> StepError {
    StepError::new(ErrorKind::Setup, format!("The container has {what}, which is more than an export takes"))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
