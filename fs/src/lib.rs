//! What a supervisor and its hull-fs say to each other. The server itself is the binary's.

pub mod control;
