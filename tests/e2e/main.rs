//! The end-to-end suite. Each case is written once and runs in both isolation modes, which
//! `HULL_TEST_ISOLATION` names; `tests/run` starts it.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod attach;
mod background;
mod containers;
mod detaching;
mod events;
mod exec;
mod export;
mod filesystem;
mod health;
mod hostile_images;
mod info;
mod isolation;
mod killed;
mod layers;
mod limits;
mod logs;
mod network;
mod once;
mod pods;
mod policies;
mod privileges;
mod programs;
mod ps;
mod removing;
mod signals;
mod stats;
mod stopping;
mod streams;
mod system;
mod terminal;
