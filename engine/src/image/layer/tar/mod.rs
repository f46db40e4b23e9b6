//! A streaming tar reader.
//!
//! The `tar` crate is not used for reading: it gives sparse files as zeros rather than as a map (a
//! 10 GiB hole would be 10 GiB of reading), knows none of the PAX sparse forms, and holds extended
//! headers of whatever size the archive claims. Here everything that is held has a cap, and global
//! PAX headers are passed over, as Docker, containerd and umoci do.

mod header;
mod pax;
mod reader;
mod sparse;

use std::io;

pub use header::BLOCK;
pub use reader::TarReader;
pub use sparse::Fragment;

/// Bytes of one extended header (PAX, GNU long name).
const MAX_EXTENDED: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum TarError {
    #[error("not a tar archive, or damaged: no valid header where one must be")]
    NotTar,
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    #[error("a header's {0} is not a number, or out of range")]
    Number(&'static str),
    #[error("malformed PAX header")]
    Pax,
    #[error("an extended header of {0} bytes is over the limit of 1 MiB")]
    Extended(u64),
    #[error("malformed map of a sparse file")]
    SparseMap,
    #[error("entry type '{}' is not supported", .0.escape_ascii())]
    Type(u8),
    #[error("Failed to read the archive")]
    Read(#[source] io::Error),
}

/// Whether this block may be an archive's first.
pub fn begins_archive(block: &[u8; BLOCK]) -> bool {
    header::Header::parse(*block).is_ok()
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry with its extended headers applied. Its data follow in [`TarReader::read_data`].
#[derive(Debug, Clone)]
pub struct Member {
    /// As the archive says it, uncleaned.
    pub path: Vec<u8>,
    pub kind: MemberKind,
    /// Permission bits only.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub mtime_nsec: u32,
    /// Of a file, with its holes.
    pub size: u64,
    /// Bytes that follow.
    pub stored: u64,
    /// Of a link: uncleaned.
    pub link: Vec<u8>,
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// A sparse file's stored runs, in order; their lengths add up to `stored`.
    pub sparse: Option<Vec<Fragment>>,
}

#[cfg(test)]
pub(in crate::image) mod tests;
