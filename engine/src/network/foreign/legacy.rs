//! iptables before nftables. Its rules are in the kernel as one table that programs replace as a whole, so
//! only its own program can change them without losing somebody's.

use std::process::Command;

use super::{DOCKER_USER, FORWARD, Foreign, Place, comment};
use crate::network::firewall::{FirewallError, Result};

/// What it is called where the new one has its name, and where it has not, by the kernel's list of tables.
const PROGRAMS: [(&str, [&str; 2]); 2] = [
    ("ip_tables_names", ["iptables-legacy", "iptables"]),
    ("ip6_tables_names", ["ip6tables-legacy", "ip6tables"]),
];

pub(super) fn admit(place: &Place, bridge: &str) -> Result<Vec<Foreign>> {
    place
        .enter(|| in_use().flat_map(|programs| admit_with(programs, bridge)).collect())
        .map_err(FirewallError::Place)
}

pub(super) fn find(place: &Place) -> Result<Vec<String>> {
    let find = || {
        in_use()
            .filter(|programs| drops(*programs) != Some(false))
            .map(|programs| match run(programs, &["-S", DOCKER_USER]) {
                Some(_) => "docker".into(),
                None => name(programs),
            })
            .collect()
    };
    place.enter(find).map_err(FirewallError::Place)
}

pub(super) fn retract(place: &Place, bridge: &str) -> Result<()> {
    let retract = || {
        for programs in in_use() {
            for device in ["-i", "-o"] {
                run(programs, &with_rule("-D", device, bridge, &comment(bridge)));
            }
        }
    };
    place.enter(retract).map_err(FirewallError::Place)
}

/// The programs whose filter table is in use in the calling thread's namespace.
fn in_use() -> impl Iterator<Item = [&'static str; 2]> {
    PROGRAMS
        .into_iter()
        .filter(|(tables, _)| {
            let names = std::fs::read_to_string(format!("/proc/thread-self/net/{tables}"));
            names.is_ok_and(|names| names.lines().any(|name| name == "filter"))
        })
        .map(|(_, programs)| programs)
}

fn admit_with(programs: [&str; 2], bridge: &str) -> Option<Foreign> {
    match drops(programs) {
        Some(false) => return None,
        Some(true) => {}
        None => return Some(Foreign { name: name(programs), opened: None }),
    }
    let comment = comment(bridge);
    for device in ["-i", "-o"] {
        let there = run(programs, &with_rule("-C", device, bridge, &comment)).is_some();
        if !there && run(programs, &with_rule("-I", device, bridge, &comment)).is_none() {
            return Some(Foreign { name: name(programs), opened: None });
        }
    }
    Some(Foreign { name: "docker".into(), opened: Some(format!("its chain {DOCKER_USER}")) })
}

fn name(programs: [&str; 2]) -> String {
    format!("Chain {FORWARD} of {}", programs[0])
}

/// None: nobody can tell.
fn drops(programs: [&str; 2]) -> Option<bool> {
    let forward = run(programs, &["-S", FORWARD])?;
    Some(forward.lines().any(|line| line == format!("-P {FORWARD} DROP")))
}

fn with_rule<'a>(action: &'a str, device: &'a str, bridge: &'a str, comment: &'a str) -> [&'a str; 10] {
    [action, DOCKER_USER, device, bridge, "-m", "comment", "--comment", comment, "-j", "ACCEPT"]
}

/// What the first of the programs that is there prints. None: it fails, or there is none.
fn run(programs: [&str; 2], arguments: &[&str]) -> Option<String> {
    let output =
        programs.iter().find_map(|name| Command::new(name).arg("-w").args(arguments).output().ok())?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
