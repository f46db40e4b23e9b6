//! Processes of containers as the agent sees them: their standard streams, their ends.

pub mod pump;
pub mod reaper;
pub mod stdio;
