//! A container's processes, as ps(1) shows them.
//!
//! Names, arguments and the passwd file are the container's, and reading them may block for as long as
//! it likes (a process whose memory is on a FUSE file system): only for a helper.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::process::Pid;

use super::cgroup::Cgroup;
use super::user;
use crate::protocol::{ProcessInfo, Text};

const MAX_PROCESSES: usize = 4096;
/// Of one command, and of all, so that the answer fits into a frame.
const MAX_COMMAND: usize = 4096;
const MAX_COMMANDS: usize = 1 << 20;
/// As ps(1) has it.
const MAX_USER: usize = 32;
const MAX_PASSWD: u64 = 1 << 20;
/// USER_HZ, 100 on x86-64.
const TICKS: u64 = 100;

/// The processes in `cgroup`; `first` is the container's, whose root has the passwd file.
pub fn list(cgroup: &Cgroup, first: Pid) -> Vec<ProcessInfo> {
    let names = user_names(first);
    let clock = Clock::read();
    let mut room = MAX_COMMANDS;
    let mut pids = if cgroup.is_none() { namespace_of(first) } else { cgroup.processes(MAX_PROCESSES) };
    pids.sort_unstable();
    pids.into_iter().filter_map(|pid| describe(pid, &names, &clock, &mut room)).collect()
}

/// The processes of a container without a cgroup: those in its PID namespace.
fn namespace_of(first: Pid) -> Vec<u32> {
    let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = u32::try_from(first.as_raw_nonzero().get()).ok().and_then(namespace);
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| wanted.is_some() && namespace(pid) == wanted).take(MAX_PROCESSES).collect()
}

/// When the machine started, and for how long it has been up.
struct Clock {
    boot_unix: u64,
    uptime_ticks: u64,
}

impl Clock {
    fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(up.tv_sec).unwrap_or(0);
        Clock { boot_unix: boot.unwrap_or(0), uptime_ticks: seconds.saturating_mul(TICKS) }
    }
}

/// None for a process that is gone.
fn describe(pid: u32, names: &BTreeMap<u32, String>, clock: &Clock, room: &mut usize) -> Option<ProcessInfo> {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
    let stat = Stat::parse(&read("stat")?)?;
    let uid = effective_uid(&read("status")?)?;
    let mut command = printable(&read_command(pid).filter(|args| !args.is_empty()).unwrap_or(stat.name));
    command.truncate(*room);
    *room -= command.len();
    let lived = clock.uptime_ticks.saturating_sub(stat.start_ticks).max(1);
    Some(ProcessInfo {
        pid,
        ppid: stat.ppid,
        uid,
        user: names.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
        cpu_percent: u32::try_from(stat.cpu_ticks.saturating_mul(100) / lived).unwrap_or(u32::MAX),
        start_unix: clock.boot_unix.saturating_add(stat.start_ticks / TICKS),
        tty: stat.tty,
        cpu_seconds: stat.cpu_ticks / TICKS,
        command: Text(command),
    })
}

/// The part of /proc/PID/stat that is of use, proc_pid_stat(5).
struct Stat {
    /// In brackets.
    name: Vec<u8>,
    ppid: u32,
    tty: String,
    cpu_ticks: u64,
    start_ticks: u64,
}

impl Stat {
    fn parse(text: &[u8]) -> Option<Self> {
        // The name may hold anything, brackets and blanks, too: it ends at the last bracket.
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let name = text.get(open + 1..close)?;
        let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from 3, the state.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Stat {
            name: [b"[", name, b"]"].concat(),
            ppid: u32::try_from(number(4)?).ok()?,
            tty: tty_name(number(7).unwrap_or(0)),
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            start_ticks: number(22)?,
        })
    }
}

/// Minor number in bits 31 to 20 and 7 to 0, major in 15 to 8. Majors 136 to 143 are pseudo terminals.
fn tty_name(device: u64) -> String {
    let (major, minor) = (device >> 8 & 0xfff, device >> 12 & 0xfff00 | device & 0xff);
    match major {
        136..=143 => format!("pts/{}", (major - 136) << 20 | minor),
        _ => "?".to_owned(),
    }
}

/// `Uid:` with the real, effective, saved and file system one.
fn effective_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The beginning of a process' arguments.
fn read_command(pid: u32) -> Option<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(format!("/proc/{pid}/cmdline")).ok()?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(MAX_COMMAND).ok()?).read_to_end(&mut bytes).ok()?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Some(bytes)
}

/// Blanks for the NULs between arguments, question marks for other control characters, as ps(1).
fn printable(bytes: &[u8]) -> Vec<u8> {
    let show = |&byte: &u8| match byte {
        0 => b' ',
        1..=31 | 127 => b'?',
        _ => byte,
    };
    bytes.iter().map(show).collect()
}

/// Names by number from the container's passwd file, the first of each.
fn user_names(first: Pid) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for (uid, name) in user::names(&read_passwd(first).unwrap_or_default()) {
        let mut name = String::from_utf8_lossy(&printable(name)).into_owned();
        if name.chars().count() > MAX_USER {
            name = name.chars().take(MAX_USER).collect();
        }
        names.entry(uid).or_insert(name);
    }
    names
}

/// Resolved in the container's root, and opened only if it is a regular file.
fn read_passwd(first: Pid) -> Option<Vec<u8>> {
    use std::io::Read;
    let root = format!("/proc/{}/root", first.as_raw_nonzero());
    let root =
        rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(&root, "etc/passwd", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside).ok()?;
    let stat = rustix::fs::fstat(&found).ok()?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
    file.take(MAX_PASSWD).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_is() {
        let line = b"42 (a) b (c) S 7 42 42 34817 42 0 0 0 0 0 250 50 0 0 20 0 1 0 12345 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(
            (stat.name.as_slice(), stat.ppid, stat.tty.as_str()),
            (b"[a) b (c]".as_slice(), 7, "pts/1")
        );
        assert_eq!((stat.cpu_ticks, stat.start_ticks), (300, 12345));
        assert!(Stat::parse(b"42 (x) S").is_none());
        assert!(Stat::parse(b")(").is_none());
    }

    #[test]
    fn terminals_are_named_by_device_number() {
        assert_eq!(tty_name(0), "?");
        assert_eq!(tty_name(136 << 8), "pts/0");
        assert_eq!(tty_name(136 << 8 | 1 << 20 | 2), "pts/258");
    }

    #[test]
    fn control_characters_of_a_command_do_not_reach_the_terminal() {
        assert_eq!(printable(b"a\0b\x1b[2J\n"), b"a b?[2J?");
        assert_eq!(effective_uid(b"Name:\tx\nUid:\t1\t2\t3\t4\n"), Some(2));
    }
}
