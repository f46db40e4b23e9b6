//! Can the KVM of this host run a guest of ours?
//!
//! Some hosts have a /dev/kvm of which every ioctl answers, but which interprets guest kernel code in
//! software and lacks instructions that any kernel has. So a nano guest runs those, one after the
//! other, writing down which one it is at: [`guest`] is its code, this module its host.

mod guest;

use std::ffi::c_int;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};
use vmm_sys_util::errno;

use super::vcpu::internal_error_details;
use super::vm::Vm;
use super::{KvmError, open_advice, refused};
use crate::arch::cpuid;
use crate::memory::{self, GuestMemory, MemoryError};

/// The guest runs for microseconds, on a slow host for milliseconds. One that takes this long hangs.
const WATCHDOG: Duration = Duration::from_secs(3);

/// What the probe found, and the line that `hull-vmm --probe` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub works: bool,
    /// For a person: why not, or what was tried.
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("/dev/kvm cannot be used: {}", open_advice(.0))]
    Open(errno::Error),
    #[error("/dev/kvm is there, but {0}")]
    Kvm(#[from] KvmError),
    #[error("no memory for a test guest: {0}")]
    Memory(#[from] MemoryError),
    #[error("the test guest could not be written: {0}")]
    Write(#[from] GuestMemoryError),
    #[error("/dev/kvm here is a KVM that emulates guest kernel code and cannot run `{instruction}` ({how})")]
    Instruction { instruction: &'static str, how: String },
    #[error("a test guest hung at `{0}`")]
    Hung(&'static str),
    #[error("the test guest's thread could not be started: {0}")]
    Thread(io::Error),
}

/// Runs the probe. Returns within a few seconds whatever the host's KVM does; a thread stuck in it
/// may stay behind.
pub fn probe() -> Verdict {
    match run_guest() {
        Ok(()) => Verdict { works: true, reason: "a test guest ran to its end".into() },
        Err(error) => Verdict { works: false, reason: error.to_string() },
    }
}

/// The verdict as a line of JSON, without the newline.
pub fn probe_json() -> String {
    // Cannot fail: a flag and a text.
    serde_json::to_string(&probe()).unwrap_or_default()
}

fn run_guest() -> Result<(), ProbeError> {
    let kvm = Kvm::new().map_err(ProbeError::Open)?;
    let memory = Arc::new(memory::allocate(guest::MEMORY)?);
    let cpuid = supported_cpuid(&kvm)?;
    guest::write(&memory)?;
    let vm = Vm::new(&kvm, memory.clone())?;
    let vcpu = vm.create_vcpu(0)?;
    vcpu.set_cpuid2(&cpuid).map_err(refused("set a vCPU's CPUID"))?;
    guest::set_registers(&vcpu, &guest::Offered::from_cpuid(&cpuid))?;
    let (sender, receiver) = mpsc::channel();
    let runner = move || {
        let _ = sender.send(enter(vcpu));
        drop(vm);
    };
    thread::Builder::new().name("probe".into()).spawn(runner).map_err(ProbeError::Thread)?;
    match receiver.recv_timeout(WATCHDOG) {
        Ok(Stopped::Finished) => Ok(()),
        Ok(Stopped::At(how)) => Err(ProbeError::Instruction { instruction: instruction_at(&memory), how }),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(ProbeError::Hung(instruction_at(&memory)))
        }
    }
}

fn supported_cpuid(kvm: &Kvm) -> Result<CpuId, KvmError> {
    let mut cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(refused("list the CPU features it supports"))?;
    cpuid::filter(&mut cpuid, false);
    cpuid::set_topology(&mut cpuid, 0, 1);
    Ok(cpuid)
}

/// The step that the guest wrote down before it went on.
fn instruction_at(memory: &GuestMemory) -> &'static str {
    let step = memory.read_obj::<u8>(GuestAddress(guest::STEP)).unwrap_or(0);
    guest::STEPS.get(usize::from(step)).copied().unwrap_or("an unknown instruction")
}

enum Stopped {
    Finished,
    At(String),
}

fn enter(mut vcpu: VcpuFd) -> Stopped {
    loop {
        return match vcpu.run() {
            Ok(VcpuExit::IoOut(guest::DONE_PORT, _)) => Stopped::Finished,
            Ok(VcpuExit::InternalError) => {
                let (suberror, _) = internal_error_details(vcpu.get_kvm_run());
                Stopped::At(format!("KVM internal error, suberror {suberror}"))
            }
            Ok(VcpuExit::Shutdown) => Stopped::At("the guest faulted".into()),
            Ok(VcpuExit::Intr) => continue,
            Ok(other) => Stopped::At(format!("unexpected exit {other:?}")),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => continue,
            Err(error) => Stopped::At(format!("KVM_RUN: {error}")),
        };
    }
}

/// Prints the verdict and leaves at once: a vCPU stuck in the kernel must not hold up the answer.
pub fn print_and_exit() -> ! {
    let mut line = probe_json();
    line.push('\n');
    let written = io::stdout().write_all(line.as_bytes()).and_then(|()| io::stdout().flush());
    let code: c_int = written.is_err().into();
    // SAFETY: ends the process without running anything of it; the output is flushed.
    unsafe { libc::_exit(code) }
}
