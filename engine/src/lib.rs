//! hull's engine: images, containers, sandboxes, and the command line over them.

pub mod cli;
pub mod config;
pub mod container;
pub mod context;
pub mod descriptors;
pub mod events;
pub mod format;
pub mod image;
pub mod logs;
pub mod network;
pub mod paths;
pub mod pod;
pub mod registry;
pub mod resolve;
pub mod rootless;
pub mod sandbox;
pub mod session;
pub mod store;
pub mod supervisor;
pub mod system;
pub mod terminal;
pub mod text;
pub mod time;
pub mod volume;
