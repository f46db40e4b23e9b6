//! What the calls carry. Names follow the OCI runtime specification where it has one.

use serde::{Deserialize, Serialize};

use super::{NetworkConfig, Resources, Text};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelloArgs {
    pub version: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HelloReply {
    pub version: u32,
    pub features: Vec<String>,
    /// Release of the kernel that the containers will see (`uname -r`).
    pub kernel: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxConfig {
    /// Wall clock, nanoseconds since 1970. A guest has no clock of its own; a host agent gets none.
    pub clock_ns: Option<u64>,
    /// Bytes for the guest's random pool, credited in full.
    pub entropy: Option<Text>,
    /// The sandbox is a pod: one network, IPC and UTS namespace for all its containers, made now and
    /// kept until the sandbox ends.
    #[serde(default)]
    pub pod: Option<PodConfig>,
    /// The network of all the sandbox's containers. Without one each has a network namespace of its own,
    /// with nothing in it but a loopback device.
    #[serde(default)]
    pub network: Option<NetworkConfig>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodConfig {
    /// That of the shared UTS namespace; the containers' own have no effect.
    pub hostname: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domainname: String,
}

/// One container, complete: the agent adds no policy of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// 64 hexadecimal digits.
    pub id: String,
    pub hostname: String,
    /// Of the UTS namespace; empty: as it is where the agent runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    pub root: Root,
    pub process: Process,
    /// Beyond the fixed ones (/proc, /dev, /dev/pts, /dev/shm, /dev/mqueue, /sys, /sys/fs/cgroup),
    /// in order.
    pub mounts: Vec<Mount>,
    /// Files laid over the image's: /etc/hosts, /etc/hostname, /etc/resolv.conf.
    pub files: Vec<OverlaidFile>,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub resources: Resources,
    /// Host only: where the container's cgroup goes, relative to each hierarchy's root
    /// (`hull/<sandbox>/<container>`). A guest agent chooses by itself.
    pub cgroup: Option<String>,
    /// Namespaces of other containers of this sandbox to join in place of new ones.
    #[serde(default)]
    pub share: Share,
}

/// Each the id of a container here that has not ended. None is a namespace of its own; in a pod the pod's, but for
/// `pid`. Who shares IPC shares /dev/shm and /dev/mqueue with it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Share {
    pub network: Option<String>,
    pub ipc: Option<String>,
    pub uts: Option<String>,
    pub pid: Option<String>,
}

/// One more process for a container that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    pub container: String,
    /// 64 hexadecimal digits, unlike any container's or other exec's.
    pub exec_id: String,
    /// As a container's, but `init` must be false and `cwd` be there.
    pub process: Process,
    pub place: ExecPlace,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ExecPlace {
    /// In all the container's namespaces, its cgroup, its device rules.
    Container,
    /// Guest only, refused on a host: the container's root, the sandbox's network, the guest's own PID, IPC and UTS
    /// namespaces, every capability, no seccomp, outside the container's cgroup. For the owner who
    /// debugs.
    Beside,
}

/// The root file system: a read-only EROFS below a writable layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    pub source: RootSource,
    /// The root itself is mounted read-only (`--read-only`).
    pub readonly: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RootSource {
    /// In a guest: block devices by their order (0 is vda). The agent waits until each has the size
    /// named, since a slot may be filled while the machine runs.
    Disks { lower: Disk, upper: Disk },
    /// On a host: the merged metadata, the layers in device order, and two folders on one file system.
    Files { metadata: Text, layers: Vec<Text>, upper: Text, work: Text },
    /// In a user namespace, where the kernel mounts no EROFS: the image's files in a folder.
    Folder { lower: Text, upper: Text, work: Text },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub index: u8,
    /// 512-byte sectors.
    pub sectors: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// At least one; the first is looked up in the container's PATH unless it holds a slash.
    pub args: Vec<Text>,
    /// `NAME=value`. HOME is added from the image's passwd file where it is absent.
    pub env: Vec<Text>,
    /// Made if missing.
    pub cwd: Text,
    /// `user`, `uid`, `user:group`, ... as docker's `-u`, looked up in the image; empty is root.
    pub user: Text,
    /// Some: a pseudo terminal of that size. None: three pipes.
    pub terminal: Option<TerminalSize>,
    /// Whether a stdin stream will be attached; without it stdin is /dev/null (or the pty).
    pub stdin: bool,
    /// Names like `CAP_CHOWN`: the bounding set, and for root the permitted and effective one. Nothing
    /// is inheritable or ambient (CVE-2022-24769).
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub rlimits: Vec<Rlimit>,
    /// PID 1 is the agent's own reaper, the command its child.
    pub init: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// Docker's default list, for the capabilities held.
    Default,
    Unconfined,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// As in setrlimit(2): `RLIMIT_NOFILE`.
    pub name: String,
    /// `u64::MAX` is unlimited. Clamped to the hard limit where the host forbids more.
    pub soft: u64,
    pub hard: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mount {
    Tmpfs {
        target: Text,
        /// Bytes; None is the kernel's default, half the memory.
        size: Option<u64>,
        mode: u32,
        /// mount(2) words: `ro rw nosuid suid nodev dev noexec exec`.
        options: Vec<String>,
    },
    Bind(Bind),
}

/// A folder or a file from outside the container, at a path of it. The target is made if it is missing: a folder, or
/// an empty file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    pub source: BindSource,
    /// A folder below the source, or a file, to mount in its place; resolved without leaving the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<Text>,
    pub target: Text,
    pub readonly: bool,
    /// What is mounted below the source comes along.
    pub recursive: bool,
    #[serde(default)]
    pub propagation: Propagation,
    /// The source is an empty folder: what the image has at the target is copied into it first, with the owner and
    /// mode of the target itself.
    #[serde(default)]
    pub copy_image: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BindSource {
    /// On a host.
    Path { path: Text },
    /// In a guest: a name in the root of the file system that the host shares (virtio-fs, tag [`SHARE_TAG`]).
    Share { name: String },
    /// In a guest: an ext4 of its own, of which the folder [`DISK_FOLDER`] is mounted, made if it is missing.
    Disk { disk: Disk },
}

/// The virtio-fs tag of the one file system that a sandbox's host shares.
pub const SHARE_TAG: &str = "hull";
/// What is shown of a block volume's file system: its root holds ext4's own `lost+found`.
pub const DISK_FOLDER: &str = "data";

/// How mounts made below a bind mount on one side show on the other (mount_namespaces(7)). A guest's are its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    #[default]
    Private,
    /// The host's show in the container.
    Slave,
    /// Both ways.
    Shared,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlaidFile {
    pub target: Text,
    pub content: Text,
    pub mode: u32,
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
    /// Neither it nor its mode can be changed.
    #[serde(default)]
    pub readonly: bool,
}

impl OverlaidFile {
    /// Root's, and the container's to change.
    pub fn new(target: impl Into<Text>, content: impl Into<Text>, mode: u32) -> Self {
        let (target, content) = (target.into(), content.into());
        OverlaidFile { target, content, mode, uid: 0, gid: 0, readonly: false }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerArgs {
    pub container: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachArgs {
    pub container: String,
    pub stream: Stream,
}

/// With a terminal: `Stdin` and `Stdout` only.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizeArgs {
    pub container: String,
    pub size: TerminalSize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalArgs {
    pub container: String,
    pub signal: u8,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Created {
    /// PID of the container's first process, as the agent sees it.
    pub pid: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub struct ExitStatus {
    /// The command's own, or 128 + the signal that ended it.
    pub code: u8,
    /// The kernel killed a process of the container for its memory limit.
    pub oom_killed: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerInfo {
    pub id: String,
    pub state: ContainerState,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ContainerState {
    Created,
    Running { pid: u32 },
    Exited { status: ExitStatus },
}
