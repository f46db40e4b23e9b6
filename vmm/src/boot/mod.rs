//! From files to a guest that can be entered: kernel, initrd, command line.

pub mod cmdline;
pub mod initrd;
pub mod kernel;

pub use cmdline::Cmdline;
pub use kernel::Kernel;
