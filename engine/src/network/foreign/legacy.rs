//! iptables before nftables. Its rules are in the kernel as one table that programs replace as a whole, so
//! only its own program can change them without losing somebody's.

use std::process::Command;

use super::{DOCKER_BRIDGES, DOCKER_USER, FORWARD, Foreign, Place, comment};
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
            for rule in rules(bridge) {
                run(programs, &with("-D", &rule));
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
    for rule in rules(bridge) {
        let there = run(programs, &with("-C", &rule)).is_some();
        if !there && run(programs, &with("-I", &rule)).is_none() {
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

/// The last comes first in the chain: what leads to docker's own bridges is left to docker's rules.
fn rules(bridge: &str) -> Vec<Vec<String>> {
    let rule = |devices: &[&str], target: &str| {
        let words = ["-m", "comment", "--comment", &comment(bridge), "-j", target].map(str::to_owned);
        devices.iter().map(ToString::to_string).chain(words).collect()
    };
    let mut rules = vec![rule(&["-o", bridge], "ACCEPT"), rule(&["-i", bridge], "ACCEPT")];
    for docker in DOCKER_BRIDGES {
        rules.push(rule(&["-i", bridge, "-o", &format!("{docker}+")], "RETURN"));
    }
    rules
}

fn with<'a>(action: &'a str, rule: &'a [String]) -> Vec<&'a str> {
    [action, DOCKER_USER].into_iter().chain(rule.iter().map(String::as_str)).collect()
}

/// What the first of the programs that is there prints. None: it fails, or there is none.
fn run(programs: [&str; 2], arguments: &[&str]) -> Option<String> {
    let output =
        programs.iter().find_map(|name| Command::new(name).arg("-w").args(arguments).output().ok())?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
