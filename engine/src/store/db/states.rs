//! The states of a container, and the one function that takes it from one to the next.
//!
//! ```text
//!                                    +--------- Unpaused ---------+
//!                                    v                            |
//!   created ----- Started -----> running ------- Paused ------> paused
//!                                ^ ^  | |                        | |
//!   exited ------ Started -------+ |  | +------ Restarting ------+ |
//!     ^                            |  |             |              |
//!     |                    Started |  |             v              |
//!     |                            +--|-------- restarting         |
//!     |                               |             |              |
//!     +---------- Exited -------------+-------------+--------------+
//!
//!   any but removing -- Removing --> removing -- Dead --> dead
//! ```
//!
//! `StartFailed` leaves `created` and `exited` as they are, and ends `restarting`. It takes `Started` back,
//! which is recorded while the start is under way: what never ran is `created` again. A container's row goes
//! by [`Database::conclude`], from any state.
//!
//! `Exited`, `Restarting` and `StartFailed` of a container in `removing` are recorded and leave it there:
//! somebody removes it while its owner is about to say how it ended. `Renamed` and `Config` are refused
//! in `removing` and `dead`, `Health` wherever no process is there to be healthy.
//!
//! As docker: a start forgets the last exit code, error and health; a failed one leaves the state (and
//! the times) what they were, but sets code and error; `restarts` counts from the last start by a user.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, params};

use super::containers::{ContainerRow, container_with_id, name_conflict};
use super::{Database, Error, Failure, Result, events};
use crate::time::now_ns;

/// Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    /// Ended, and about to be started again by its restart policy.
    Restarting,
    /// Being removed; whoever meets it finishes the removal.
    Removing,
    Exited,
    /// Its removal failed.
    Dead,
}

impl ContainerState {
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Restarting,
        Self::Removing,
        Self::Exited,
        Self::Dead,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ContainerState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("unknown container state \"{text}\""))
    }
}

/// What happened to a container, or what somebody is about to do to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Started {
        pid: u32,
    },
    StartFailed {
        exit_code: i32,
        error: String,
    },
    Exited {
        exit_code: i32,
        oom_killed: bool,
        error: String,
    },
    /// It ended, and its policy starts it again after a pause.
    Restarting {
        exit_code: i32,
        oom_killed: bool,
        error: String,
    },
    Paused,
    Unpaused,
    /// The restart policy holds off until a user starts it again. Changes no state.
    StoppedByUser,
    Removing,
    Dead {
        error: String,
    },
    Renamed {
        name: String,
    },
    /// What the health checks found, as JSON, and the status' word if it is a new one.
    Health {
        json: String,
        event: Option<String>,
    },
    /// `hull update`
    Config {
        json: String,
    },
}

impl Change {
    /// Completes "cannot be".
    const fn participle(&self) -> &'static str {
        match self {
            Self::Started { .. } | Self::StartFailed { .. } => "started",
            Self::Exited { .. } => "ended",
            Self::Restarting { .. } => "restarted",
            Self::Paused => "paused",
            Self::Unpaused => "unpaused",
            Self::StoppedByUser => "stopped",
            Self::Removing => "removed",
            Self::Dead { .. } => "given up",
            Self::Renamed { .. } => "renamed",
            Self::Health { .. } => "checked for its health",
            Self::Config { .. } => "updated",
        }
    }

    /// The table of legal moves: the state after it, or none where it is refused.
    pub const fn target(&self, is: ContainerState) -> Option<ContainerState> {
        use ContainerState::{Created, Dead, Exited, Paused, Removing, Restarting, Running};
        match (self, is) {
            (Self::Started { .. }, Created | Exited | Restarting) => Some(Running),
            (Self::StartFailed { .. }, Created) => Some(Created),
            (Self::StartFailed { .. }, Running | Exited | Restarting) => Some(Exited),
            (Self::Exited { .. }, Running | Paused | Restarting) => Some(Exited),
            (Self::Restarting { .. }, Running | Paused) => Some(Restarting),
            (Self::StartFailed { .. } | Self::Exited { .. } | Self::Restarting { .. }, Removing) => {
                Some(Removing)
            }
            (Self::Paused, Running) => Some(Paused),
            (Self::Unpaused, Paused) => Some(Running),
            (Self::Removing, Created | Running | Paused | Restarting | Exited | Dead) => Some(Removing),
            (Self::Dead { .. }, Removing) => Some(Dead),
            (Self::StoppedByUser, any) => Some(any),
            (Self::Health { .. }, Running | Paused) => Some(is),
            (
                Self::Renamed { .. } | Self::Config { .. },
                Created | Running | Paused | Restarting | Exited,
            ) => Some(is),
            _ => None,
        }
    }
}

impl Database {
    /// Changes a container, by its whole id, and writes the events that tell of it, in one transaction.
    /// Returns the row as it is then. A move that the table has not is [`Error::State`].
    pub fn change(&self, id: &str, change: &Change) -> Result<ContainerRow> {
        self.write("change a container", |tx| apply(tx, id, change))
    }
}

pub(super) fn apply(tx: &Connection, id: &str, change: &Change) -> Result<ContainerRow, Failure> {
    let not_found = || Error::NotFound { what: "container", name: id.to_owned() };
    let before = container_with_id(tx, id)?.ok_or_else(not_found)?;
    let after = after(&before, change, now_ns())?;
    save(tx, &before, &after)?;
    tell(tx, &before, &after, change)?;
    Ok(after)
}

/// The row after a change, or why it is refused.
fn after(before: &ContainerRow, change: &Change, now: i64) -> Result<ContainerRow> {
    let refused = || Error::State { id: before.id.clone(), is: before.state, change: change.participle() };
    let state = change.target(before.state).ok_or_else(refused)?;
    let mut row = ContainerRow { state, ..before.clone() };
    match change {
        Change::Started { pid } => {
            (row.pid, row.started, row.exit_code, row.oom_killed) = (*pid, now, 0, false);
            row.error.clear();
            row.health.clear();
            if before.state != ContainerState::Restarting {
                (row.stopped, row.restarts) = (false, 0);
            }
        }
        Change::StartFailed { exit_code, error } => {
            (row.pid, row.exit_code, row.error) = (0, *exit_code, error.clone());
            if before.state == ContainerState::Running && before.finished == 0 {
                (row.state, row.started) = (ContainerState::Created, 0);
            }
        }
        Change::Exited { exit_code, oom_killed, error }
        | Change::Restarting { exit_code, oom_killed, error } => {
            if has_process(before) {
                row.finished = now;
            }
            (row.pid, row.exit_code, row.oom_killed) = (0, *exit_code, *oom_killed);
            row.error.clone_from(error);
            if state == ContainerState::Restarting {
                row.restarts = before.restarts.saturating_add(1);
            }
        }
        Change::StoppedByUser => row.stopped = true,
        Change::Dead { error } => row.error.clone_from(error),
        Change::Renamed { name } => row.name.clone_from(name),
        Change::Health { json, .. } => row.health.clone_from(json),
        Change::Config { json } => row.config.clone_from(json),
        Change::Paused | Change::Unpaused | Change::Removing => {}
    }
    Ok(row)
}

fn save(tx: &Connection, before: &ContainerRow, row: &ContainerRow) -> Result<(), Failure> {
    if before.name != row.name {
        tx.prepare_cached("UPDATE containers SET name = ? WHERE id = ?")?
            .execute([&row.name, &row.id])
            .map_err(|error| name_conflict(tx, &row.name, error))?;
    }
    if before.config != row.config {
        tx.prepare_cached("UPDATE containers SET config = ? WHERE id = ?")?
            .execute([&row.config, &row.id])?;
    }
    tx.prepare_cached(
        "UPDATE containers SET state = ?, started = ?, finished = ?, pid = ?, exit_code = ?, oom_killed = ?,
             error = ?, restarts = ?, stopped = ?, health = ? WHERE id = ?",
    )?
    .execute(params![
        row.state.as_str(),
        row.started,
        row.finished,
        row.pid,
        row.exit_code,
        row.oom_killed,
        row.error,
        row.restarts,
        row.stopped,
        row.health,
        row.id,
    ])?;
    Ok(())
}

/// Whether there is something that can end. Between two runs there is not, and in removal only until it
/// is known how it ended.
fn has_process(row: &ContainerRow) -> bool {
    match row.state {
        ContainerState::Running | ContainerState::Paused => true,
        ContainerState::Removing => row.pid != 0,
        _ => false,
    }
}

/// Writes docker's events for a change.
fn tell(tx: &Connection, before: &ContainerRow, row: &ContainerRow, change: &Change) -> rusqlite::Result<()> {
    let tell = |action: &str, attributes: &[(&str, &str)]| events::of_container(tx, row, action, attributes);
    match change {
        Change::Started { .. } => tell("start", &[]),
        Change::Exited { exit_code, oom_killed, .. } | Change::Restarting { exit_code, oom_killed, .. }
            if has_process(before) =>
        {
            if *oom_killed {
                tell("oom", &[])?;
            }
            tell("die", &[("exitCode", &exit_code.to_string())])
        }
        // Its start was told.
        Change::StartFailed { exit_code, .. } if before.state == ContainerState::Running => {
            tell("die", &[("exitCode", &exit_code.to_string())])
        }
        Change::Paused => tell("pause", &[]),
        Change::Unpaused => tell("unpause", &[]),
        Change::Renamed { .. } => tell("rename", &[("oldName", &format!("/{}", before.name))]),
        Change::Health { event: Some(status), .. } => tell(&format!("health_status: {status}"), &[]),
        Change::Config { .. } => tell("update", &[]),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "states_tests.rs"]
mod tests;
