//! Several containers in one machine: the second's disks come through slots while the first runs.
//!
//! No command makes pods yet, so this speaks to hull-vmm and to the agent directly.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hull_engine::image::{self, Root};
use hull_engine::sandbox::agent::{self, Address, Agent};
use hull_engine::sandbox::{disk, slots};
use hull_guest::protocol::{
    self, AGENT_PORT, ContainerArgs, ContainerSpec, ContainerState, Outcome, Request, RootSource,
    SandboxConfig, Stream,
};
use hull_vmm::config::{DiskConfig, DiskLimits, FileSource, JailConfig, Segment, VmConfig, VsockConfig};
use hull_vmm::control::{DiskContent, Event};

use hull_tests::{cpio, paths, unique};

use crate::alone;

/// Descriptor of the control socket in hull-vmm.
const CONTROL: i32 = 20;
/// Nobody in particular.
const UID: u32 = 61_235;
/// Slots for as many more containers.
const SLOTS: u8 = 4;
const FIRST_LOWER_SLOT: u8 = 2;
const FIRST_UPPER_SLOT: u8 = FIRST_LOWER_SLOT + SLOTS;

/// A machine with one container's disks, and slots.
struct Machine {
    child: Child,
    control: UnixStream,
    agent: Agent,
    root: Root,
    folder: PathBuf,
}

impl Machine {
    fn boot() -> Machine {
        let folder = paths::temporary().join(unique("vm"));
        fs::create_dir_all(&folder).unwrap();
        let store = hull_engine::store::Store::open(&paths::shared_root(), &paths::shared_run()).unwrap();
        let image = image::catalog::resolve(&store, &Default::default(), hull_tests::BUSYBOX).unwrap();
        let root = image::catalog::root_for(&store, &image).unwrap();

        let initrd = folder.join("initrd");
        fs::write(
            &initrd,
            cpio::archive(&[cpio::File::program("init", &fs::read(paths::binary("hull-init")).unwrap())]),
        )
        .unwrap();
        disk::create(&folder.join("first.ext4"), disk::DEFAULT_SIZE).unwrap();
        let socket = folder.join("vsock");
        let config = VmConfig {
            id: "slots".to_owned(),
            vcpus: 1,
            memory_mib: 256,
            kernel: FileSource::Path(paths::binary("vmlinux")),
            initrd: Some(FileSource::Path(initrd)),
            cmdline: String::new(),
            disks: disks_and_slots(&root, &folder),
            nets: Vec::new(),
            vsock: Some(VsockConfig { cid: 3, socket: FileSource::Path(socket.clone()) }),
            fs: None,
            boot_log: None,
            jail: Some(JailConfig { uid: UID, gid: UID }),
            control: Some(CONTROL),
        };
        let file = folder.join("vm.json");
        fs::write(&file, serde_json::to_vec(&config).unwrap()).unwrap();

        let (control, theirs) = UnixStream::pair().unwrap();
        control.set_read_timeout(Some(paths::patience())).unwrap();
        let mut command = Command::new(paths::binary("hull-vmm"));
        command.arg("--config").arg(file);
        let number = theirs.as_raw_fd();
        // SAFETY: dup2(2) is async-signal-safe, and the socket is open until after the spawn.
        unsafe {
            command.pre_exec(move || {
                nix::errno::Errno::result(libc::dup2(number, CONTROL)).map(drop).map_err(Into::into)
            });
        }
        let child = command.spawn().unwrap();
        drop(theirs);
        let agent = Agent::new(Address::Vsock { socket, port: AGENT_PORT });
        let mut machine = Machine { child, control, agent, root, folder };
        assert!(matches!(machine.event(), Event::Running));
        let reply = machine.agent.hello(&machine.control, Duration::from_secs(120)).unwrap();
        assert_ne!(reply.kernel, "");
        machine.agent.done(&Request::ConfigureSandbox(SandboxConfig::default())).unwrap();
        machine
    }

    fn event(&mut self) -> Event {
        protocol::read_frame(&mut self.control).unwrap()
    }

    /// Puts content behind a slot. The machine opens nothing itself by then: files go as descriptors,
    /// which `FileSource::Fd` counts from zero.
    fn fill(&self, slot: u8, mut content: DiskContent) -> Result<u64, slots::SlotError> {
        let mut files = Vec::new();
        let mut hand_over = |source: &mut FileSource| {
            let FileSource::Path(path) = &*source else { return };
            files.push(fs::File::options().read(true).write(slot >= FIRST_UPPER_SLOT).open(path).unwrap());
            *source = FileSource::Fd(i32::try_from(files.len() - 1).unwrap());
        };
        match &mut content {
            DiskContent::Segments(all) => all.iter_mut().for_each(|segment| hand_over(&mut segment.file)),
            DiskContent::File(file) => hand_over(file),
        }
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        slots::fill(&self.control, slot.into(), content, &fds)
    }

    /// Disks for one more container, with `bytes` to write to, behind the slots numbered `which`.
    fn add_disks(&self, which: u8, bytes: u64) -> RootSource {
        let file = self.folder.join(format!("{which}.ext4"));
        disk::create(&file, bytes).unwrap();
        let (lower, upper) = (FIRST_LOWER_SLOT + which, FIRST_UPPER_SLOT + which);
        let lower_sectors = self.fill(lower, DiskContent::Segments(segments(&self.root))).unwrap();
        let upper_sectors = self.fill(upper, DiskContent::File(FileSource::Path(file))).unwrap();
        assert_eq!((lower_sectors, upper_sectors), (self.root.total_sectors, bytes / 512));
        disks((lower, lower_sectors), (upper, upper_sectors))
    }

    /// Creates a container of `script`, with its stdout.
    fn create(&self, id: &str, source: RootSource, script: &str) -> UnixStream {
        self.agent.create(spec(id, source, script), agent::LIMIT).unwrap();
        self.agent.attach(id, Stream::Stdout).unwrap()
    }

    fn start(&self, id: &str) {
        self.agent.done(&Request::Start(ContainerArgs { container: id.to_owned() })).unwrap();
    }

    fn wait(&self, id: &str) -> u8 {
        let waiting = self.agent.wait_begin(id).unwrap();
        self.agent.wait_reply(&waiting).unwrap().code
    }

    fn states(&self) -> Vec<(String, bool)> {
        let outcome = self.agent.call(&Request::List, hull_tests::paths::patience()).unwrap();
        let Outcome::Containers(all) = outcome else { panic!("no list") };
        all.into_iter().map(|one| (one.id, matches!(one.state, ContainerState::Running { .. }))).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn disks_and_slots(root: &Root, folder: &Path) -> Vec<DiskConfig> {
    let limits = DiskLimits::default();
    let first = Some(FileSource::Path(folder.join("first.ext4")));
    let mut disks = vec![
        DiskConfig::ReadOnly { segments: segments(root), limits },
        DiskConfig::ReadWrite { file: first, limits },
    ];
    disks.extend((0..SLOTS).map(|_| DiskConfig::ReadOnly { segments: Vec::new(), limits }));
    disks.extend((0..SLOTS).map(|_| DiskConfig::ReadWrite { file: None, limits }));
    disks
}

fn segments(root: &Root) -> Vec<Segment> {
    let layers = root.layers.iter().map(|layer| (layer.path.clone(), layer.start_sector));
    let all = std::iter::once((root.metadata.clone(), 0)).chain(layers);
    all.map(|(path, start_sector)| Segment { file: FileSource::Path(path), start_sector }).collect()
}

fn spec(id: &str, source: RootSource, script: &str) -> ContainerSpec {
    let spec = serde_json::json!({
        "id": id, "hostname": "pod",
        "root": {"source": source, "readonly": false},
        "process": {
            "args": ["sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/", "user": "", "terminal": null, "stdin": false,
            "capabilities": [], "no_new_privileges": true, "seccomp": "default", "rlimits": [], "init": false,
        },
        "mounts": [], "files": [], "masked_paths": [], "readonly_paths": [], "resources": {}, "cgroup": null,
    });
    serde_json::from_value(spec).unwrap()
}

fn disks(lower: (u8, u64), upper: (u8, u64)) -> RootSource {
    let disk = |(index, sectors)| protocol::Disk { index, sectors };
    RootSource::Disks { lower: disk(lower), upper: disk(upper) }
}

#[test]
fn second_container_enters_through_slots_while_the_first_runs() {
    let _turn = alone();
    let mut machine = Machine::boot();
    let (first, second) = ("1".repeat(64), "2".repeat(64));
    let source = disks((0, machine.root.total_sectors), (1, disk::DEFAULT_SIZE / 512));
    let mut first_out =
        machine.create(&first, source, "echo first; while [ ! -e /stop ]; do sleep 0.1; done");
    machine.start(&first);
    let mut line = [0; 6];
    first_out.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"first\n");

    let source = machine.add_disks(0, disk::DEFAULT_SIZE);
    let mut second_out =
        machine.create(&second, source, "echo second > /tmp/own; cat /tmp/own; ps | grep -c firs[t]; exit 5");
    machine.start(&second);
    assert_eq!(machine.wait(&second), 5);
    let mut text = String::new();
    second_out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "second\n0\n");

    // The first has not noticed; an end can be asked for again and again, until Delete.
    assert_eq!(machine.states(), [(first.clone(), true), (second.clone(), false)]);
    assert_eq!(machine.wait(&second), 5);
    machine.agent.done(&Request::Delete(ContainerArgs { container: second.clone() })).unwrap();
    assert!(machine.agent.wait_begin(&second).and_then(|w| machine.agent.wait_reply(&w)).is_err());
    machine.agent.done(&Request::Delete(ContainerArgs { container: first })).unwrap();
    assert_eq!(machine.states(), []);

    machine.agent.done(&Request::Shutdown).unwrap();
    assert!(matches!(machine.event(), Event::Exit { .. }));
}

#[test]
fn every_slot_takes_a_disk_of_the_size_asked_for_and_nothing_twice() {
    let _turn = alone();
    let machine = Machine::boot();
    let sizes = [64 << 20, 1 << 30, 37 << 30, 1 << 40];
    for (which, bytes) in (0..SLOTS).zip(sizes) {
        let id = which.to_string().repeat(64);
        let source = machine.add_disks(which, bytes);
        let mut out = machine.create(&id, source, "df -k / | tail -n 1; echo there > /file; cat /file");
        machine.start(&id);
        assert_eq!(machine.wait(&id), 0);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        // All but the file system's own tables and journal.
        let kib: u64 = words[1].parse().unwrap();
        assert!(kib < bytes >> 10 && kib > (bytes >> 10) / 100 * 90, "{bytes}: {text}");
        assert_eq!(words.last(), Some(&"there"), "{text}");
    }
    for slot in [FIRST_LOWER_SLOT, FIRST_UPPER_SLOT + SLOTS] {
        let again = machine.fill(slot, DiskContent::Segments(segments(&machine.root)));
        assert!(matches!(again, Err(slots::SlotError::Refused(_))), "{again:?}");
    }
}

#[test]
fn disk_is_held_to_its_rate_while_it_runs() {
    let _turn = alone();
    let machine = Machine::boot();
    let id = "1".repeat(64);
    let source = disks((0, machine.root.total_sectors), (1, disk::DEFAULT_SIZE / 512));
    let limits = DiskLimits { write_bps: Some(1 << 20), ..DiskLimits::default() };
    slots::limit(&machine.control, 1, limits).unwrap();
    let script = "dd if=/dev/zero of=/file bs=256k count=16 conv=fsync 2>/dev/null && echo written; \
                  dd if=/dev/zero of=/more bs=256k count=512 conv=fsync 2>/dev/null && echo more";
    let mut out = machine.create(&id, source, script);
    let begin = Instant::now();
    machine.start(&id);
    let mut line = [0; 8];
    out.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"written\n");
    // Four seconds' worth, of which one is there at once.
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    // Two minutes' worth: what waits goes on when the limit is lifted.
    slots::limit(&machine.control, 1, DiskLimits::default()).unwrap();
    let mut line = [0; 5];
    out.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"more\n");
    assert_eq!(machine.wait(&id), 0);
}

#[test]
fn agent_outlives_what_is_not_its_protocol() {
    let _turn = alone();
    let machine = Machine::boot();
    let socket = machine.folder.join("vsock");
    let connect = |greeting: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(greeting).unwrap();
        let mut answer = Vec::new();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    assert_eq!(connect(b"HELLO\n"), b"", "only CONNECT is understood");
    assert_eq!(connect(b"CONNECT 99\n"), b"", "nothing listens there");
    // A frame longer than any may be, one that is no JSON, one that asks for what there is not.
    for frame in [&b"\xff\xff\xff\xff"[..], b"\x03\0\0\0{x}", b"\x14\0\0\0{\"call\":\"take_over\"}"] {
        let answer = connect(&[b"CONNECT 1024\n", frame].concat());
        assert!(answer.starts_with(b"OK "), "{}", answer.escape_ascii());
    }
    assert_eq!(machine.states(), []);
}
