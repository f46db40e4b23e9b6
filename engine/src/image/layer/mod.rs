//! Layers: a tar stream becomes a tree and file data, and both become one EROFS file; several layers
//! become one merged root.

pub mod build;
pub mod erofs;
pub mod merge;
pub mod names;
pub mod paths;
pub mod tar;
pub mod tree;
pub mod xattrs;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod mounted;
#[cfg(test)]
mod mounted_tests;
#[cfg(test)]
pub(in crate::image) mod tests;
