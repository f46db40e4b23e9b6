//! EROFS files: layers with their data, and merged roots that point into layers.
//!
//! A layer file: block 0 with the superblock, data of regular files from block 1 on as they stream
//! by, then inodes (root first, directory by directory), then large directories. A merged root: block
//! 0 with the superblock, the device table behind it, inodes, large directories, and no data.

pub mod data;
mod directory;
pub mod format;
mod plan;
pub mod reader;
pub mod writer;

use super::tree::TreeError;
use super::xattrs::XattrError;

#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    #[error("Failed to {0} at offset {1:#x}")]
    Io(&'static str, u64, #[source] std::io::Error),
    #[error("it takes more than {0} bytes")]
    TooLarge(u64),
    #[error("not an EROFS file that hull wrote, or damaged: {0}")]
    Damaged(&'static str),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Xattrs(#[from] XattrError),
}
