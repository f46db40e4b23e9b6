//! What a virtual machine is made of, as its maker writes it down.
//!
//! [`VmConfig`] is data from a file or a pipe; [`VmConfig::validate`] checks it against every limit
//! and yields a [`ValidConfig`], the only thing the machine is built from.

pub mod mac;
mod valid;

use std::fmt;
use std::os::fd::RawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use valid::{ConfigError, ValidConfig};
pub(crate) use valid::{check_limits, check_net_limits, check_segments};

/// Smallest guest memory, in MiB: kernel image and boot-time structures take about 20.
pub const MIN_MEMORY_MIB: u32 = 32;
/// Largest guest memory, in MiB (1 TiB).
pub const MAX_MEMORY_MIB: u32 = 1 << 20;
/// Virtual CPUs a machine may have; the kernel's NR_CPUS.
pub const MAX_VCPUS: u8 = 64;
/// Block devices a machine may have; the IOAPIC's pins are the limit behind it.
pub const MAX_DISKS: usize = 12;
/// Network devices a machine may have.
pub const MAX_NETS: usize = 6;
/// Smallest and largest MTU that a network device may name (VirtIO 1.2, 5.1.4.1): that of IPv6, and what
/// the field holds.
pub const MIN_MTU: u16 = 1280;
/// Segments of one read-only disk: merged metadata and one a layer.
pub const MAX_SEGMENTS: usize = 1024;
/// Longest tag of a shared file system, in bytes (VirtIO 1.2, 5.11.4).
pub const MAX_TAG: usize = 36;
/// Bytes of a sector, the unit of virtio-blk addresses (VirtIO 1.2, 5.2.4).
pub const SECTOR: u64 = 512;

/// A virtual machine, as asked for. Unknown fields are refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmConfig {
    /// Shown in messages, names the threads' process.
    pub id: String,
    pub vcpus: u8,
    pub memory_mib: u32,
    /// Uncompressed ELF or bzImage.
    pub kernel: FileSource,
    #[serde(default)]
    pub initrd: Option<FileSource>,
    /// Added behind the words that hull-vmm itself puts on the kernel's command line, so it may override
    /// them; only those for the boot log's console come later.
    #[serde(default)]
    pub cmdline: String,
    /// In the order in which the guest sees them: vda, vdb, ...
    #[serde(default)]
    pub disks: Vec<DiskConfig>,
    /// Network devices, without a network at first: each is a slot whose cable is plugged in through the
    /// control socket.
    #[serde(default)]
    pub nets: Vec<NetConfig>,
    #[serde(default)]
    pub vsock: Option<VsockConfig>,
    /// A shared file system. Guest memory is shared with its server then, and private otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs: Option<FsConfig>,
    /// Serial console; what the guest writes goes here. Off when absent.
    #[serde(default)]
    pub boot_log: Option<FileSource>,
    /// Who the process becomes before the guest runs. Absent only when run by hand without root.
    #[serde(default)]
    pub jail: Option<JailConfig>,
    /// Connected unix stream socket to the supervisor. The machine ends when it closes.
    #[serde(default)]
    pub control: Option<RawFd>,
}

/// A file by path, or by the number of a descriptor that the process was started with.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FileSource {
    Path(PathBuf),
    Fd(RawFd),
}

impl fmt::Display for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileSource::Path(path) => write!(f, "{}", path.display()),
            FileSource::Fd(fd) => write!(f, "descriptor {fd}"),
        }
    }
}

/// One virtio-blk device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DiskConfig {
    /// Several files shown one behind the other as one read-only disk. No segments: an empty slot,
    /// to be filled later through the control socket.
    ReadOnly {
        segments: Vec<Segment>,
        #[serde(default, skip_serializing_if = "DiskLimits::is_empty")]
        limits: DiskLimits,
    },
    /// A raw file, whole. None: an empty slot.
    ReadWrite {
        file: Option<FileSource>,
        #[serde(default, skip_serializing_if = "DiskLimits::is_empty")]
        limits: DiskLimits,
    },
}

impl DiskConfig {
    pub fn limits(&self) -> &DiskLimits {
        match self {
            DiskConfig::ReadOnly { limits, .. } | DiskConfig::ReadWrite { limits, .. } => limits,
        }
    }
}

/// What a disk may do in a second; absent is as much as the host can, zero is refused. One second's worth
/// may be used at once, or one request if that is larger. Flushing and discarding are free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskLimits {
    /// Bytes read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bps: Option<u64>,
    /// Bytes written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_bps: Option<u64>,
    /// Requests to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_iops: Option<u64>,
    /// Requests to write, or to write zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_iops: Option<u64>,
}

impl DiskLimits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One virtio-net device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// As the guest's driver finds it, by which the device can be told from the others; the guest may
    /// take another. Written `02:68:75:6c:00:01`.
    #[serde(with = "mac")]
    pub mac: [u8; 6],
    /// The largest that the guest's driver will allow; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    #[serde(default, skip_serializing_if = "NetLimits::is_empty")]
    pub limits: NetLimits,
}

/// What a network device may do in a second; absent is as much as the host can, zero is refused. One
/// second's worth may be used at once, or one packet if that is larger. Directions are the guest's. Counted
/// are Ethernet frames as they cross between guest and host: one that is still to be cut into segments
/// is one packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetLimits {
    /// Bytes received by the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_bps: Option<u64>,
    /// Bytes sent by the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_bps: Option<u64>,
    /// Packets received by the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_pps: Option<u64>,
    /// Packets sent by the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_pps: Option<u64>,
}

impl NetLimits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A run of sectors of a read-only disk, backed by one whole file from its start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    pub file: FileSource,
    /// First sector of the disk that this file backs. Segments are in ascending order and do not
    /// overlap; sectors between them, and behind a file's end, read as zeros.
    pub start_sector: u64,
}

/// virtio-vsock, bridged to a unix socket: a client that writes `CONNECT <port>\n` is connected to
/// that port in the guest, and is told `OK <host port>\n`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VsockConfig {
    /// The guest's context id, 3 or more.
    pub cid: u32,
    /// Path to bind, or an already listening socket's descriptor.
    pub socket: FileSource,
}

/// virtio-fs, served by a process of its own that speaks vhost-user and sees all of the guest's memory. The
/// machine ends when that process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FsConfig {
    /// What the guest mounts it by: 1 to [`MAX_TAG`] bytes, no control characters.
    pub tag: String,
    /// A unix stream socket that is connected to the server, or its path to connect to. Whether the server
    /// has accepted already does not matter: it is first needed when the guest looks at the device.
    pub socket: FileSource,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JailConfig {
    pub uid: u32,
    pub gid: u32,
}
