//! The socket between a machine and its supervisor: a connected unix stream of length-prefixed JSON.
//!
//! The machine says [`Event`]s, the supervisor [`Command`]s. Each command is answered by one
//! [`Event::Done`] or [`Event::Failed`] before the next is read; [`Event::Running`] comes once, before
//! anything the guest can do is seen, and [`Event::Exit`] is always the last. Descriptors travel as
//! SCM_RIGHTS with any bytes of the frame whose [`FileSource::Fd`] fields count through them.

pub mod frame;
mod socket;

use serde::{Deserialize, Serialize};

use crate::config::{DiskLimits, FileSource, NetLimits, Segment};
use crate::lifecycle::ExitCause;

pub use frame::{FrameError, MAX_FRAME};
pub use socket::{Control, ControlError, Received};

/// From the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Everything is set up and confined; the guest is being entered.
    Running,
    /// The last command was carried out.
    Done {
        /// Of a filled disk: its capacity as the guest will see it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sectors: Option<u64>,
    },
    /// The last command was not carried out, and nothing has changed.
    Failed { message: String },
    /// The machine has ended, and no instruction of its guest is executed any more.
    Exit {
        cause: ExitCause,
        /// The cause in words.
        message: String,
        /// The last 4 KiB of the boot log, raw: escape it before showing. None without a log, or if a
        /// write to it is stuck.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot_log_tail: Option<String>,
    },
}

/// To the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Puts files behind an empty slot; the guest is told of the new capacity.
    FillDisk {
        /// Index into the config's disks.
        disk: usize,
        content: DiskContent,
    },
    /// From now on a disk, or slot, is held to these rates and to no others.
    LimitDisk {
        /// Index into the config's disks.
        disk: usize,
        limits: DiskLimits,
    },
    /// Connects a network device that has no network: its link goes up, whether the guest's driver is there
    /// already or not.
    PlugNet {
        /// Index into the config's network devices.
        net: usize,
        /// A tap with IFF_NO_PI and IFF_VNET_HDR. All else about it is set by the machine, which becomes
        /// its only reader.
        tap: FileSource,
        /// Instead of those that the device had.
        #[serde(default, skip_serializing_if = "NetLimits::is_empty")]
        limits: NetLimits,
    },
    /// Takes a network device off its network: its link goes down, and the tap is closed when this is
    /// answered. The device may be plugged again.
    UnplugNet {
        /// Index into the config's network devices.
        net: usize,
    },
    /// From now on a network device is held to these rates and to no others.
    LimitNet {
        /// Index into the config's network devices.
        net: usize,
        limits: NetLimits,
    },
    /// Ends the machine at once.
    Stop,
}

/// What a slot is filled with, by the kind of its disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskContent {
    /// For a read-only disk.
    Segments(Vec<Segment>),
    /// For a read-write disk.
    File(FileSource),
}
