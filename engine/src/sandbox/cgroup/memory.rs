//! The host's own limit on a machine's memory: in `supervised` of the unified hierarchy where the memory
//! controller is there, else in that of v1. A host that has neither lets the machine be.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ROOT, SUPERVISED, base, remove_tree};

const V1: &str = "/sys/fs/cgroup/memory";

/// Dropping it removes a folder of v1; that of the unified hierarchy is the sandbox' own.
#[derive(Debug)]
pub struct HostMemory {
    folder: PathBuf,
    legacy: bool,
}

impl HostMemory {
    /// Limits the processes that are in the sandbox' cgroup, all together. None: there is no controller to be had,
    /// or it is held by somebody who does not give it.
    pub fn limit(sandbox: &str, pids: &[u32], bytes: u64) -> Option<HostMemory> {
        let in_unified = base().and_then(|mount| HostMemory::in_unified(&mount, sandbox, bytes));
        in_unified.or_else(|| HostMemory::in_v1(Path::new(V1), sandbox, pids, bytes))
    }

    fn in_unified(mount: &Path, sandbox: &str, bytes: u64) -> Option<HostMemory> {
        let path = mount.join(ROOT).join(sandbox);
        for folder in [mount, &mount.join(ROOT), &path] {
            fs::write(folder.join("cgroup.subtree_control"), "+memory").ok()?;
        }
        let folder = path.join(SUPERVISED);
        fs::write(folder.join("memory.max"), bytes.to_string()).ok()?;
        Some(HostMemory { folder, legacy: false })
    }

    fn in_v1(mount: &Path, sandbox: &str, pids: &[u32], bytes: u64) -> Option<HostMemory> {
        if !mount.join("memory.limit_in_bytes").exists() {
            return None;
        }
        let folder = mount.join(ROOT).join(sandbox).join(SUPERVISED);
        fs::create_dir_all(&folder).ok()?;
        let memory = HostMemory { folder, legacy: true };
        fs::write(memory.folder.join("memory.limit_in_bytes"), bytes.to_string()).ok()?;
        for pid in pids {
            memory.adopt(*pid).ok()?;
            // A child that is forked from here on is born there.
            for child in children(*pid) {
                // It may have ended.
                let _ = memory.adopt(child);
            }
        }
        Some(memory)
    }

    fn adopt(&self, pid: u32) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string())
    }

    /// Whether the kernel has killed a process here for want of memory: for this limit's, or the host's.
    pub fn has_killed(&self) -> bool {
        let file = if self.legacy { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        kills(&text) > 0
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        if let Some(sandbox) = self.folder.parent().filter(|_| self.legacy) {
            remove_tree(sandbox);
        }
    }
}

/// Of a process with one thread.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The line `oom_kill N` of both files (cgroup-v2.rst, "memory.events"; memory.rst of v1, section 10).
fn kills(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn kills_are_counted_in_the_words_of_both_versions() {
        assert_eq!(kills("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), 0);
    }

    /// Needs the right to make cgroups of v1; without them there is nothing to try.
    #[test]
    fn process_that_the_kernel_kills_at_the_limit_is_told_from_others() {
        let id = format!("{:064x}", std::process::id());
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", "read x; head -c 200M /dev/zero | tail > /dev/null"]);
        let mut child = shell.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let limited = HostMemory::in_v1(Path::new(V1), &id, &[child.id()], 16 << 20);
        if let Some(limited) = &limited {
            assert!(!limited.has_killed());
            // Where there is swap, it would go there.
            let _ = fs::write(limited.folder.join("memory.memsw.limit_in_bytes"), (16 << 20).to_string());
            drop(child.stdin.take());
            child.wait().unwrap();
            assert!(limited.has_killed());
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let folder = limited.as_ref().map(|limited| limited.folder.clone());
        drop(limited);
        assert!(folder.is_none_or(|folder| !folder.exists()));
    }
}
