//! What the image has at a bind's target, into the bind's source: docker's first use of a volume.
//!
//! The image may hold anything, and the source may have other users at the same time: names are followed one by one
//! and never through a link, on both sides.

mod content;
mod marks;

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, linkat, mkdirat, mknodat,
    openat, openat2, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use self::content::Chunk;
use crate::error::{Step, StepError, shown};

/// Bytes of names that may wait, of all folders on the way to where the copy is.
const MAX_NAMES: usize = 64 << 20;
/// Bytes of paths kept to tell files with several names. Beyond that each name is a file of its own.
const MAX_LINKS: usize = 32 << 20;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies the folder that the root of this process has at `path`, with what is in it, into the empty folder `to`:
/// owners, modes, times and extended attributes, those of the folder itself included. Nothing is done if there is no
/// such folder, or if `to` holds something. What is mounted in the root is left out.
pub fn from_image(path: &[u8], to: &OwnedFd) -> Result<(), StepError> {
    let what = || format!("copy {} of the image", shown(path));
    // A mount of the root's own, with nothing mounted on it.
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let image = open_tree(CWD, "/", clone).step(what())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let from = match openat2(&image, path, flags, Mode::empty(), inside) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        other => other.step(what())?,
    };
    let to = openat(to, ".", FOLDER, Mode::empty()).step(what())?;
    tree(path, from, to)?;
    // Attributes of what cannot be opened are read and set from its folder.
    rustix::process::chdir("/").step("return to the root")
}

/// Copies one folder into another, which is known as `path`.
fn tree(path: &[u8], from: OwnedFd, to: OwnedFd) -> Result<(), StepError> {
    let top = to.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
    let mut copy = Copy {
        top: top.step("copy a descriptor")?,
        top_len: path.len() + 1,
        path: path.to_vec(),
        held: 0,
        links: HashMap::new(),
        linked: 0,
        chunk: Chunk::new(),
    };
    if !copy.names(&to)?.is_empty() {
        return Ok(());
    }
    let mut stack = vec![copy.enter(from, to)?];
    while let Some(level) = stack.last_mut() {
        copy.path.truncate(level.path_len);
        let Some(name) = level.names.pop() else {
            // Last, since every name made in it changes its time.
            marks::of_file(&level.from, &level.to, &level.stat).step(copy.what())?;
            copy.held -= level.held;
            stack.pop();
            continue;
        };
        copy.path.push(b'/');
        copy.path.extend_from_slice(&name);
        if let Some((from, to)) = copy.entry(level, &name)? {
            stack.push(copy.enter(from, to)?);
        }
    }
    Ok(())
}

/// A folder on the way to where the copy is, on both sides.
struct Level {
    from: OwnedFd,
    to: OwnedFd,
    stat: Stat,
    /// Those still to come.
    names: Vec<Vec<u8>>,
    /// Bytes that they took.
    held: usize,
    /// Of the copy's path.
    path_len: usize,
}

struct Copy {
    /// The folder that is filled.
    top: OwnedFd,
    /// Bytes of a path up to what is below that.
    top_len: usize,
    /// Of the entry at hand, in the image.
    path: Vec<u8>,
    held: usize,
    /// Of files with several names, the first, below the top.
    links: HashMap<(u64, u64), Vec<u8>>,
    linked: usize,
    chunk: Chunk,
}

impl Copy {
    fn what(&self) -> String {
        format!("copy {} of the image to the volume", shown(&self.path))
    }

    fn enter(&mut self, from: OwnedFd, to: OwnedFd) -> Result<Level, StepError> {
        let names = self.names(&from)?;
        let held = names.iter().map(|name| name.len() + size_of::<Vec<u8>>()).sum::<usize>();
        self.held += held;
        let stat = fstat(&from).step(self.what())?;
        Ok(Level { from, to, stat, names, held, path_len: self.path.len() })
    }

    fn names(&self, folder: &OwnedFd) -> Result<Vec<Vec<u8>>, StepError> {
        let mut names = Vec::new();
        let mut held = self.held;
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut listing = RawDir::new(folder, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry.step(self.what())?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            held += name.len() + size_of::<Vec<u8>>();
            if held > MAX_NAMES {
                let why = format!("Failed to {}: its folders hold too many names", self.what());
                return Err(StepError::setup(why));
            }
            names.push(name.to_vec());
        }
        Ok(names)
    }

    /// Copies one entry. A folder is only made, and is gone into next.
    fn entry(&mut self, level: &Level, name: &[u8]) -> Result<Option<(OwnedFd, OwnedFd)>, StepError> {
        let stat = statat(&level.from, name, AtFlags::SYMLINK_NOFOLLOW).step(self.what())?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return folder(level, name).step(self.what()).map(Some),
            FileType::Unknown => return Ok(None),
            // What overlayfs takes for a whiteout is none of the image's files.
            FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(None),
            _ => (),
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key) {
            link(&self.top, first, &level.to, name).step(self.what())?;
        } else if self.file_or_node(level, name, &stat).step(self.what())? && stat.st_nlink > 1 {
            self.remember(key);
        }
        Ok(None)
    }

    fn remember(&mut self, key: (u64, u64)) {
        let own = self.path.get(self.top_len..).unwrap_or_default();
        let bytes = own.len() + size_of::<((u64, u64), Vec<u8>)>();
        if self.linked + bytes <= MAX_LINKS {
            self.linked += bytes;
            self.links.insert(key, own.to_vec());
        }
    }

    /// False: it is left out.
    fn file_or_node(&mut self, level: &Level, name: &[u8], stat: &Stat) -> Result<bool, Errno> {
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return node(level, name, stat);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let from = openat(&level.from, name, flags, Mode::empty())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = openat(&level.to, name, flags, Mode::RUSR | Mode::WUSR)?;
        self.chunk.copy(&from, &to, u64::try_from(stat.st_size).unwrap_or(0))?;
        marks::of_file(&from, &to, stat).map(|()| true)
    }
}

fn folder(level: &Level, name: &[u8]) -> Result<(OwnedFd, OwnedFd), Errno> {
    let from = openat(&level.from, name, FOLDER, Mode::empty())?;
    // Its own mode comes when it is full.
    mkdirat(&level.to, name, Mode::RWXU)?;
    Ok((from, openat(&level.to, name, FOLDER, Mode::empty())?))
}

/// What has no content: a link, a pipe, a socket, a device. False: it is left out.
fn node(level: &Level, name: &[u8], stat: &Stat) -> Result<bool, Errno> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind.is_symlink() {
        symlinkat(readlinkat(&level.from, name, Vec::new())?, &level.to, name)?;
    } else {
        match mknodat(&level.to, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev) {
            // In a user namespace, and on a folder that a host shares with a guest, there are no new devices.
            Err(Errno::PERM) if kind.is_char_device() || kind.is_block_device() => return Ok(false),
            made => made?,
        }
    }
    marks::of_name(&level.from, &level.to, name, stat).map(|()| true)
}

/// Gives a file that was copied before one more name.
fn link(top: &OwnedFd, first: &[u8], to: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let (parent, first) = match first.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (first.get(..slash).unwrap_or_default(), first.get(slash + 1..).unwrap_or_default()),
        None => (b".".as_slice(), first),
    };
    let own = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat2(top, parent, flags, Mode::empty(), own)?;
    linkat(parent, first, to, name, AtFlags::empty())
}

#[cfg(test)]
mod tests;
