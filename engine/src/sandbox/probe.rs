//! Whether KVM works here: asked of `hull-vmm --probe`, which runs a one-page guest, and remembered
//! for this boot.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::paths;

/// What `hull-vmm --probe` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub works: bool,
    /// Why not, in words for the user; empty when it works.
    pub reason: String,
}

/// A verdict and the boot it was found in. The host's KVM does not change before the next.
#[derive(Serialize, Deserialize)]
struct Cached {
    boot_id: String,
    verdict: Verdict,
}

/// The verdict, from the run folder if it is of this boot. What is cheap to see and can be mended
/// without a reboot (no device, no permission) is looked at each time and not remembered.
pub fn verdict(run: &Path) -> Verdict {
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return refused(error.kind());
    }
    let boot_id = boot_id();
    let cache = run.join("kvm-probe.json");
    if let Some(cached) = read_cache(&cache).filter(|cached| cached.boot_id == boot_id) {
        return cached.verdict;
    }
    match run_probe() {
        Ok(verdict) => {
            remember(&cache, &Cached { boot_id, verdict: verdict.clone() });
            verdict
        }
        Err(reason) => Verdict { works: false, reason },
    }
}

/// Identifies this boot of the kernel (random(4)).
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string()
}

fn refused(kind: ErrorKind) -> Verdict {
    let reason = match kind {
        ErrorKind::NotFound => {
            "there is no /dev/kvm (switch virtualisation on in the firmware, load kvm_intel or kvm_amd)"
                .to_string()
        }
        ErrorKind::PermissionDenied => {
            "/dev/kvm may not be opened by this user (join its group: `usermod -aG kvm USER`)".to_string()
        }
        other => format!("/dev/kvm cannot be opened: {other}"),
    };
    Verdict { works: false, reason }
}

fn read_cache(path: &Path) -> Option<Cached> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Failing to remember costs only the next command's time.
fn remember(path: &Path, cached: &Cached) {
    let temp = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let written = serde_json::to_vec(cached)
        .map_err(std::io::Error::other)
        .and_then(|bytes| fs::write(&temp, bytes))
        .and_then(|()| fs::rename(&temp, path));
    if written.is_err() {
        let _ = fs::remove_file(&temp);
    }
}

fn run_probe() -> Result<Verdict, String> {
    let program = paths::part("hull-vmm").map_err(|error| error.to_string())?;
    let output = Command::new(&program)
        .arg("--probe")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} could not be started: {error}", program.display()))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("the KVM probe of {} ended with {}", program.display(), output.status))
}
