//! vm mode: a virtual machine, its disks and the agent in it.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hull_guest::protocol::{
    AGENT_PORT, Disk, IoLimit, NetworkConfig, Request, Resources, SHARE_TAG, SandboxConfig, Text, read_frame,
};
use hull_vmm::config::{
    DiskConfig, DiskLimits, FileSource, FsConfig, JailConfig, MAX_DISKS, NetConfig, NetLimits, SECTOR,
    VmConfig, VsockConfig,
};
use hull_vmm::control::Event;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::container::limits;
use crate::network;

use super::agent::{Address, Agent, AgentError, socket_path};
use super::cgroup::{HostMemory, SandboxCgroup};
use super::death::LastWords;
use super::roots::{self, Roots};
use super::share::{FileServer, Meeting};
use super::spawn::{FIRST_FD, Spawn};
use super::{Block, LaunchError, Parts, Plan, Sandbox, held, initramfs, parts, socket};

/// A guest's whole boot. Real ones take a fraction of a second; an emulated host takes its time.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Guest memory without `-m`.
const DEFAULT_MEMORY_MIB: u64 = 512;
/// What kernel, agent and their caches need beside the container's own limit.
const OVERHEAD_MIB: u64 = 64;
/// What hull-vmm itself, KVM's tables and the page cache of the machine's disks may have beside the guest's
/// memory. Page cache is given back where it gets tight.
const HOST_OVERHEAD_MIB: u64 = 128;
/// What hull-fs may have on top at least: it is in the same cgroup, since the guest's memory is charged to whichever of
/// both touches a page first.
const LEAST_FS_OVERHEAD_MIB: u64 = 256;
/// vCPUs without `--cpus`, where the host has as many.
const DEFAULT_VCPUS: u64 = 2;
/// The span that a quota of CPU time is for, where none is named: the kernel's.
const CPU_PERIOD_US: u64 = 100_000;
/// Every guest's vsock context id: the bridge is in its VMM, so guests cannot meet.
const GUEST_CID: u32 = 3;
/// Containers a pod's machine has disks for: two each, and the IOAPIC has pins for twelve.
const POD_CONTAINERS: u8 = 6;
/// Volumes that a container's machine can have as disks, behind the container's own two.
pub const MAX_BLOCKS: usize = MAX_DISKS - 2;
/// Bytes of fresh randomness for the guest's pool.
const SEED: usize = 64;

/// Descriptors to hand over, and the numbers they will have.
#[derive(Default)]
struct Handed(Vec<OwnedFd>);

impl Handed {
    fn add(&mut self, file: impl Into<OwnedFd>) -> RawFd {
        self.0.push(file.into());
        FIRST_FD + RawFd::try_from(self.0.len()).unwrap_or(RawFd::MAX) - 1
    }

    fn source(&mut self, file: impl Into<OwnedFd>) -> FileSource {
        FileSource::Fd(self.add(file))
    }
}

/// `blocks`: further disks of the machine's, behind those of its container.
pub fn launch(plan: &Plan, parts: &Parts, blocks: Vec<Block>) -> Result<Sandbox, LaunchError> {
    let Parts::Vm { vmm, init, kernel, fs } = parts else {
        return Err(LaunchError::Died("The parts at hand are a host agent's".to_string()));
    };
    let mut handed = Handed::default();
    let (life, theirs) = UnixStream::pair().map_err(LaunchError::system("make a socket pair"))?;
    let control = handed.add(theirs);
    let socket = socket_path(&plan.run_dir);
    // Of a machine that has ended; this supervisor starts no two at a time.
    let _ = fs::remove_file(&socket);
    let listener = socket::listen(&socket)
        .map_err(|source| LaunchError::file("listen on the socket", &socket, source))?;
    let vsock = VsockConfig { cid: GUEST_CID, socket: handed.source(listener) };
    let (mut disks, roots) = disks(plan, &mut handed)?;
    let blocks = further(blocks, &mut disks, limits(&plan.resources), &mut handed)?;
    let meeting = fs.as_ref().map(|_| Meeting::new(&plan.run_dir)).transpose()?;
    let config = VmConfig {
        id: plan.id.get(..12).unwrap_or(&plan.id).to_string(),
        vcpus: vcpus(&plan.resources),
        memory_mib: memory_mib(&plan.resources),
        kernel: handed.source(copy(kernel)?),
        initrd: Some(handed.source(initrd(init)?)),
        cmdline: String::new(),
        disks,
        nets: nets(plan),
        vsock: Some(vsock),
        fs: meeting.as_ref().map(|meeting| shared(meeting, &mut handed)).transpose()?,
        boot_log: boot_log(plan)?.map(|log| handed.source(log)),
        jail: plan.uid.map(|uid| JailConfig { uid, gid: uid }),
        control: Some(control),
    };
    let last_words = LastWords::new().map_err(LaunchError::system("make a memory file"))?;
    let child = start(vmm, &config, handed, last_words.writer())?;
    let cgroup = SandboxCgroup::create(&plan.id).map_err(LaunchError::system("make the sandbox's cgroup"))?;
    let memory_mib = u64::from(config.memory_mib);
    // While the machine is made: it needs no answer before its guest looks at the device.
    let files = match (fs, meeting) {
        (Some(program), Some(meeting)) => {
            let cgroup = cgroup.as_ref().map(SandboxCgroup::supervised);
            Some(FileServer::start(program, meeting, cgroup, fs_files(memory_mib))?)
        }
        _ => None,
    };
    let overhead = HOST_OVERHEAD_MIB + files.as_ref().map_or(0, |_| fs_overhead_mib(memory_mib));
    Ok(Sandbox {
        mode: plan.mode,
        id: plan.id.clone(),
        agent: Agent::new(Address::Vsock { socket, port: AGENT_PORT }),
        child,
        files,
        life: Mutex::new(life),
        last_words: Mutex::new(last_words),
        cause: OnceLock::new(),
        cgroup: Mutex::new(cgroup),
        memory: Mutex::new(None),
        host_bytes: Some((memory_mib + overhead) << 20),
        roots: Mutex::new(roots),
        blocks,
        pod: plan.pod.clone(),
        network: None,
    })
}

/// From the machine's first word to the agent's, with what the guest has to know.
pub fn greet(
    sandbox: &Sandbox,
    network: impl FnOnce() -> Result<Option<NetworkConfig>, LaunchError>,
) -> Result<(), LaunchError> {
    let mut life = sandbox.life()?;
    life.set_read_timeout(Some(BOOT_LIMIT)).map_err(LaunchError::system("set a time limit"))?;
    match read_frame(&mut life) {
        Ok(Event::Running) => {}
        Ok(Event::Exit { cause, message, .. }) => {
            return Err(LaunchError::Died(sandbox.with_file_servers_words(&cause, message)));
        }
        Ok(_) | Err(_) => return Err(AgentError::Closed.into()),
    }
    // While the guest boots, since it may take a grace period.
    if let Some(cgroup) = &*held(&sandbox.cgroup)
        && let Err(source) = cgroup.adopt(sandbox.child.pid())
        // One that has just ended cannot be moved, and tells why it ended by itself.
        && !sandbox.child.has_ended()
    {
        sandbox.child.kill();
        sandbox.child.reap();
        return Err(LaunchError::system("move hull-vmm into its cgroup")(source));
    }
    if let Some(bytes) = sandbox.host_bytes {
        let server = sandbox.files.as_ref().map(FileServer::pid);
        let pids: Vec<u32> = [sandbox.child.pid()].into_iter().chain(server).collect();
        *held(&sandbox.memory) = HostMemory::limit(&sandbox.id, &pids, bytes);
    }
    // The guest boots while this is made.
    let network = network()?;
    Ok(configure(sandbox, &life, network)?)
}

fn start(
    vmm: &File,
    config: &VmConfig,
    mut handed: Handed,
    stderr: BorrowedFd,
) -> Result<super::Child, LaunchError> {
    let text =
        serde_json::to_vec(config).map_err(|e| LaunchError::system("write the VM's config")(e.into()))?;
    let config_fd = handed.add(memory_file(c"vm.json", |file| file.write_all(&text))?);
    let args = ["hull-vmm", "--config-fd", &config_fd.to_string()];
    let args = args.map(|word| CString::new(word).unwrap_or_default());
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(LaunchError::system("open /dev/null"))?;
    let fds: Vec<BorrowedFd> = handed.0.iter().map(AsFd::as_fd).collect();
    // Born outside the sandbox's cgroup: making a VM inside one waits tens of milliseconds on some kernels.
    Spawn { program: vmm.as_fd(), args: &args, null: null.as_fd(), stderr, handed: &fds, cgroup: None }
        .start()
        .map_err(LaunchError::system("start hull-vmm"))
}

/// The first words with the guest: version, clock, randomness.
fn configure(sandbox: &Sandbox, life: &UnixStream, network: Option<NetworkConfig>) -> Result<(), AgentError> {
    sandbox.agent.hello(life, BOOT_LIMIT)?;
    let mut seed = vec![0u8; SEED];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut seed))
        .map_err(|e| AgentError::Frame(e.into()))?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    sandbox.agent.done(&Request::ConfigureSandbox(SandboxConfig {
        clock_ns: u64::try_from(clock.as_nanos()).ok(),
        entropy: Some(Text(seed)),
        pod: sandbox.pod.clone(),
        network,
    }))
}

/// Two, or what the host has; with a limit on CPU time enough to use that up, with a list of CPUs as many as
/// that takes to have the same numbers.
fn vcpus(resources: &Resources) -> u8 {
    let online = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let period = resources.cpu_period_us.unwrap_or(CPU_PERIOD_US).max(1);
    let quota = resources.cpu_quota_us.map(|quota| quota.div_ceil(period).max(1));
    let share = resources.cpu_millis.map(|millis| millis.div_ceil(1000)).or(quota);
    let listed = resources.cpuset_cpus.as_deref().and_then(limits::highest).map(|cpu| u64::from(cpu) + 1);
    let wanted = listed.or(share).unwrap_or(DEFAULT_VCPUS);
    u8::try_from(wanted.min(online)).unwrap_or(hull_vmm::config::MAX_VCPUS).min(hull_vmm::config::MAX_VCPUS)
}

/// A limit holds inside the guest, for the container; the machine has the kernel's share on top, and
/// that of its page structs (a 64th).
fn memory_mib(resources: &Resources) -> u32 {
    let mib = resources.memory_bytes.map_or(DEFAULT_MEMORY_MIB, |bytes| {
        let limit = bytes.div_ceil(1 << 20);
        limit + limit / 64 + OVERHEAD_MIB
    });
    u32::try_from(mib).unwrap_or(u32::MAX)
}

/// Each file that the guest's kernel remembers takes it a kilobyte and more, and hull-fs and the host's kernel two that
/// cannot be given back before the guest forgets it: a machine that looks through a large tree must not be killed for it.
fn fs_overhead_mib(memory_mib: u64) -> u64 {
    memory_mib.max(LEAST_FS_OVERHEAD_MIB)
}

/// Files that hull-fs may have open, which is what bounds its memory where the host has no memory controller. A guest's
/// kernel has an inode and a name for each that it remembers, a kilobyte at least: an honest one never gets there.
fn fs_files(memory_mib: u64) -> u64 {
    memory_mib << 10
}

/// The largest limit that a container of such a machine may be given while it runs.
pub fn most_memory(resources: &Resources) -> u64 {
    let without = (DEFAULT_MEMORY_MIB - OVERHEAD_MIB) * 64 / 65;
    resources.memory_bytes.unwrap_or(without << 20)
}

fn initrd(init: &File) -> Result<File, LaunchError> {
    let init = parts::whole(init).map_err(LaunchError::system("read hull-init"))?;
    memory_file(c"initramfs", |file| {
        let mut buffered = io::BufWriter::new(file);
        initramfs::write(&mut buffered, &init)?;
        buffered.flush()
    })
}

fn copy(file: &File) -> Result<OwnedFd, LaunchError> {
    parts::copy(file.as_fd()).map_err(LaunchError::system("copy a descriptor"))
}

/// Disk 0: metadata and layers as one read-only disk. Disk 1: the writable layer. A pod has slots for
/// such pairs instead, which are filled as its containers come.
fn disks(plan: &Plan, handed: &mut Handed) -> Result<(Vec<DiskConfig>, Roots), LaunchError> {
    let limits = limits(&plan.resources);
    let Some(root) = &plan.root else {
        let pairs = (0..POD_CONTAINERS).map(|pair| (2 * pair, 2 * pair + 1)).collect();
        let empty = [
            DiskConfig::ReadOnly { segments: Vec::new(), limits },
            DiskConfig::ReadWrite { file: None, limits },
        ];
        let disks = (0..POD_CONTAINERS).flat_map(|_| empty.clone()).collect();
        return Ok((disks, Roots::in_machine(None, pairs)));
    };
    let segments = roots::segments(&root.image, |file| handed.source(file))?;
    let writable = roots::writable(root)?;
    let source = roots::disks(0, root.image.total_sectors, 1, &writable)?;
    let writable = DiskConfig::ReadWrite { file: Some(handed.source(writable)), limits };
    let roots = Roots::in_machine(Some((&plan.id, source)), Vec::new());
    Ok((vec![DiskConfig::ReadOnly { segments, limits }, writable], roots))
}

/// Volumes that are disks, behind the container's own two.
fn further(
    blocks: Vec<Block>,
    disks: &mut Vec<DiskConfig>,
    limits: DiskLimits,
    handed: &mut Handed,
) -> Result<Vec<(String, Disk)>, LaunchError> {
    let mut known = Vec::new();
    for Block { volume, file } in blocks {
        let bytes = file.metadata().map_err(LaunchError::system("look at a volume's disk"))?.len();
        let index = u8::try_from(disks.len()).unwrap_or(u8::MAX);
        disks.push(DiskConfig::ReadWrite { file: Some(handed.source(file)), limits });
        known.push((volume, Disk { index, sectors: bytes / SECTOR }));
    }
    Ok(known)
}

fn shared(meeting: &Meeting, handed: &mut Handed) -> Result<FsConfig, LaunchError> {
    let socket = meeting.machine().map_err(LaunchError::system("copy a descriptor"))?;
    Ok(FsConfig { tag: SHARE_TAG.to_string(), socket: handed.source(socket) })
}

/// Network devices, without a network yet.
fn nets(plan: &Plan) -> Vec<NetConfig> {
    let device =
        |slot| NetConfig { mac: network::device_mac(slot).0, mtu: None, limits: NetLimits::default() };
    (0..plan.nets).map(device).collect()
}

/// A machine's disks are files, on whatever device: each is held to the least that was asked for any.
fn limits(resources: &Resources) -> DiskLimits {
    let least = |pick: fn(&IoLimit) -> Option<u64>| resources.io.iter().filter_map(pick).min();
    DiskLimits {
        read_bps: least(|limit| limit.read_bps),
        write_bps: least(|limit| limit.write_bps),
        read_iops: least(|limit| limit.read_iops),
        write_iops: least(|limit| limit.write_iops),
    }
}

fn boot_log(plan: &Plan) -> Result<Option<File>, LaunchError> {
    if !plan.boot_log {
        return Ok(None);
    }
    let path = plan.dir.join("boot.log");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    file.map(Some).map_err(|source| LaunchError::file("create", &path, source))
}

fn memory_file(
    name: &std::ffi::CStr,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<File, LaunchError> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| LaunchError::system("make a memory file")(errno.into()))?;
    let mut file = File::from(fd);
    fill(&mut file).and_then(|()| file.rewind()).map_err(LaunchError::system("fill a memory file"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_has_the_limit_and_the_kernels_share_on_top() {
        let limited = Resources { memory_bytes: Some(64 << 20), ..Resources::default() };
        assert_eq!(memory_mib(&limited), 64 + 1 + 64);
        assert_eq!(memory_mib(&Resources::default()), 512);
        // What a running machine may be given fits into it.
        let most =
            Resources { memory_bytes: Some(most_memory(&Resources::default())), ..Resources::default() };
        assert!(memory_mib(&most) <= 512);
        assert_eq!(most_memory(&limited), 64 << 20);
    }

    #[test]
    fn machine_has_cpus_enough_for_the_share_asked_for() {
        let limited = Resources { cpu_millis: Some(500), ..Resources::default() };
        assert_eq!(vcpus(&limited), 1);
        let quota = Resources { cpu_quota_us: Some(40_000), ..Resources::default() };
        assert_eq!(vcpus(&quota), 1);
        let listed = Resources { cpuset_cpus: Some("0".into()), ..Resources::default() };
        assert_eq!(vcpus(&listed), 1);
        assert!(vcpus(&Resources::default()) >= 1);
    }
}
