//! `hull info`, `hull version`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, size};
use super::{Exit, Failure};
use crate::context::Context;
use crate::logs::LogConfig;
use crate::network::{Instance, foreign, host};
use crate::paths;
use crate::rootless::{facts, in_user_namespace};
use crate::sandbox::mode::{self, Isolation};
use crate::sandbox::{cgroup, probe};
use crate::store::{ContainerState, Store};
use crate::text::escape;

#[derive(Debug, Args)]
pub struct FormatArgs {
    /// What to show, as a Go template, or json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl FormatArgs {
    fn text(&self) -> Option<&str> {
        self.format.as_deref().filter(|format| !format.is_empty())
    }
}

/// What hull found, by docker's names where docker has the same.
pub fn info(context: &Context, args: &FormatArgs) -> Exit {
    let facts = facts(context)?;
    if let Some(format) = args.text() {
        return output::print_formatted(format, &facts);
    }
    let lines = [
        ("Version", "ServerVersion"),
        ("Isolation", "Isolation"),
        ("KVM", "KVM"),
        ("  Reason", "KVMReason"),
        ("Require VM", "RequireVM"),
        ("Guest kernel", "GuestKernel"),
        ("Containers", "Containers"),
        ("  Running", "ContainersRunning"),
        ("  Paused", "ContainersPaused"),
        ("  Stopped", "ContainersStopped"),
        ("Pods", "Pods"),
        ("Images", "Images"),
        ("Log driver", "LoggingDriver"),
        ("Volume drivers", "VolumeDrivers"),
        ("Network drivers", "NetworkDrivers"),
        ("Rootless", "Rootless"),
        ("  User ids", "UserIds"),
        ("  Network", "RootlessNetwork"),
        ("Other firewalls", "OtherFirewalls"),
        ("Supervisors", "Supervisors"),
        ("Host kernel", "KernelVersion"),
        ("Cgroups", "CgroupVersion"),
        ("CPUs", "NCPU"),
        ("Memory", "MemTotal"),
        ("Root folder", "RootDir"),
        ("Run folder", "RunDir"),
    ];
    let mut text = String::new();
    for (name, field) in lines {
        if let Some(value) =
            facts.get(field).map(|value| in_words(field, value)).filter(|value| !value.is_empty())
        {
            text.push_str(&format!("{name:<18} {}\n", escape(&value)));
        }
    }
    output::print(&text)
}

fn in_words(field: &str, value: &Value) -> String {
    match value {
        Value::Bool(works) if field == "KVM" => if *works { "works" } else { "does not work" }.to_string(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_string(),
        Value::Number(bytes) if field == "MemTotal" => size(bytes.as_u64().unwrap_or(0)),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Those that drop what they do not know, hull's networks among it. Nothing where one may not look.
fn other_firewalls(store: &Store) -> String {
    let Ok(place) = host::place(store) else { return String::new() };
    let instance = Instance::of_root(store.paths().root());
    foreign::find(&place, &instance.table()).unwrap_or_default().join(", ")
}

fn facts(context: &Context) -> Result<Value, Failure> {
    let store = Store::open(&context.root, &context.run)?;
    crate::sandbox::sweep::dead(context, &store);
    let containers = store.db().containers()?;
    let count = |state| containers.iter().filter(|row| row.state == state).count();
    let (running, paused) = (count(ContainerState::Running), count(ContainerState::Paused));
    let verdict = probe::verdict(&context.run);
    let volume_drivers = crate::volume::seen::drivers();
    Ok(json!({
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Isolation": isolation(context, &verdict),
        "KVM": verdict.works,
        "KVMReason": if verdict.works { "" } else { verdict.reason.as_str() },
        "RequireVM": context.config.require_vm,
        "GuestKernel": guest_kernel(context),
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        // As docker: all the others.
        "ContainersStopped": containers.len() - running - paused,
        "Pods": store.db().pods()?.len(),
        "Images": crate::image::catalog::list(&store)?.len(),
        "Rootless": in_user_namespace(),
        "UserIds": facts::ids().unwrap_or_default(),
        "RootlessNetwork": facts::network().unwrap_or_default(),
        "Driver": if in_user_namespace() { "erofs; unpacked in namespace mode" } else { "erofs" },
        "Plugins": {"Network": ["bridge", "host", "macvlan", "null"], "Volume": volume_drivers},
        "VolumeDrivers": volume_drivers.join(" "),
        "NetworkDrivers": "bridge host macvlan null",
        "LoggingDriver": LogConfig::default().driver.name(),
        "OtherFirewalls": other_firewalls(&store),
        "Supervisors": supervisors(),
        "KernelVersion": release(),
        "CgroupVersion": cgroup::version(),
        "OSType": std::env::consts::OS,
        "Architecture": std::env::consts::ARCH,
        "NCPU": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "MemTotal": memory(),
        "RootDir": context.root.display().to_string(),
        "RunDir": context.run.display().to_string(),
    }))
}

/// Where they are put, whoever starts them.
fn supervisors() -> String {
    match cgroup::supervisors_path() {
        Some(path) => format!("in the cgroup {}", path.display()),
        None if in_user_namespace() => "in their callers' cgroups: this user was given none".to_string(),
        None => "in the root of every cgroup v1 hierarchy".to_string(),
    }
}

/// What a container gets that asks for nothing.
fn isolation(context: &Context, verdict: &probe::Verdict) -> String {
    match mode::decide(context.config.isolation, context.config.require_vm, || verdict.clone()) {
        Ok((Isolation::Vm, _)) => "vm".into(),
        Ok((Isolation::Namespace, _)) => "namespace".into(),
        Err(error) => format!("none ({error})"),
    }
}

fn guest_kernel(context: &Context) -> String {
    let path = context.config.kernel.clone().map_or_else(|| paths::part("vmlinux"), Ok);
    match path {
        Ok(path) if path.exists() => path.display().to_string(),
        Ok(path) => format!("{} (missing)", path.display()),
        Err(error) => error.to_string(),
    }
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_string()
}

/// Bytes.
fn memory() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = meminfo.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    kib * 1024
}

const PARTS: [&str; 3] = ["hull-vmm", "hull-init", "hull-fs"];

pub fn version(args: &FormatArgs) -> Exit {
    let release = env!("CARGO_PKG_VERSION");
    let Some(format) = args.text() else {
        let parts = PARTS.map(|part| match part_version(part) {
            Ok(version) | Err(version) => format!("{}\n", escape(&version)),
        });
        return output::print(&format!("hull {release}\n{}", parts.concat()));
    };
    // Each `Name release`; one that does not run has no version to tell.
    let components = PARTS.map(|part| {
        let version = part_version(part).unwrap_or_default();
        json!({"Name": part, "Version": version.split_whitespace().nth(1).unwrap_or_default()})
    });
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    // One program is both of docker's.
    let facts = json!({
        "Client": {"Version": release, "Os": os, "Arch": arch},
        "Server": {
            "Version": release, "Os": os, "Arch": arch, "KernelVersion": self::release(), "Components": components,
        },
    });
    output::print_formatted(format, &facts)
}

/// What a part says of itself, or why it does not.
fn part_version(part: &'static str) -> Result<String, String> {
    let path = paths::part(part).map_err(|error| format!("{part} missing: {error}"))?;
    run_version(&path, part)
}

fn run_version(path: &Path, part: &str) -> Result<String, String> {
    match Command::new(path).arg("--version").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
        }
        Ok(output) => Err(format!("{part} at {} ended with {}", path.display(), output.status)),
        Err(error) => Err(format!("{part} at {} does not start: {error}", path.display())),
    }
}
