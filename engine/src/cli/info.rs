//! `hull info`, `hull version`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Exit;
use super::output::size;
use crate::context::Context;
use crate::paths;
use crate::sandbox::mode::{self, Isolation};
use crate::sandbox::{cgroup, probe};
use crate::store::{ContainerState, Store};
use crate::text::escape;

pub fn info(context: &Context) -> Exit {
    let store = Store::open(&context.root, &context.run)?;
    crate::sandbox::sweep::dead(context, &store);
    let containers = store.db().containers()?;
    let count = |state| containers.iter().filter(|row| row.state == state).count();
    let verdict = probe::verdict(&context.run);
    let line = |name: &str, value: &str| println!("{name:<18} {}", escape(value));

    line("Version", env!("CARGO_PKG_VERSION"));
    line("Isolation", &isolation(context, &verdict));
    line("KVM", if verdict.works { "works" } else { "does not work" });
    if !verdict.works {
        line("  Reason", &verdict.reason);
    }
    line("Require VM", if context.config.require_vm { "yes" } else { "no" });
    line("Guest kernel", &guest_kernel(context));
    line("Containers", &containers.len().to_string());
    line("  Running", &count(ContainerState::Running).to_string());
    line("Images", &crate::image::catalog::list(&store)?.len().to_string());
    line("Host kernel", &release());
    line("Cgroups", cgroup::version());
    line("CPUs", &std::thread::available_parallelism().map_or(1, std::num::NonZero::get).to_string());
    line("Memory", &memory());
    line("Root folder", &context.root.display().to_string());
    line("Run folder", &context.run.display().to_string());
    Ok(0)
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

fn memory() -> String {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = meminfo.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    size(kib * 1024)
}

pub fn version() -> Exit {
    println!("hull {}", env!("CARGO_PKG_VERSION"));
    for part in ["hull-vmm", "hull-init"] {
        match paths::part(part) {
            Ok(path) => println!("{}", escape(&part_version(&path, part))),
            Err(error) => println!("{part} missing: {}", escape(&error.to_string())),
        }
    }
    Ok(0)
}

fn part_version(path: &Path, part: &str) -> String {
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_string(),
        Ok(output) => format!("{part} at {} ended with {}", path.display(), output.status),
        Err(error) => format!("{part} at {} does not start: {error}", path.display()),
    }
}
