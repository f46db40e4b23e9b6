//! Cases in which the isolation mode makes no difference: they run in namespace mode only.

mod dockerd;
mod egress;
mod files;
mod forms;
mod killed;
mod links;
mod manage;
mod modes;
mod questions;
mod refused;
mod world;
