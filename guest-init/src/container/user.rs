//! Who the container's process runs as, by docker's rules, from files that the image controls.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::paths;
use crate::error::{Step, StepError, shown};
use crate::protocol::ErrorKind;

/// Larger files are refused: nothing in an image is worth that much of the agent's memory.
const MAX_FILE: u64 = 16 << 20;
/// NGROUPS_MAX of linux/limits.h.
const MAX_GROUPS: usize = 65536;
/// Docker's, and what a signed id can hold.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; the primary one is among them.
    pub groups: Vec<u32>,
    pub home: Vec<u8>,
}

impl Identity {
    /// The kernel has refused to do something for this user.
    pub fn refused(&self, cause: Errno, what: &str) -> StepError {
        refused((self.uid, self.gid), cause, what)
    }
}

/// The kernel has refused to do something for a user and a group.
pub fn refused((uid, gid): (u32, u32), cause: Errno, what: &str) -> StepError {
    // user_namespaces(7): ids that are not mapped are invalid.
    if cause == Errno::INVAL && crate::sys::in_user_namespace() {
        let why =
            format!("There is no {uid}:{gid} among the ids that hull's user has (/etc/subuid, /etc/subgid)");
        return StepError::new(ErrorKind::NoUser, why);
    }
    StepError::because(ErrorKind::Setup, format!("Failed to {what} {uid}:{gid}"), cause)
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    #[error("Unable to find user {0}: no matching entries in the image's /etc/passwd")]
    NoUser(String),
    #[error("Unable to find group {0}: no matching entries in the image's /etc/group")]
    NoGroup(String),
    #[error("User or group id {0} is out of range")]
    OutOfRange(String),
}

impl From<UserError> for StepError {
    fn from(error: UserError) -> Self {
        StepError::new(ErrorKind::NoUser, error.to_string())
    }
}

/// Looks `user` (as docker's `-u`) up in the container's root, which must be entered. `proc` is a /proc that
/// shows this process, and that the container cannot have put something else upon.
pub fn look_up(user: &[u8], proc: &OwnedFd) -> Result<Identity, StepError> {
    let passwd = read_bounded("/etc/passwd", proc)?;
    let group = read_bounded("/etc/group", proc)?;
    Ok(resolve(user, &passwd, &group)?)
}

/// `user`, `uid`, each with `:group` or `:gid`; nothing is root.
pub fn resolve(spec: &[u8], passwd: &[u8], group: &[u8]) -> Result<Identity, UserError> {
    let (user, wanted_group) = match spec.iter().position(|&byte| byte == b':') {
        Some(at) => (spec.get(..at).unwrap_or_default(), spec.get(at + 1..).unwrap_or_default()),
        None => (spec, [].as_slice()),
    };
    let wanted = if user.is_empty() { b"0".as_slice() } else { user };
    let entry = passwd.split(|&byte| byte == b'\n').find_map(|line| PasswdEntry::matching(line, wanted));
    let (uid, default_gid, name, home) = match entry {
        Some(entry) => (entry.uid, entry.gid, entry.name, entry.home),
        None => (unlisted_id(wanted, UserError::NoUser)?, 0, [].as_slice(), b"/".as_slice()),
    };
    let (gid, groups) = if wanted_group.is_empty() {
        (default_gid, supplementary(group, name, default_gid))
    } else {
        let gid = named_group(group, wanted_group)?;
        (gid, vec![gid])
    };
    let home = if home.is_empty() { b"/" } else { home };
    Ok(Identity { uid, gid, groups, home: home.to_vec() })
}

struct PasswdEntry<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

impl<'a> PasswdEntry<'a> {
    /// `name:password:uid:gid:comment:home:shell`, if its name or uid is the one wanted. passwd(5)
    fn matching(line: &'a [u8], wanted: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?;
        if name != wanted && uid != wanted {
            return None;
        }
        let (uid, gid) = (id(uid)?, id(fields.next()?)?);
        Some(PasswdEntry { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    }
}

/// Names by number, in a passwd file's order.
pub fn names(passwd: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    passwd.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((id(fields.nth(1)?)?, name))
    })
}

/// The primary group and each group whose list names the user. `name:password:gid:members`, group(5)
fn supplementary(group: &[u8], name: &[u8], primary: u32) -> Vec<u32> {
    let mut groups = vec![primary];
    if name.is_empty() {
        return groups;
    }
    for line in group.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b':').skip(2);
        let Some(gid) = fields.next().and_then(id) else { continue };
        let members = fields.next().unwrap_or_default();
        let named = members.split(|&byte| byte == b',').any(|member| member == name);
        // Sorted, so that a file of millions of groups costs no more than reading it.
        if named
            && groups.len() < MAX_GROUPS
            && let Err(place) = groups.binary_search(&gid)
        {
            groups.insert(place, gid);
        }
    }
    groups
}

fn named_group(group: &[u8], wanted: &[u8]) -> Result<u32, UserError> {
    let listed = group.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next()?;
        let gid = fields.nth(1)?;
        if name == wanted || gid == wanted { id(gid) } else { None }
    });
    listed.map_or_else(|| unlisted_id(wanted, UserError::NoGroup), Ok)
}

/// A number that no entry names is as good as any; a name is not.
fn unlisted_id(wanted: &[u8], unknown: fn(String) -> UserError) -> Result<u32, UserError> {
    let shown = || shown(wanted).to_string();
    if wanted.is_empty() || !wanted.iter().all(u8::is_ascii_digit) {
        return Err(unknown(shown()));
    }
    id(wanted).ok_or_else(|| UserError::OutOfRange(shown()))
}

fn id(field: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(field).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok().filter(|&id| id <= MAX_ID)
}

/// Absent is empty. What is no regular file is refused before it is opened: a fifo would never end, and
/// opening a device node of the image's making can do the host harm.
fn read_bounded(path: &str, proc: &OwnedFd) -> Result<Vec<u8>, StepError> {
    let found = match paths::open(path.as_bytes(), OFlags::PATH) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(cause) => return Err(cause).step(format_args!("open the image's {path}")),
    };
    let stat = rustix::fs::fstat(&found).step(format_args!("look at the image's {path}"))?;
    let len = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if !FileType::from_raw_mode(stat.st_mode).is_file() || len > MAX_FILE {
        let why = format!("The image's {path} is not a regular file of at most {MAX_FILE} bytes");
        return Err(StepError::new(ErrorKind::NoUser, why));
    }
    let readable = format!("self/fd/{}", found.as_raw_fd());
    let file = rustix::fs::openat(proc, readable, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(format_args!("open the image's {path}"))?;
    let mut content = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    // Not past the length seen: the file cannot grow meanwhile, nothing of the container runs yet.
    while content.len() < content.capacity() {
        let spare = rustix::buffer::spare_capacity(&mut content);
        if rustix::io::read(&file, spare).step(format_args!("read the image's {path}"))? == 0 {
            break;
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests;
