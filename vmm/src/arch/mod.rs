//! What differs between instruction sets. Each has the same modules with the same signatures.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub use x86_64::*;
