//! The binary as its supervisor sees it, with nano guests: ELF kernels of a few instructions. They run
//! on every KVM, also on one that cannot run Linux; without any, these tests have nothing to test.

// The lint's exception for tests does not reach their helper functions.
#![allow(clippy::unwrap_used)]

mod nano;

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hull_vmm::config::{DiskLimits, FileSource, NetLimits};
use hull_vmm::control::{Command as ControlCommand, DiskContent, Event, frame};
use hull_vmm::lifecycle::{ExitCause, Stop};
use serde_json::json;

use nano::Guest;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Descriptor of the control socket in the child.
const CONTROL: i32 = 20;
/// Nobody in particular, for the jail.
const UID: u32 = 61_234;

fn has_kvm() -> bool {
    let there = fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    if !there {
        eprintln!("skipped: no usable /dev/kvm");
    }
    there
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A folder with a nano kernel, and the config of a machine for it.
fn machine(guest: Guest) -> (tempfile::TempDir, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("kernel");
    fs::write(&kernel, guest.elf()).unwrap();
    let config = json!({ "id": "nano", "vcpus": 1, "memory_mib": 32, "kernel": { "path": kernel } });
    (folder, config)
}

fn command(folder: &Path, config: &serde_json::Value) -> Command {
    let path = folder.join("vm.json");
    fs::write(&path, config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hull-vmm"));
    command.arg("--config").arg(path);
    command
}

fn run(guest: Guest, edit: impl FnOnce(&mut serde_json::Value)) -> Output {
    let (folder, mut config) = machine(guest);
    edit(&mut config);
    command(folder.path(), &config).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A machine under a control socket.
struct Supervised {
    child: Child,
    control: UnixStream,
    _folder: tempfile::TempDir,
}

impl Supervised {
    fn start(guest: Guest, edit: impl FnOnce(&mut serde_json::Value)) -> Self {
        let (folder, mut config) = machine(guest);
        config["control"] = CONTROL.into();
        edit(&mut config);
        let (control, theirs) = UnixStream::pair().unwrap();
        control.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut command = command(folder.path(), &config);
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        let fd = theirs.as_raw_fd();
        // SAFETY: dup2 is async-signal-safe.
        unsafe {
            command.pre_exec(move || match libc::dup2(fd, CONTROL) {
                CONTROL => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let child = command.spawn().unwrap();
        Self { child, control, _folder: folder }
    }

    fn event(&mut self) -> Event {
        let mut prefix = [0; frame::PREFIX];
        self.control.read_exact(&mut prefix).unwrap();
        let mut body = vec![0; frame::body_length(prefix).unwrap()];
        self.control.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn send(&mut self, command: &ControlCommand) {
        self.control.write_all(&frame::encode(command).unwrap()).unwrap();
    }

    /// The same, with a descriptor.
    fn send_with(&mut self, command: &ControlCommand, file: &fs::File) {
        let (bytes, fds) = (frame::encode(command).unwrap(), [file.as_raw_fd()]);
        let rights = [ControlMessage::ScmRights(&fds)];
        let slices = [IoSlice::new(&bytes)];
        sendmsg::<()>(self.control.as_raw_fd(), &slices, &rights, MsgFlags::empty(), None).unwrap();
    }

    fn exit_cause(&mut self) -> ExitCause {
        match self.event() {
            Event::Exit { cause, message, .. } => {
                assert_eq!(message, cause.to_string());
                cause
            }
            other => panic!("{other:?} instead of the exit"),
        }
    }

    fn proc(&self, name: &str) -> std::path::PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn guest_that_resets_the_machine_ends_it_with_success() {
    if has_kvm() {
        let output = run(Guest::Reset, |_| {});
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn reset_with_the_warm_boot_flag_is_a_panic() {
    if has_kvm() {
        let output = run(Guest::Panic, |_| {});
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

#[test]
fn triple_fault_is_told_in_words() {
    if has_kvm() {
        let output = run(Guest::TripleFault, |_| {});
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("triple fault"), "{}", stderr(&output));
    }
}

#[test]
fn setup_failure_is_one_line_with_its_reason() {
    if !has_kvm() {
        return;
    }
    for (edit, word) in [
        (json!({ "kernel": { "path": "/nowhere/vmlinux" } }), "/nowhere/vmlinux"),
        (json!({ "kernel": { "path": "/etc/passwd" } }), "no kernel"),
        (json!({ "initrd": { "fd": 99 } }), "descriptor 99"),
        (json!({ "memory_mib": 1 }), "1 MiB"),
        (json!({ "surplus": 1 }), "surplus"),
    ] {
        let output = run(Guest::Reset, |config| {
            config.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone());
        });
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        let line = text.lines().last().unwrap_or_default();
        assert!(line.starts_with("hull-vmm: ") && line.contains(word), "{text}");
    }
}

#[test]
fn serial_output_reaches_the_boot_log_and_the_exit_event() {
    if has_kvm() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut machine = Supervised::start(Guest::SayHello, |config| {
            config["boot_log"] = json!({ "path": log.path() });
        });
        assert_eq!(machine.event(), Event::Running);
        let Event::Exit { cause, boot_log_tail, .. } = machine.event() else { panic!() };
        assert_eq!((cause, boot_log_tail.as_deref()), (ExitCause::Reset, Some("hi")));
        assert!(machine.child.wait().unwrap().success());
        assert_eq!(fs::read(log.path()).unwrap(), b"hi");
    }
}

#[test]
fn boot_log_that_nobody_reads_does_not_keep_the_machine_from_ending() {
    if has_kvm() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("log");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let log = fs::File::options().read(true).write(true).open(&fifo).unwrap();
        let mut machine = Supervised::start(Guest::TalkOn, |config| {
            config["boot_log"] = json!({ "path": fifo });
        });
        assert_eq!(machine.event(), Event::Running);
        wait_until_full(&log);
        machine.send(&ControlCommand::Stop);
        assert_eq!(machine.exit_cause(), ExitCause::HostStopped { by: Stop::Command });
        machine.child.wait().unwrap();
    }
}

/// Waits until a pipe takes nothing more.
fn wait_until_full(pipe: &fs::File) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut ends = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
    while poll(&mut ends, PollTimeout::ZERO).unwrap() > 0 {
        assert!(Instant::now() < deadline, "the pipe does not fill up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn stop_command_ends_a_guest_that_spins() {
    if has_kvm() {
        let mut machine = Supervised::start(Guest::Spin, |config| config["vcpus"] = 2.into());
        assert_eq!(machine.event(), Event::Running);
        machine.send(&ControlCommand::Stop);
        assert_eq!(machine.exit_cause(), ExitCause::HostStopped { by: Stop::Command });
        assert_eq!(machine.child.wait().unwrap().code(), Some(1));
    }
}

#[test]
fn machine_dies_with_its_supervisor() {
    if has_kvm() {
        let mut machine = Supervised::start(Guest::Spin, |_| {});
        assert_eq!(machine.event(), Event::Running);
        machine.control.shutdown(std::net::Shutdown::Both).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while machine.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "still alive");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn setup_failure_travels_on_the_control_socket() {
    let mut machine = Supervised::start(Guest::Reset, |config| {
        config["kernel"] = json!({ "path": "/nowhere/vmlinux" });
    });
    let ExitCause::SetupFailed { reason } = machine.exit_cause() else { panic!() };
    assert!(reason.contains("/nowhere/vmlinux"), "{reason}");
}

#[test]
fn commands_that_cannot_be_carried_out_fail_and_change_nothing() {
    if !has_kvm() {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(4096).unwrap();
    let mut machine = Supervised::start(Guest::Spin, |config| {
        config["disks"] = json!([
            { "kind": "read_only", "segments": [] },
            { "kind": "read_write", "file": { "path": file.path() }, "limits": { "write_bps": 4096 } },
        ]);
    });
    assert_eq!(machine.event(), Event::Running);
    let fill = |disk, file| ControlCommand::FillDisk { disk, content: DiskContent::File(file) };
    let limit = |disk, read_bps| {
        let limits = DiskLimits { read_bps: Some(read_bps), ..DiskLimits::default() };
        ControlCommand::LimitDisk { disk, limits }
    };
    for (command, why) in [
        (fill(2, FileSource::Fd(0)), "There is no disk 2"),
        (fill(usize::MAX, FileSource::Fd(0)), "There is no disk"),
        (fill(0, FileSource::Fd(0)), "Descriptor 0 was not sent"),
        (fill(0, FileSource::Fd(-1)), "Descriptor -1 was not sent"),
        (fill(0, FileSource::Path("/x".into())), "/x cannot be opened"),
        (limit(2, 1), "There is no disk 2"),
        (limit(usize::MAX, 1), "There is no disk"),
        (limit(1, 0), "read_bps is 0"),
    ] {
        machine.send(&command);
        let Event::Failed { message } = machine.event() else { panic!("{command:?} did not fail") };
        assert!(message.contains(why), "{command:?}: {message}");
    }
    for disk in [0, 1] {
        machine.send(&limit(disk, u64::MAX));
        assert_eq!(machine.event(), Event::Done { sectors: None });
    }
    machine.send(&ControlCommand::Stop);
    assert_eq!(machine.exit_cause(), ExitCause::HostStopped { by: Stop::Command });
}

#[test]
fn cables_are_plugged_with_what_fits_and_refused_with_a_reason() {
    if !has_kvm() || !is_root() {
        return;
    }
    let mut machine = Supervised::start(Guest::Spin, |config| {
        config["jail"] = json!({ "uid": UID, "gid": UID });
        config["nets"] = json!([
            { "mac": "02:68:75:6c:00:00" },
            { "mac": "02:68:75:6c:00:01", "mtu": 9000, "limits": { "rx_bps": 1 } },
        ]);
    });
    assert_eq!(machine.event(), Event::Running);
    let plug = |net, tap, limits| ControlCommand::PlugNet { net, tap, limits };
    let none = NetLimits::default();
    for (command, why) in [
        (plug(2, FileSource::Fd(0), none), "There is no network device 2"),
        (plug(0, FileSource::Fd(0), none), "Descriptor 0 was not sent"),
        (plug(0, FileSource::Path("/x".into()), none), "/x cannot be opened"),
        (plug(0, FileSource::Fd(0), NetLimits { tx_pps: Some(0), ..none }), "tx_pps is 0"),
        (ControlCommand::UnplugNet { net: 2 }, "There is no network device 2"),
        (ControlCommand::UnplugNet { net: 1 }, "is not plugged in"),
        (ControlCommand::LimitNet { net: 2, limits: none }, "There is no network device 2"),
        (ControlCommand::LimitNet { net: 1, limits: NetLimits { rx_bps: Some(0), ..none } }, "rx_bps is 0"),
    ] {
        machine.send(&command);
        assert_failed(&machine.event(), why);
    }
    machine.send_with(&plug(0, FileSource::Fd(0), none), &fs::File::open("/dev/null").unwrap());
    assert_failed(&machine.event(), "not a tap's");
    if let Some(tap) = tap() {
        for _ in 0..2 {
            machine.send_with(&plug(0, FileSource::Fd(0), none), &tap);
            assert_eq!(machine.event(), Event::Done { sectors: None });
            machine.send_with(&plug(0, FileSource::Fd(0), none), &tap);
            assert_failed(&machine.event(), "is plugged in already");
            machine.send(&ControlCommand::LimitNet { net: 0, limits: NetLimits { tx_bps: Some(1), ..none } });
            assert_eq!(machine.event(), Event::Done { sectors: None });
            machine.send(&ControlCommand::UnplugNet { net: 0 });
            assert_eq!(machine.event(), Event::Done { sectors: None });
        }
    }
    machine.send(&ControlCommand::Stop);
    assert_eq!(machine.exit_cause(), ExitCause::HostStopped { by: Stop::Command });
}

fn assert_failed(event: &Event, why: &str) {
    match event {
        Event::Failed { message } => assert!(message.contains(why), "{message}"),
        other => panic!("{other:?} instead of a failure: {why}"),
    }
}

/// A tap that goes with its last descriptor. None where there are none to be had.
fn tap() -> Option<fs::File> {
    let tap = fs::File::options().read(true).write(true).open("/dev/net/tun").ok()?;
    // SAFETY: all fields of ifreq may be zero: the kernel chooses the name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = u16::try_from(flags).unwrap().cast_signed();
    // SAFETY: TUNSETIFF reads a struct ifreq, which lives as long as the call.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    (result == 0).then_some(tap)
}

#[test]
fn jailed_process_has_nothing_to_give_away() {
    if !has_kvm() {
        return;
    }
    let mut machine = Supervised::start(Guest::Spin, |config| {
        config["jail"] = json!({ "uid": UID, "gid": UID });
    });
    assert_eq!(machine.event(), Event::Running);
    let status = fs::read_to_string(machine.proc("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    if !is_root() {
        // Its /proc is closed to us from here on: that is what PR_SET_DUMPABLE is for.
        assert!(fs::read_link(machine.proc("root")).is_err());
        return;
    }
    assert_eq!(field("Uid:"), vec![UID.to_string(); 4]);
    assert_eq!(field("Gid:"), vec![UID.to_string(); 4]);
    assert!(field("Groups:").is_empty());
    for namespace in ["mnt", "net", "ipc", "uts"] {
        let name = format!("ns/{namespace}");
        let ours = fs::read_link(format!("/proc/self/{name}")).unwrap();
        assert_ne!(fs::read_link(machine.proc(&name)).unwrap(), ours, "{namespace}");
    }
    assert_eq!(fs::read_dir(machine.proc("root")).unwrap().count(), 0, "root is empty");
    assert!(fs::File::create(machine.proc("root/x")).is_err(), "root is read-only");
    let mounts = fs::read_to_string(machine.proc("mountinfo")).unwrap();
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    for descriptor in fs::read_dir(machine.proc("fd")).unwrap() {
        let target = fs::read_link(descriptor.unwrap().path()).unwrap();
        assert_ne!(target, Path::new("/dev/kvm"), "closed once the VM exists");
    }
}

#[test]
fn descriptors_that_the_config_does_not_name_are_closed() {
    if !has_kvm() {
        return;
    }
    let leaked = fs::File::open("/etc/passwd").unwrap();
    // SAFETY: makes the descriptor survive exec; only a number is passed.
    assert_eq!(unsafe { libc::fcntl(leaked.as_raw_fd(), libc::F_SETFD, 0) }, 0);
    let mut machine = Supervised::start(Guest::Spin, |_| {});
    assert_eq!(machine.event(), Event::Running);
    for descriptor in fs::read_dir(machine.proc("fd")).unwrap() {
        let target = fs::read_link(descriptor.unwrap().path()).unwrap();
        assert_ne!(target, Path::new("/etc/passwd"));
    }
}

#[test]
fn probe_answers_with_one_line_of_json() {
    let output = Command::new(env!("CARGO_BIN_EXE_hull-vmm")).arg("--probe").output().unwrap();
    assert!(output.status.success());
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(verdict["works"].is_boolean());
    assert!(!verdict["reason"].as_str().unwrap().is_empty());
}

#[test]
fn arguments_that_are_not_understood_are_named() {
    for arguments in [&["--frobnicate"][..], &[], &["--config"], &["--config-fd", "x"], &["--probe", "y"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_hull-vmm")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{arguments:?}");
    }
}
