//! What hull has on the machine right now: for cases that show that nothing is left.

use std::fs;
use std::path::Path;

/// Processes, mounts, cgroups, loop devices and sandbox folders, a line each, sorted.
pub fn of(root: &Path, run: &Path) -> Vec<String> {
    let mut traces =
        [processes(), mounts(), cgroups(), loops(root), sandboxes(root), sandboxes(run)].concat();
    traces.sort();
    traces
}

fn names_below(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Processes that run a binary of hull's, and those in one of its cgroups. A zombie whose parent is
/// slow is no longer anybody's process.
fn processes() -> Vec<String> {
    let pids = names_below(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok());
    let lines = pids.filter_map(|pid| {
        let proc = Path::new("/proc").join(&pid);
        let exe = fs::read_link(proc.join("exe")).ok()?.to_string_lossy().into_owned();
        let command = fs::read(proc.join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let binary = exe.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default().to_owned();
        let ours = binary.starts_with("hull") || binary.starts_with("memfd:hull");
        let contained = fs::read_to_string(proc.join("cgroup")).ok()?.contains("/hull");
        (ours || contained).then(|| format!("process {pid} {exe} {command}"))
    });
    lines.collect()
}

/// Mounts of layers and container roots in the machine's own mount namespace.
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let lines = table.lines().filter(|line| line.contains(" - erofs ") || line.contains("/sandboxes/"));
    lines.map(|line| format!("mount {line}")).collect()
}

/// Cgroups below `hull/` of each hierarchy, and scopes of hull's.
fn cgroups() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let hierarchies =
        table.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let mut found = Vec::new();
    for hierarchy in hierarchies {
        let hierarchy = Path::new(hierarchy);
        collect_folders(&hierarchy.join("hull"), &mut found);
        let scopes =
            names_below(&hierarchy.join("system.slice")).into_iter().filter(|name| name.starts_with("hull-"));
        found.extend(
            scopes.map(|name| format!("cgroup {}", hierarchy.join("system.slice").join(name).display())),
        );
    }
    found
}

fn collect_folders(path: &Path, found: &mut Vec<String>) {
    for name in names_below(path) {
        let below = path.join(name);
        if below.is_dir() {
            found.push(format!("cgroup {}", below.display()));
            collect_folders(&below, found);
        }
    }
}

/// Loop devices on files of the store (loop(4)); hosts without file-backed EROFS need them.
fn loops(root: &Path) -> Vec<String> {
    let devices = names_below(Path::new("/sys/block")).into_iter().filter(|name| name.starts_with("loop"));
    let lines = devices.filter_map(|name| {
        let backing = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        Path::new(backing.trim()).starts_with(root).then(|| format!("loop {name} {}", backing.trim()))
    });
    lines.collect()
}

fn sandboxes(folder: &Path) -> Vec<String> {
    let folder = folder.join("sandboxes");
    names_below(&folder).into_iter().map(|name| format!("sandbox {}", folder.join(name).display())).collect()
}
