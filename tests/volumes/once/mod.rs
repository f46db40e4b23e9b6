//! Cases in which the isolation mode makes no difference: they run in namespace mode only.

mod against_docker;
mod commands;
mod hanging;
mod inspected;
mod plugin;
mod refused;
