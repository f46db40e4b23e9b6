//! File trees as tar archives: what a container's file system leaves as, and the form in which images
//! leave the store.

mod header;
mod tree;
pub mod xattrs;

pub use header::{BLOCK, Entry, Kind, end, padding};
pub use tree::{Output, write};
