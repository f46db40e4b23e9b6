//! From a valid config to the cause of the machine's end.

use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use vmm_sys_util::errno;

use crate::config::{DiskLimits, FileSource, NetLimits, Segment, ValidConfig};
use crate::control::{Command, Control, DiskContent, Event, Received};
use crate::devices::serial::{self, SharedLog};
use crate::devices::virtio::block::DiskHandle;
use crate::devices::virtio::net::NetHandle;
use crate::event_loop::{EventLoop, Token};
use crate::files::{self, FileError, Files};
use crate::jail::{self, JailError};
use crate::kvm::kick::{self, kick};
use crate::kvm::{self, KvmError};
use crate::lifecycle::{ExitCause, Stop, in_words};
use crate::machine::{Machine, MachineError};

/// Stack of a vCPU's thread: the depth of bus and devices.
const VCPU_STACK: usize = 256 << 10;
/// How long the end waits for vCPUs to leave the guest. Only one that is stuck in a write to the
/// boot log takes that long, and it dies with the process.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the machine never ran.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error("Failed to raise the descriptor limit")]
    Limit(#[source] io::Error),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("Failed to leave standard input and output")]
    Stdio(#[source] io::Error),
    #[error("Failed to install a signal handler")]
    Signal(#[source] errno::Error),
    #[error("Failed to wait for events")]
    Events(#[source] io::Error),
    #[error("Failed to start a vCPU's thread")]
    Thread(#[source] io::Error),
    #[error("Failed to tell the supervisor that the machine runs")]
    Supervisor(#[source] crate::control::ControlError),
}

/// Runs the machine to its end, and reports that on the control socket if there is one.
pub fn run(config: &ValidConfig) -> ExitCause {
    set_process_name(&config.id);
    let mut control = match config.control.map(files::control_socket).transpose() {
        Ok(stream) => stream.map(Control::new),
        Err(error) => return setup_failed(&error),
    };
    let (cause, boot_log) = match start(config, control.is_some()) {
        Ok(machine) => run_machine(machine, &mut control),
        Err(error) => (setup_failed(&error), None),
    };
    if let Some(control) = &mut control {
        let boot_log_tail = boot_log.as_ref().and_then(serial::tail);
        let exit = Event::Exit { message: cause.to_string(), cause: cause.clone(), boot_log_tail };
        // Refused if the supervisor is gone; there is nobody else to tell.
        let _ = control.send(&exit);
    }
    if let Some(log) = &boot_log {
        serial::write_rest(log);
    }
    cause
}

/// So that `ps` and `top` tell machines apart; the kernel keeps 15 bytes.
fn set_process_name(id: &str) {
    if let Ok(name) = CString::new(format!("vmm:{id}")) {
        // Fails for no valid string.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Opens all there is to open, enters the jail, builds the machine inside.
fn start(config: &ValidConfig, is_supervised: bool) -> Result<Machine, SetupError> {
    files::raise_limit().map_err(SetupError::Limit)?;
    let files = Files::open(config)?;
    let kvm = kvm::open()?;
    if is_supervised {
        files::detach_stdio().map_err(SetupError::Stdio)?;
    }
    if let Some(jail) = &config.jail {
        jail::enter(jail)?;
    }
    kick::install_handler().map_err(SetupError::Signal)?;
    Ok(Machine::build(config, files, kvm)?)
}

/// Enters the guest on all vCPUs and serves events until there is a cause to end.
fn run_machine(mut machine: Machine, control: &mut Option<Control>) -> (ExitCause, Option<SharedLog>) {
    let (ended, all_ended) = mpsc::channel();
    let mut threads = Vec::new();
    let result = enter_guest(&mut machine, control, &mut threads, &ended);
    drop(ended);
    let cause = match result.and_then(|events| serve(&machine, control, &events)) {
        Ok(cause) => cause,
        Err(error) => setup_failed(&error),
    };
    // Those that have not noticed yet.
    machine.ending.set(cause.clone());
    leave_guest(&threads, &all_ended);
    (cause, machine.boot_log)
}

fn enter_guest(
    machine: &mut Machine,
    control: &mut Option<Control>,
    threads: &mut Vec<JoinHandle<()>>,
    ended: &Sender<()>,
) -> Result<EventLoop, SetupError> {
    let events = EventLoop::new(machine.ending.event(), machine.failure.event(), control.as_ref())
        .map_err(SetupError::Events)?;
    if let Some(control) = control {
        control.send(&Event::Running).map_err(SetupError::Supervisor)?;
    }
    for vcpu in machine.vcpus.drain(..) {
        let ended = ended.clone();
        let thread = Builder::new().name(format!("vcpu{}", vcpu.id)).stack_size(VCPU_STACK);
        let entered = thread.spawn(move || {
            vcpu.run();
            // Dropped, so disconnected, by all: that is the message.
            drop(ended);
        });
        threads.push(entered.map_err(SetupError::Thread)?);
    }
    Ok(events)
}

fn serve(
    machine: &Machine,
    control: &mut Option<Control>,
    events: &EventLoop,
) -> Result<ExitCause, SetupError> {
    loop {
        match events.wait().map_err(SetupError::Events)? {
            Token::Ending => {
                if let Some(cause) = machine.ending.cause() {
                    return Ok(cause.clone());
                }
            }
            Token::DeviceFailure => {
                let silent = || ExitCause::DeviceFailed { reason: "it did not say why".to_owned() };
                return Ok(machine.failure.cause().cloned().unwrap_or_else(silent));
            }
            Token::Control => {
                if let Some(stop) = control.as_mut().and_then(|control| serve_control(machine, control)) {
                    return Ok(ExitCause::HostStopped { by: stop });
                }
            }
        }
    }
}

/// Carries out what the control socket has to say; Some if that is to stop.
fn serve_control(machine: &Machine, control: &mut Control) -> Option<Stop> {
    let reply = match control.receive() {
        Ok(Received::Partial) => return None,
        Ok(Received::Closed) => return Some(Stop::SocketClosed),
        Ok(Received::Command(Command::Stop, _)) => return Some(Stop::Command),
        Ok(Received::Command(Command::FillDisk { disk, content }, files)) => {
            answer(fill_disk(machine, disk, content, files).map(Some))
        }
        Ok(Received::Command(Command::LimitDisk { disk, limits }, _)) => {
            answer(limit_disk(machine, disk, &limits).map(|()| None))
        }
        Ok(Received::Command(Command::PlugNet { net, tap, limits }, files)) => {
            answer(plug_net(machine, net, tap, &limits, files).map(|()| None))
        }
        Ok(Received::Command(Command::UnplugNet { net }, _)) => {
            answer(unplug_net(machine, net).map(|()| None))
        }
        Ok(Received::Command(Command::LimitNet { net, limits }, _)) => {
            answer(limit_net(machine, net, &limits).map(|()| None))
        }
        Err(_) => return Some(Stop::ProtocolError),
    };
    control.send(&reply).err().map(|_| Stop::SocketClosed)
}

fn answer(outcome: Result<Option<u64>, String>) -> Event {
    match outcome {
        Ok(sectors) => Event::Done { sectors },
        Err(message) => Event::Failed { message },
    }
}

fn find_disk(machine: &Machine, disk: usize) -> Result<&DiskHandle, String> {
    machine.handles.disks.get(disk).ok_or_else(|| format!("There is no disk {disk}"))
}

fn limit_disk(machine: &Machine, disk: usize, limits: &DiskLimits) -> Result<(), String> {
    let handle = find_disk(machine, disk)?;
    crate::config::check_limits(disk, limits).map_err(|error| error.to_string())?;
    handle.limit(limits);
    Ok(())
}

fn fill_disk(
    machine: &Machine,
    disk: usize,
    content: DiskContent,
    files: Vec<OwnedFd>,
) -> Result<u64, String> {
    let slot = find_disk(machine, disk)?;
    let mut files = Sent::new(files);
    let filled = match content {
        DiskContent::Segments(segments) => {
            crate::config::check_segments(disk, &segments).map_err(|error| error.to_string())?;
            let open = |Segment { file, start_sector }: Segment| Ok((files.take(file)?, start_sector));
            slot.fill_read_only(segments.into_iter().map(open).collect::<Result<_, String>>()?)
        }
        DiskContent::File(file) => slot.fill_read_write(files.take(file)?),
    };
    filled.map_err(|error| in_words(&error))
}

fn find_net(machine: &Machine, net: usize) -> Result<&NetHandle, String> {
    machine.handles.nets.get(net).ok_or_else(|| format!("There is no network device {net}"))
}

fn plug_net(
    machine: &Machine,
    net: usize,
    tap: FileSource,
    limits: &NetLimits,
    files: Vec<OwnedFd>,
) -> Result<(), String> {
    let handle = find_net(machine, net)?;
    crate::config::check_net_limits(net, limits).map_err(|error| error.to_string())?;
    let tap = Sent::new(files).take(tap)?;
    handle.plug(tap, limits).map_err(|error| in_words(&error))
}

fn unplug_net(machine: &Machine, net: usize) -> Result<(), String> {
    find_net(machine, net)?.unplug().map_err(|error| in_words(&error))
}

fn limit_net(machine: &Machine, net: usize, limits: &NetLimits) -> Result<(), String> {
    let handle = find_net(machine, net)?;
    crate::config::check_net_limits(net, limits).map_err(|error| error.to_string())?;
    handle.limit(limits);
    Ok(())
}

/// Descriptors that came with a command.
struct Sent(Vec<Option<File>>);

impl Sent {
    fn new(files: Vec<OwnedFd>) -> Self {
        Self(files.into_iter().map(|file| Some(File::from(file))).collect())
    }

    /// The file that a field of the command names.
    fn take(&mut self, source: FileSource) -> Result<File, String> {
        match source {
            FileSource::Path(path) => {
                Err(format!("{} cannot be opened from inside the jail; send a descriptor", path.display()))
            }
            FileSource::Fd(index) => usize::try_from(index)
                .ok()
                .and_then(|index| self.0.get_mut(index)?.take())
                .ok_or_else(|| format!("Descriptor {index} was not sent, or is named twice")),
        }
    }
}

/// Takes every vCPU out of the guest, so that after this none executes an instruction of it.
fn leave_guest(threads: &[JoinHandle<()>], all_ended: &Receiver<()>) {
    threads.iter().for_each(kick);
    // Nothing is ever sent: the channel disconnects when the last thread has ended.
    let _ = all_ended.recv_timeout(LEAVE_TIMEOUT);
}

fn setup_failed(error: &dyn Error) -> ExitCause {
    ExitCause::SetupFailed { reason: in_words(error) }
}
