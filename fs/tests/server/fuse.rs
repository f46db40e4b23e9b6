//! FUSE requests by hand (linux/fuse.h, protocol 7.38), well-formed or not.

use std::ops::Deref;

use crate::machine::{MOST, Machine, Silence};

pub const ROOT: u64 = 1;
pub const LOOKUP: u32 = 1;
pub const FORGET: u32 = 2;
pub const GETATTR: u32 = 3;
pub const SETATTR: u32 = 4;
pub const READLINK: u32 = 5;
pub const SYMLINK: u32 = 6;
pub const MKNOD: u32 = 8;
pub const MKDIR: u32 = 9;
pub const UNLINK: u32 = 10;
pub const RMDIR: u32 = 11;
pub const LINK: u32 = 13;
pub const OPEN: u32 = 14;
pub const READ: u32 = 15;
pub const WRITE: u32 = 16;
pub const STATFS: u32 = 17;
pub const RELEASE: u32 = 18;
pub const FSYNC: u32 = 20;
pub const SETXATTR: u32 = 21;
pub const GETXATTR: u32 = 22;
pub const LISTXATTR: u32 = 23;
pub const REMOVEXATTR: u32 = 24;
pub const FLUSH: u32 = 25;
pub const INIT: u32 = 26;
pub const OPENDIR: u32 = 27;
pub const READDIR: u32 = 28;
pub const SETLK: u32 = 32;
pub const CREATE: u32 = 35;
pub const FALLOCATE: u32 = 43;
pub const READDIRPLUS: u32 = 44;
pub const RENAME2: u32 = 45;
pub const LSEEK: u32 = 46;
pub const COPY_FILE_RANGE: u32 = 47;
pub const SYNCFS: u32 = 50;
pub const TMPFILE: u32 = 51;

const HEADER: usize = 40;
/// FUSE_WRITE_KILL_SUIDGID: the writer has no CAP_FSETID.
pub const KILL_SUIDGID: u32 = 4;
pub const FATTR_MODE: u32 = 1;
pub const FATTR_UID: u32 = 2;
pub const FATTR_GID: u32 = 4;
pub const FATTR_SIZE: u32 = 8;
/// FATTR_FH: of an open file.
pub const FATTR_HANDLE: u32 = 1 << 6;
/// FUSE_ATTR_SUBMOUNT.
pub const SUBMOUNT: u32 = 1;

/// An errno, or no answer at all.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Errno(i32),
    Silence,
}

impl From<Silence> for Refusal {
    fn from(_: Silence) -> Refusal {
        Refusal::Silence
    }
}

pub type Reply<T> = Result<T, Refusal>;

/// A guest's kernel, as a user of it.
pub struct Guest {
    pub machine: Machine,
    pub user: (u32, u32),
    unique: u64,
}

/// Little-endian fields.
#[derive(Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    pub fn new() -> Fields {
        Fields::default()
    }

    pub fn u32(mut self, value: u32) -> Fields {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Fields {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Fields {
        self.0.extend(bytes);
        self
    }

    pub fn name(self, name: &str) -> Fields {
        self.bytes(name.as_bytes()).bytes(b"\0")
    }

    pub fn zeros(mut self, count: usize) -> Fields {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

impl Deref for Fields {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// `struct fuse_attr`, what of it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub inode: u64,
    pub size: u64,
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    pub flags: u32,
}

impl Attributes {
    fn read(bytes: &[u8]) -> Attributes {
        Attributes {
            inode: u64_at(bytes, 0),
            size: u64_at(bytes, 8),
            mode: u32_at(bytes, 60),
            links: u32_at(bytes, 64),
            uid: u32_at(bytes, 68),
            gid: u32_at(bytes, 72),
            flags: u32_at(bytes, 84),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub node: u64,
    pub attributes: Attributes,
}

/// `struct fuse_entry_out`.
pub const ENTRY: usize = 40 + 88;

fn entry(bytes: &[u8]) -> Entry {
    Entry { node: u64_at(bytes, 0), attributes: Attributes::read(&bytes[40..]) }
}

impl Guest {
    /// With all that a kernel of today can do.
    pub fn mount(machine: Machine) -> Guest {
        let mut guest = Guest { machine, user: (0, 0), unique: 0 };
        let everything = u32::MAX;
        let init = Fields::new().u32(7).u32(38).u32(1 << 20).u32(everything).u32(everything).zeros(44);
        guest.call(INIT, 0, &init).unwrap();
        guest
    }

    pub fn call(&mut self, opcode: u32, node: u64, body: &[u8]) -> Reply<Vec<u8>> {
        self.call_with_room(opcode, node, body, MOST)
    }

    pub fn call_with_room(&mut self, opcode: u32, node: u64, body: &[u8], room: usize) -> Reply<Vec<u8>> {
        let request = self.message(opcode, node, body);
        let reply = self.machine.request(&request, room)?;
        assert_eq!(u64_at(&reply, 8), self.unique);
        match u32_at(&reply, 4).cast_signed() {
            0 => Ok(reply[16..].to_vec()),
            error => Err(Refusal::Errno(-error)),
        }
    }

    /// And nobody waits for an answer.
    pub fn send(&mut self, opcode: u32, node: u64, body: &[u8], room: usize) {
        let request = self.message(opcode, node, body);
        self.machine.send(&request, room);
    }

    fn message(&mut self, opcode: u32, node: u64, body: &[u8]) -> Fields {
        self.unique += 1;
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let (uid, gid) = self.user;
        let header = Fields::new().u32(length).u32(opcode).u64(self.unique).u64(node).u32(uid).u32(gid);
        header.u32(1).u32(0).bytes(body)
    }

    /// Has no answer: the chain comes back empty.
    pub fn forget(&mut self, node: u64, count: u64) {
        self.unique += 1;
        let request = Fields::new().u32(48).u32(FORGET).u64(self.unique).u64(node).zeros(16).u64(count);
        assert_eq!(self.machine.request(&request, 0), Ok(Vec::new()));
    }

    pub fn lookup(&mut self, parent: u64, name: &str) -> Reply<Entry> {
        Ok(entry(&self.call(LOOKUP, parent, &Fields::new().name(name))?))
    }

    /// Down a path from the root.
    pub fn walk(&mut self, path: &str) -> Reply<Entry> {
        let mut at = Entry { node: ROOT, attributes: self.attributes(ROOT)? };
        for name in path.split('/') {
            at = self.lookup(at.node, name)?;
        }
        Ok(at)
    }

    pub fn attributes(&mut self, node: u64) -> Reply<Attributes> {
        let reply = self.call(GETATTR, node, &Fields::new().zeros(16))?;
        Ok(Attributes::read(&reply[16..]))
    }

    pub fn make_folder(&mut self, parent: u64, name: &str, mode: u32) -> Reply<Entry> {
        let body = Fields::new().u32(mode).u32(0).name(name);
        Ok(entry(&self.call(MKDIR, parent, &body)?))
    }

    pub fn make_node(&mut self, parent: u64, name: &str, mode: u32, device: u32) -> Reply<Entry> {
        let body = Fields::new().u32(mode).u32(device).u32(0).u32(0).name(name);
        Ok(entry(&self.call(MKNOD, parent, &body)?))
    }

    pub fn link_to(&mut self, parent: u64, name: &str, target: &str) -> Reply<Entry> {
        Ok(entry(&self.call(SYMLINK, parent, &Fields::new().name(name).name(target))?))
    }

    pub fn hard_link(&mut self, node: u64, parent: u64, name: &str) -> Reply<Entry> {
        Ok(entry(&self.call(LINK, parent, &Fields::new().u64(node).name(name))?))
    }

    pub fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Reply<()> {
        let body = Fields::new().u64(to.0).u32(0).u32(0).name(from.1).name(to.1);
        self.call(RENAME2, from.0, &body).map(drop)
    }

    /// Node and handle.
    pub fn create(&mut self, parent: u64, name: &str, flags: i32, mode: u32) -> Reply<(Entry, u64)> {
        let body = Fields::new().u32(flags.cast_unsigned()).u32(mode).u32(0).u32(0).name(name);
        let reply = self.call(CREATE, parent, &body)?;
        Ok((entry(&reply), u64_at(&reply, ENTRY)))
    }

    pub fn open(&mut self, node: u64, flags: i32) -> Reply<u64> {
        let reply = self.call(OPEN, node, &Fields::new().u32(flags.cast_unsigned()).u32(0))?;
        Ok(u64_at(&reply, 0))
    }

    pub fn close(&mut self, node: u64, handle: u64) -> Reply<()> {
        self.call(RELEASE, node, &Fields::new().u64(handle).zeros(16)).map(drop)
    }

    pub fn open_folder(&mut self, node: u64) -> Reply<u64> {
        Ok(u64_at(&self.call(OPENDIR, node, &Fields::new().zeros(8))?, 0))
    }

    pub fn read(&mut self, node: u64, handle: u64, offset: u64, size: u32) -> Reply<Vec<u8>> {
        let body = Fields::new().u64(handle).u64(offset).u32(size).u32(0).u64(0).u32(0).u32(0);
        self.call(READ, node, &body)
    }

    pub fn write(&mut self, node: u64, handle: u64, offset: u64, bytes: &[u8], flags: u32) -> Reply<u32> {
        let size = u32::try_from(bytes.len()).unwrap();
        let body = Fields::new().u64(handle).u64(offset).u32(size).u32(flags).u64(0).u32(0).u32(0);
        Ok(u32_at(&self.call(WRITE, node, &body.bytes(bytes))?, 0))
    }

    pub fn set(
        &mut self,
        node: u64,
        valid: u32,
        size: u64,
        mode: u32,
        owner: (u32, u32),
    ) -> Reply<Attributes> {
        let body = Fields::new().u32(valid).u32(0).u64(0).u64(size).u64(0).zeros(3 * 8 + 3 * 4);
        let body = body.u32(mode).u32(0).u32(owner.0).u32(owner.1).u32(0);
        Ok(Attributes::read(&self.call(SETATTR, node, &body)?[16..]))
    }

    pub fn set_attribute(&mut self, node: u64, name: &str, value: &[u8]) -> Reply<()> {
        // `struct fuse_setxattr_in`, long since FUSE_SETXATTR_EXT.
        let size = u32::try_from(value.len()).unwrap();
        let body = Fields::new().u32(size).u32(0).u32(0).u32(0).name(name).bytes(value);
        self.call(SETXATTR, node, &body).map(drop)
    }

    pub fn attribute(&mut self, node: u64, name: &str) -> Reply<Vec<u8>> {
        self.call(GETXATTR, node, &Fields::new().u32(4096).u32(0).name(name))
    }

    /// The whole of a file.
    pub fn contents(&mut self, path: &str) -> Reply<Vec<u8>> {
        let node = self.walk(path)?.node;
        let handle = self.open(node, libc::O_RDONLY)?;
        self.read(node, handle, 0, 1 << 16)
    }

    /// Names in a folder.
    pub fn names(&mut self, node: u64) -> Reply<Vec<String>> {
        let handle = self.open_folder(node)?;
        let body = Fields::new().u64(handle).u64(0).u32(1 << 16).u32(0).u64(0).u32(0).u32(0);
        let listing = self.call(READDIR, node, &body)?;
        let mut names = Vec::new();
        let mut rest = &listing[..];
        while rest.len() >= 24 {
            let length = u32_at(rest, 16) as usize;
            names.push(String::from_utf8_lossy(&rest[24..24 + length]).into_owned());
            rest = &rest[(24 + length).next_multiple_of(8).min(rest.len())..];
        }
        names.sort();
        Ok(names)
    }
}
