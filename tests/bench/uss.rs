//! What a process costs in memory beside its guest's.

use std::fs;

use anyhow::Context;

/// A mapping at least this large is the guest's memory: every machine here has more.
const GUEST_MEMORY_KIB: u64 = 24 * 1024;

/// A line with the KiB that the process has for itself (proc(5), smaps: Private_Clean and
/// Private_Dirty), over all mappings but the guest's memory.
pub(crate) fn uss(pid: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read_to_string(&path).with_context(|| path.clone())?;
    let (mut total, mut guest) = (0, false);
    for line in smaps.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let kib = || value.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
        match name {
            "Size" => guest = kib() >= GUEST_MEMORY_KIB,
            "Private_Clean" | "Private_Dirty" if !guest => total += kib(),
            _ => {}
        }
    }
    Ok(format!("{total}\n"))
}
