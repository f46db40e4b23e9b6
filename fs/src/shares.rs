//! virtiofsd's file system, with what it leaves to the guest's good will checked.
//!
//! The guest's kernel sends names without slashes and opens neither devices nor pipes here, but a hostile one
//! may. None of it would lead out of the shares, which the mount namespace sees to; it would follow links that
//! the guest's own checks have not seen, or have the server wait for a pipe's other end.

use std::ffi::CStr;
use std::io;
use std::time::Duration;

use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions,
    SerializableFileSystem, SetattrValid, SetxattrFlags, ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, SetattrIn};
use virtiofsd::passthrough::PassthroughFs;

pub struct Shares(PassthroughFs);

type Inode = <PassthroughFs as FileSystem>::Inode;
type Handle = <PassthroughFs as FileSystem>::Handle;

impl Shares {
    pub fn new(files: PassthroughFs) -> Shares {
        Shares(files)
    }

    /// Only what open(2) neither waits for nor hands to a driver.
    fn openable(&self, context: Context, inode: Inode) -> io::Result<()> {
        let (attributes, _) = self.0.getattr(context, inode, None)?;
        match attributes.mode & libc::S_IFMT {
            libc::S_IFREG | libc::S_IFDIR => Ok(()),
            libc::S_IFLNK => Err(errno(libc::ELOOP)),
            _ => Err(errno(libc::ENXIO)),
        }
    }
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// One component of a path, and none of the two that are not names.
fn component(name: &CStr) -> io::Result<()> {
    match name.to_bytes() {
        b"" | b"." | b".." => Err(errno(libc::EINVAL)),
        name if name.contains(&b'/') => Err(errno(libc::EINVAL)),
        _ => Ok(()),
    }
}

/// Off_t is signed.
fn position(offset: u64) -> io::Result<()> {
    i64::try_from(offset).map(drop).map_err(|_| errno(libc::EINVAL))
}

/// Calls that are passed on, after the names in them are checked.
macro_rules! pass_on {
    ($(
        fn $call:ident ($($argument:ident: $of:ty),*) $(-> $result:ty)?
        $(, checked $($name:ident)+)?;
    )*) => {$(
        fn $call (&self, $($argument: $of),*) $(-> $result)? {
            $($(component($name)?;)+)?
            self.0.$call($($argument),*)
        }
    )*};
}

impl FileSystem for Shares {
    type Inode = Inode;
    type Handle = Handle;
    type DirIter = <PassthroughFs as FileSystem>::DirIter;

    pass_on! {
        fn init(capable: FsOptions) -> io::Result<FsOptions>;
        fn destroy();
        fn lookup(context: Context, parent: Inode, name: &CStr) -> io::Result<Entry>, checked name;
        fn forget(context: Context, inode: Inode, count: u64);
        fn batch_forget(context: Context, requests: Vec<(Inode, u64)>);
        fn getattr(context: Context, inode: Inode, handle: Option<Handle>) -> io::Result<(Attr, Duration)>;
        fn setattr(
            context: Context, inode: Inode, attributes: SetattrIn, handle: Option<Handle>, valid: SetattrValid
        ) -> io::Result<(Attr, Duration)>;
        fn readlink(context: Context, inode: Inode) -> io::Result<Vec<u8>>;
        fn symlink(
            context: Context, target: &CStr, parent: Inode, name: &CStr, extensions: Extensions
        ) -> io::Result<Entry>, checked name;
        fn mkdir(
            context: Context, parent: Inode, name: &CStr, mode: u32, umask: u32, extensions: Extensions
        ) -> io::Result<Entry>, checked name;
        fn unlink(context: Context, parent: Inode, name: &CStr) -> io::Result<()>, checked name;
        fn rmdir(context: Context, parent: Inode, name: &CStr) -> io::Result<()>, checked name;
        fn rename(
            context: Context, from: Inode, name: &CStr, to: Inode, new_name: &CStr, flags: u32
        ) -> io::Result<()>, checked name new_name;
        fn link(context: Context, inode: Inode, parent: Inode, name: &CStr) -> io::Result<Entry>, checked name;
        fn flush(context: Context, inode: Inode, handle: Handle, lock_owner: u64) -> io::Result<()>;
        fn fsync(context: Context, inode: Inode, only_data: bool, handle: Handle) -> io::Result<()>;
        fn fallocate(
            context: Context, inode: Inode, handle: Handle, mode: u32, offset: u64, length: u64
        ) -> io::Result<()>;
        fn release(
            context: Context, inode: Inode, flags: u32, handle: Handle, flush: bool, unlock: bool,
            lock_owner: Option<u64>
        ) -> io::Result<()>;
        fn statfs(context: Context, inode: Inode) -> io::Result<libc::statvfs64>;
        fn setxattr(
            context: Context, inode: Inode, name: &CStr, value: &[u8], flags: u32, extra: SetxattrFlags
        ) -> io::Result<()>;
        fn getxattr(context: Context, inode: Inode, name: &CStr, size: u32) -> io::Result<GetxattrReply>;
        fn listxattr(context: Context, inode: Inode, size: u32) -> io::Result<ListxattrReply>;
        fn removexattr(context: Context, inode: Inode, name: &CStr) -> io::Result<()>;
        fn opendir(
            context: Context, inode: Inode, flags: u32
        ) -> io::Result<(Option<Handle>, OpenOptions)>;
        fn readdir(
            context: Context, inode: Inode, handle: Handle, size: u32, offset: u64
        ) -> io::Result<Self::DirIter>;
        fn fsyncdir(context: Context, inode: Inode, only_data: bool, handle: Handle) -> io::Result<()>;
        fn releasedir(context: Context, inode: Inode, flags: u32, handle: Handle) -> io::Result<()>;
        fn access(context: Context, inode: Inode, mask: u32) -> io::Result<()>;
        fn lseek(
            context: Context, inode: Inode, handle: Handle, offset: u64, whence: u32
        ) -> io::Result<u64>;
        fn copyfilerange(
            context: Context, inode_from: Inode, from: Handle, offset_from: u64, inode_to: Inode, to: Handle,
            offset_to: u64, length: u64, flags: u64
        ) -> io::Result<usize>;
    }

    fn mknod(
        &self,
        context: Context,
        parent: Inode,
        name: &CStr,
        mode: u32,
        device: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        component(name)?;
        match mode & libc::S_IFMT {
            0 | libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK => {
                self.0.mknod(context, parent, name, mode, device, umask, extensions)
            }
            _ => Err(errno(libc::EPERM)),
        }
    }

    fn open(
        &self,
        context: Context,
        inode: Inode,
        kill_privileges: bool,
        flags: u32,
    ) -> io::Result<(Option<Handle>, OpenOptions)> {
        self.openable(context, inode)?;
        self.0.open(context, inode, kill_privileges, flags)
    }

    fn create(
        &self,
        context: Context,
        parent: Inode,
        name: &CStr,
        mode: u32,
        kill_privileges: bool,
        flags: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<(Entry, Option<Handle>, OpenOptions)> {
        component(name)?;
        // What is there already gets opened, and may be a pipe.
        let flags = flags | libc::O_NONBLOCK.cast_unsigned();
        self.0.create(context, parent, name, mode, kill_privileges, flags, umask, extensions)
    }

    fn read<W: ZeroCopyWriter>(
        &self,
        context: Context,
        inode: Inode,
        handle: Handle,
        into: W,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        flags: u32,
    ) -> io::Result<usize> {
        position(offset)?;
        self.0.read(context, inode, handle, into, size, offset, lock_owner, flags)
    }

    fn write<R: ZeroCopyReader>(
        &self,
        context: Context,
        inode: Inode,
        handle: Handle,
        from: R,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        delayed: bool,
        kill_privileges: bool,
        flags: u32,
    ) -> io::Result<usize> {
        position(offset)?;
        self.0.write(context, inode, handle, from, size, offset, lock_owner, delayed, kill_privileges, flags)
    }

    fn syncfs(&self, context: Context, inode: Inode) -> io::Result<()> {
        self.openable(context, inode)?;
        self.0.syncfs(context, inode)
    }
}

/// Machines do not move: the defaults refuse.
impl SerializableFileSystem for Shares {}
