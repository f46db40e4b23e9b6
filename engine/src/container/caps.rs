//! Capabilities: Docker's default set, and what `--cap-add` and `--cap-drop` make of it.

use std::collections::BTreeSet;

/// What a container holds without options, as Docker's.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// All that capabilities(7) names, by number.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a capability; capabilities look like NET_ADMIN or CAP_NET_ADMIN, or ALL (capabilities(7))"
)]
pub struct UnknownCapability(String);

/// The set a container gets. As docker: `ALL` among the added starts from everything and then drops,
/// `ALL` among the dropped starts from nothing and then adds.
pub fn resolve(add: &[String], drop: &[String]) -> Result<Vec<String>, UnknownCapability> {
    let add = add.iter().map(|name| normalise(name)).collect::<Result<Vec<_>, _>>()?;
    let drop = drop.iter().map(|name| normalise(name)).collect::<Result<Vec<_>, _>>()?;
    let mut set: BTreeSet<&str> = if add.contains(&"ALL") {
        ALL.into_iter().collect()
    } else if drop.contains(&"ALL") {
        BTreeSet::new()
    } else {
        DEFAULT.into_iter().collect()
    };
    for name in &drop {
        set.remove(name);
    }
    set.extend(add.iter().filter(|name| **name != "ALL"));
    Ok(ALL.into_iter().filter(|name| set.contains(name)).map(String::from).collect())
}

/// Every capability there is.
pub fn all() -> Vec<String> {
    ALL.map(String::from).to_vec()
}

/// What a set has beyond Docker's default, and what it lacks of it.
pub fn beyond_default(set: &[String]) -> (Vec<&str>, Vec<&str>) {
    let added = set.iter().map(String::as_str).filter(|name| !DEFAULT.contains(name)).collect();
    let dropped = DEFAULT.into_iter().filter(|name| !set.iter().any(|held| held == name)).collect();
    (added, dropped)
}

fn normalise(name: &str) -> Result<&'static str, UnknownCapability> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok("ALL");
    }
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    ALL.into_iter()
        .find(|known| known.strip_prefix("CAP_") == Some(bare))
        .ok_or_else(|| UnknownCapability(name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(add: &[&str], drop: &[&str]) -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        resolve(&own(add), &own(drop)).unwrap()
    }

    #[test]
    fn names_are_taken_with_and_without_prefix_in_any_case() {
        assert!(resolved(&["net_admin"], &[]).contains(&"CAP_NET_ADMIN".to_string()));
        assert!(!resolved(&[], &["CAP_CHOWN"]).contains(&"CAP_CHOWN".to_string()));
        assert!(resolve(&["NET_ADMN".into()], &[]).is_err());
    }

    #[test]
    fn a_set_is_told_by_how_it_differs_from_the_default() {
        let set = resolved(&["NET_ADMIN"], &["CHOWN"]);
        assert_eq!(beyond_default(&set), (vec!["CAP_NET_ADMIN"], vec!["CAP_CHOWN"]));
        assert_eq!(beyond_default(&resolved(&[], &[])), (vec![], vec![]));
    }

    #[test]
    fn all_is_the_start_that_the_other_list_changes() {
        assert_eq!(resolved(&["CHOWN"], &["ALL"]), ["CAP_CHOWN"]);
        assert_eq!(resolved(&["ALL"], &["CHOWN"]).len(), 40);
        assert_eq!(resolved(&[], &[]).len(), DEFAULT.len());
    }
}
