//! What a store's containers have on the machine right now: for cases that show that nothing is left.
//! Other stores' containers, and the cgroup that all supervisors live in, are no trace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Follows a store, and so knows the ids of all that ever was in it, rows or no rows.
pub struct Traces {
    root: PathBuf,
    run: PathBuf,
    inotify: Inotify,
    ids: BTreeSet<String>,
}

impl Traces {
    /// From now on. The store must have been opened before.
    pub fn follow(root: &Path, run: &Path) -> Traces {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
        for folder in ["containers", "sandboxes"] {
            let made = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            inotify.add_watch(&root.join(folder), made).unwrap();
        }
        Traces { root: root.to_owned(), run: run.to_owned(), inotify, ids: BTreeSet::new() }
    }

    /// The ids so far. To be asked every now and then: the kernel keeps 16,384 names back at most
    /// (inotify(7)).
    pub fn ids(&mut self) -> &BTreeSet<String> {
        while let Ok(events) = self.inotify.read_events() {
            let names = events.into_iter().filter_map(|event| event.name);
            self.ids.extend(names.filter_map(|name| name.into_string().ok()));
        }
        &self.ids
    }

    /// Processes, mounts, cgroups, loop devices and folders, a line each, sorted.
    pub fn now(&mut self) -> Vec<String> {
        self.ids();
        let mut traces =
            [self.processes(), self.mounts(), self.cgroups(), self.loops(), self.folders()].concat();
        traces.sort();
        traces
    }

    /// The same, once it has had a moment to go.
    pub fn left(&mut self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.now();
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Those in a cgroup of the store's, supervisors, and commands on it. A zombie whose parent is slow is
    /// no longer anybody's process.
    fn processes(&self) -> Vec<String> {
        let pids = names_below(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok());
        let lines = pids.filter_map(|pid| {
            let proc = Path::new("/proc").join(&pid);
            let exe = fs::read_link(proc.join("exe")).ok()?.to_string_lossy().into_owned();
            let command = fs::read(proc.join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let cgroups = fs::read_to_string(proc.join("cgroup")).ok()?;
            let supervised = cgroups
                .lines()
                .filter_map(|line| line.split_once("/hull/"))
                .any(|(_, path)| self.ids.contains(path.split('/').next().unwrap_or_default()));
            let supervises = command.split(' ').any(|word| self.ids.contains(word));
            let own = format!("HULL_ROOT={}", self.root.display());
            let environ = fs::read(proc.join("environ")).unwrap_or_default();
            let asks = exe.contains("/hull")
                && environ.split(|byte| *byte == 0).any(|variable| variable == own.as_bytes());
            (supervised || supervises || asks).then(|| format!("process {pid} {exe} {command}"))
        });
        lines.collect()
    }

    /// Mounts of layers and container roots in the machine's own mount namespace.
    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let (root, run) = (self.root.to_string_lossy(), self.run.to_string_lossy());
        let ours = |line: &&str| line.contains(&*root) || line.contains(&*run);
        table.lines().filter(ours).map(|line| format!("mount {line}")).collect()
    }

    /// Cgroups of its sandboxes below `hull/` of each hierarchy.
    fn cgroups(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let hierarchies =
            table.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
        let folders = hierarchies.flat_map(|hierarchy| {
            let parent = Path::new(hierarchy).join("hull");
            names_below(&parent).into_iter().map(move |name| (parent.join(&name), name))
        });
        folders
            .filter(|(_, name)| self.ids.contains(name))
            .map(|(path, _)| format!("cgroup {}", path.display()))
            .collect()
    }

    /// Loop devices on files of the store (loop(4)); hosts without file-backed EROFS need them.
    fn loops(&self) -> Vec<String> {
        let devices =
            names_below(Path::new("/sys/block")).into_iter().filter(|name| name.starts_with("loop"));
        let lines = devices.filter_map(|name| {
            let backing = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
            Path::new(backing.trim())
                .starts_with(&self.root)
                .then(|| format!("loop {name} {}", backing.trim()))
        });
        lines.collect()
    }

    fn folders(&self) -> Vec<String> {
        let parents = [self.root.join("containers"), self.root.join("sandboxes"), self.run.join("sandboxes")];
        let below = parents.iter().flat_map(|parent| {
            names_below(parent).into_iter().map(|name| format!("folder {}", parent.join(name).display()))
        });
        below.collect()
    }
}

fn names_below(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
