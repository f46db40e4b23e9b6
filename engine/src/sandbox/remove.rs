//! Removes a folder whose content a container made.
//!
//! The depth of such a tree is the container's choice, so neither the stack nor the number of descriptors
//! may follow it: folders are moved up beside the one they lie in before they are emptied. A tree of any
//! shape is then never more than two levels deep where it is worked on.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::NixPath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Removes what is at `path`, with everything in it; symlinks are removed, never followed. It is a success
/// if nothing is there. What cannot be removed stays, the rest is removed where that is possible. With the
/// lock of the sandbox in hand: two at once may fail each other.
pub fn tree(path: &Path) -> io::Result<()> {
    let mut top = match Folder::open(AT_FDCWD, path) {
        Ok(top) => top,
        Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            return Ok(unlinkat(AT_FDCWD, path, UnlinkatFlags::NoRemoveDir)?);
        }
        Err(errno) => return Err(errno.into()),
    };
    let mut unused = 0;
    while top.pass(&mut unused)? {}
    Ok(unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir)?)
}

/// An open folder: two descriptors, one to name what is in it and one to read its names.
struct Folder {
    fd: OwnedFd,
    entries: Dir,
}

impl Folder {
    fn open<P: ?Sized + NixPath>(at: impl AsFd, name: &P) -> nix::Result<Folder> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match openat(&at, name, flags, Mode::empty()) {
            Err(Errno::EACCES) => {
                allow(&at, name)?;
                openat(&at, name, flags, Mode::empty())?
            }
            other => other?,
        };
        if !Mode::from_bits_truncate(fstat(&fd)?.st_mode).contains(Mode::S_IRWXU) {
            fchmod(&fd, Mode::S_IRWXU)?;
        }
        let entries = Dir::openat(&fd, c".", flags, Mode::empty())?;
        Ok(Folder { fd, entries })
    }

    /// Goes once through the top folder, to which others are moved up meanwhile. False: it was empty.
    fn pass(&mut self, unused: &mut u64) -> nix::Result<bool> {
        let (mut removed, mut failed) = (false, None);
        for entry in self.entries.iter() {
            let entry = entry?;
            match entry.file_name() {
                name if is_dots(name) => {}
                name => match remove_entry(&self.fd, name, unused) {
                    Ok(()) => removed = true,
                    Err(errno) => failed = failed.or(Some(errno)),
                },
            }
        }
        match failed {
            Some(errno) if !removed => Err(errno),
            _ => Ok(removed),
        }
    }
}

fn remove_entry(top: &OwnedFd, name: &CStr, unused: &mut u64) -> nix::Result<()> {
    if unlink(top, name)? {
        return Ok(());
    }
    let mut folder = Folder::open(top, name)?;
    let mut failed = None;
    for entry in folder.entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        let gone = unlink(&folder.fd, name);
        let gone = gone.and_then(|gone| if gone { Ok(()) } else { move_up(&folder.fd, name, top, unused) });
        failed = failed.or(gone.err());
    }
    match failed {
        Some(errno) => Err(errno),
        None => unlinkat(top, name, UnlinkatFlags::RemoveDir),
    }
}

/// Removes all but folders. False: it is one.
fn unlink(at: &OwnedFd, name: &CStr) -> nix::Result<bool> {
    match unlinkat(at, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::EISDIR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Moves a folder into the top one, under a number that nothing there has for its name.
fn move_up(from: &OwnedFd, name: &CStr, top: &OwnedFd, unused: &mut u64) -> nix::Result<()> {
    let mut allowed = false;
    loop {
        let place = unused.to_string();
        match renameat(from, name, top, place.as_str()) {
            // Changing where `..` leads is writing to the folder.
            Err(Errno::EACCES) if !allowed => {
                allow(from, name)?;
                allowed = true;
                continue;
            }
            Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
            other => return other,
        }
        *unused += 1;
    }
}

/// Gives a folder's owner every right to it.
fn allow<P: ?Sized + NixPath>(at: impl AsFd, name: &P) -> nix::Result<()> {
    fchmodat(at, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink)
}

fn is_dots(name: &CStr) -> bool {
    name == c"." || name == c".."
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::stat::mkdirat;

    use super::*;

    /// `depth` folders, each in the one before.
    fn nest(path: &Path, depth: usize) {
        fs::create_dir(path).unwrap();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let mut folder = openat(AT_FDCWD, path, flags, Mode::empty()).unwrap();
        for _ in 1..depth {
            mkdirat(&folder, c"nested", Mode::S_IRWXU).unwrap();
            folder = openat(&folder, c"nested", flags, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_or_stack_is_removed() {
        const STACK: usize = 64 * 1024;
        // In memory where that is possible: so many folders keep a disk busy for seconds.
        let parent = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = parent.path().join("sandbox");
        fs::create_dir(&path).unwrap();
        nest(&path.join("upper"), 20_000);
        nest(&path.join("work"), 500);
        let remover = std::thread::Builder::new().stack_size(STACK);
        remover.spawn(move || tree(&path).unwrap()).unwrap().join().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn everything_in_a_tree_goes_and_what_its_symlinks_mean_stays() {
        let parent = tempfile::tempdir().unwrap();
        let (path, outside) = (parent.path().join("sandbox"), parent.path().join("outside"));
        fs::create_dir_all(path.join("upper/a/b/c")).unwrap();
        fs::create_dir_all(path.join("upper/closed/in it")).unwrap();
        fs::create_dir_all(path.join("1/not empty")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [path.join("0"), path.join("upper/file"), path.join("upper/a/b/c/file")] {
            fs::write(file, "content").unwrap();
        }
        fs::write(outside.join("kept"), "content").unwrap();
        symlink(&outside, path.join("top")).unwrap();
        symlink(&outside, path.join("upper/a/b/link")).unwrap();
        symlink(outside.join("kept"), path.join("upper/link")).unwrap();
        for closed in ["upper/closed/in it", "upper/closed", "upper/a"] {
            fs::set_permissions(path.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        tree(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(outside.join("kept")).unwrap(), b"content");
        assert_eq!(outside.metadata().unwrap().permissions().mode() & 0o700, 0o700);
    }

    #[test]
    fn what_is_no_folder_is_removed_and_what_is_not_there_is_no_error() {
        let parent = tempfile::tempdir().unwrap();
        let (link, target) = (parent.path().join("link"), parent.path().join("target"));
        fs::create_dir(&target).unwrap();
        symlink(&target, &link).unwrap();
        tree(&link).unwrap();
        assert!(target.exists() && link.symlink_metadata().is_err());
        tree(&link).unwrap();
    }

    #[test]
    fn what_cannot_be_removed_is_an_error() {
        let parent = tempfile::tempdir().unwrap();
        let looping = parent.path().join("loop");
        symlink(&looping, &looping).unwrap();
        assert!(tree(&looping.join("sandbox")).is_err());
    }
}
