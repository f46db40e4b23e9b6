//! A merged tree's folders, files, links and attributes.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};

use super::{UnpackError, data};
use crate::image::layer::erofs::format::BLOCK;
use crate::image::layer::tree::{Attributes, Body, Data, EntryId, HOLE, Listing, Tree};
use crate::image::layer::xattrs;
use crate::image::root::Merged;

const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Writes the tree to `root` in the folder `part`, whose folder `links` is used meanwhile: a file of several
/// names has one more there. `flat`: everything is this user's.
pub fn tree(merged: &Merged, part: &Path, flat: bool) -> Result<(), UnpackError> {
    let listing = merged.tree.listing();
    let top = open(part, FOLDER, Mode::empty()).map_err(|e| UnpackError::file("open", part)(e.into()))?;
    let links = part.join("links");
    let links =
        open(&links, FOLDER, Mode::empty()).map_err(|e| UnpackError::file("open", &links)(e.into()))?;
    let mut names = vec![0_u32; merged.tree.inode_count()];
    count_names(&listing, &mut names);
    let mut writer = Writer { merged, listing: &listing, links, names, flat };
    let root = writer.make_folder(&top, c"root", Tree::ROOT)?;
    writer.run(root)?;
    writer.dress(&top, c"root", Tree::ROOT)
}

/// Of files, by inode: whoever is met a second time has several.
fn count_names(listing: &Listing<'_>, names: &mut [u32]) {
    let mut todo = vec![Tree::ROOT];
    while let Some(folder) = todo.pop() {
        for &child in listing.children(folder) {
            if listing.tree.body_of(child).is_directory() {
                todo.push(child);
            } else if let Some(count) = names.get_mut(listing.tree.inode_of(child).index()) {
                *count += 1;
            }
        }
    }
}

struct Writer<'a> {
    merged: &'a Merged,
    listing: &'a Listing<'a>,
    links: OwnedFd,
    /// How many names of a file are still to come; [`WRITTEN`] once it is in `links`.
    names: Vec<u32>,
    flat: bool,
}

/// A file of several names has been made.
const WRITTEN: u32 = u32::MAX;

/// A folder that is being filled.
struct Level {
    entry: EntryId,
    name: CString,
    next: usize,
}

impl Writer<'_> {
    /// One folder is open at a time, and no stack grows with the tree: its depth is the image's choice.
    fn run(&mut self, root: OwnedFd) -> Result<(), UnpackError> {
        let mut levels = vec![Level { entry: Tree::ROOT, name: CString::default(), next: 0 }];
        let mut folder = root;
        while let Some(level) = levels.last_mut() {
            let Some(&child) = self.listing.children(level.entry).get(level.next) else {
                let Some(done) = levels.pop() else { return Ok(()) };
                if levels.is_empty() {
                    return Ok(());
                }
                // Nobody else moves folders here, so this is where it was made.
                let parent = openat(&folder, c"..", FOLDER, Mode::empty());
                let parent = parent.map_err(|e| self.failed("leave", done.entry)(e))?;
                folder = parent;
                // Now, since what is made in a folder changes its time.
                self.dress(&folder, &done.name, done.entry)?;
                continue;
            };
            level.next += 1;
            let name = self.name(child)?;
            if self.merged.tree.body_of(child).is_directory() {
                folder = self.make_folder(&folder, &name, child)?;
                levels.push(Level { entry: child, name, next: 0 });
            } else {
                self.leaf(&folder, &name, child)?;
            }
        }
        Ok(())
    }

    fn name(&self, entry: EntryId) -> Result<CString, UnpackError> {
        let name = self.merged.tree.name_of(entry);
        let sound = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/');
        CString::new(name).ok().filter(|_| sound).ok_or(UnpackError::Damaged)
    }

    fn make_folder(&self, at: &OwnedFd, name: &CStr, entry: EntryId) -> Result<OwnedFd, UnpackError> {
        // Its own mode comes when it is full.
        mkdirat(at, name, Mode::S_IRWXU).map_err(self.failed("make the folder", entry))?;
        openat(at, name, FOLDER, Mode::empty()).map_err(self.failed("open the folder", entry))
    }

    fn leaf(&mut self, at: &OwnedFd, name: &CStr, entry: EntryId) -> Result<(), UnpackError> {
        let inode = self.merged.tree.inode_of(entry);
        let number = CString::new(inode.index().to_string()).unwrap_or_default();
        let link = |from: &OwnedFd, old: &CStr, to: &OwnedFd, new: &CStr| {
            linkat(from, old, to, new, AtFlags::empty())
        };
        let names = self.names.get(inode.index()).copied().unwrap_or(1);
        if names == WRITTEN {
            return link(&self.links, &number, at, name).map_err(self.failed("link", entry));
        }
        if !self.make_leaf(at, name, entry)? {
            return Ok(());
        }
        self.dress(at, name, entry)?;
        if names > 1 {
            link(at, name, &self.links, &number).map_err(self.failed("link", entry))?;
            if let Some(names) = self.names.get_mut(inode.index()) {
                *names = WRITTEN;
            }
        }
        Ok(())
    }

    /// False: it is nothing that can be made here.
    fn make_leaf(&self, at: &OwnedFd, name: &CStr, entry: EntryId) -> Result<bool, UnpackError> {
        let tree = &self.merged.tree;
        let node = |kind| mknodat(at, name, kind, Mode::S_IRUSR, 0);
        match tree.body_of(entry) {
            Body::File { size, data } => self.file(at, name, entry, size, data)?,
            Body::Symlink(target) => {
                symlinkat(OsStr::from_bytes(tree.text(target)), at, name)
                    .map_err(self.failed("make the link", entry))?;
            }
            Body::Fifo => node(SFlag::S_IFIFO).map_err(self.failed("make the fifo", entry))?,
            Body::Socket => node(SFlag::S_IFSOCK).map_err(self.failed("make the socket", entry))?,
            Body::CharDevice(_) | Body::BlockDevice(_) => return Ok(false),
            Body::Directory { .. } | Body::Whiteout | Body::LowerLink(_) => return Err(UnpackError::Damaged),
        }
        Ok(true)
    }

    fn file(
        &self,
        at: &OwnedFd,
        name: &CStr,
        entry: EntryId,
        size: u64,
        data: Data,
    ) -> Result<(), UnpackError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(at, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let file = File::from(file.map_err(self.failed("make the file", entry))?);
        let device = |device: u16| {
            let index = usize::from(device).checked_sub(1).ok_or(UnpackError::Damaged)?;
            self.merged.files.get(index).ok_or(UnpackError::Damaged)
        };
        let failed = |source| UnpackError::Entry { what: "write", name: self.shown(entry), source };
        match data {
            Data::None => {}
            Data::Contiguous { device: number, block } => {
                data::copy(device(number)?, u64::from(block) * BLOCK, &file, 0, size).map_err(failed)?;
            }
            Data::Chunked { device: number, bits, first, count } => {
                let (from, chunk) = (device(number)?, BLOCK << bits);
                let addresses = self.merged.tree.chunks(first, count).iter();
                for (&address, at) in
                    addresses.zip((0..size).step_by(usize::try_from(chunk).unwrap_or(usize::MAX)))
                {
                    if address != HOLE {
                        let length = chunk.min(size - at);
                        data::copy(from, u64::from(address) * BLOCK, &file, at, length).map_err(failed)?;
                    }
                }
            }
        }
        file.set_len(size).map_err(failed)
    }

    /// Owner, attributes, mode and time: each in this order, since a change of owner takes capabilities and
    /// setuid bits away.
    fn dress(&self, at: &OwnedFd, name: &CStr, entry: EntryId) -> Result<(), UnpackError> {
        let tree = &self.merged.tree;
        let Attributes { mode, uid, gid, mtime, mtime_nsec, xattrs } =
            tree.inode(tree.inode_of(entry)).attributes;
        if !self.flat {
            let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            match fchownat(at, name, owner, group, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::EINVAL | Errno::EOVERFLOW) => {
                    return Err(UnpackError::Owner { name: self.shown(entry), uid, gid });
                }
                other => other.map_err(self.failed("set the owner of", entry))?,
            }
        }
        if !xattrs.is_empty() {
            for (attribute, value) in xattrs::decode(tree.text(xattrs))? {
                set_attribute(at, name, &attribute, value)
                    .map_err(self.failed("set attributes of", entry))?;
            }
        }
        if !matches!(tree.body_of(entry), Body::Symlink(_)) {
            let mode = Mode::from_bits_truncate(mode.into());
            fchmodat(at, name, mode, FchmodatFlags::FollowSymlink)
                .map_err(self.failed("set the mode of", entry))?;
        }
        let time = TimeSpec::new(mtime, i64::from(mtime_nsec));
        utimensat(at, name, &time, &time, UtimensatFlags::NoFollowSymlink)
            .map_err(self.failed("set the time of", entry))
    }

    fn failed(&self, what: &'static str, entry: EntryId) -> impl FnOnce(Errno) -> UnpackError {
        move |errno| UnpackError::Entry { what, name: self.shown(entry), source: errno.into() }
    }

    /// The last names of its path.
    fn shown(&self, entry: EntryId) -> String {
        const MOST: usize = 16;
        let tree = &self.merged.tree;
        let up = std::iter::successors(Some(entry), |entry| {
            (*entry != Tree::ROOT).then(|| tree.parent_of(*entry))
        });
        let names: Vec<_> = up.take(MOST).map(|entry| OsStr::from_bytes(tree.name_of(entry))).collect();
        names.into_iter().rev().collect::<PathBuf>().display().to_string()
    }
}

/// What neither a user namespace nor the file system takes is left out.
fn set_attribute(at: &OwnedFd, name: &CStr, attribute: &[u8], value: &[u8]) -> Result<(), Errno> {
    // There is no setxattrat(2) before Linux 6.13. The link in /proc leads to the folder, and the name behind
    // it is not followed.
    let path = [format!("/proc/self/fd/{}/", at.as_fd().as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    let (path, attribute) =
        (CString::new(path).map_err(|_| Errno::EINVAL)?, CString::new(attribute).map_err(|_| Errno::EINVAL)?);
    // SAFETY: two C strings and a buffer of the length passed, which live through the call.
    let set =
        unsafe { libc::lsetxattr(path.as_ptr(), attribute.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    match Errno::result(set) {
        Err(Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENODATA) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}
