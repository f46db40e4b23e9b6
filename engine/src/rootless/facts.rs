//! What `hull info` tells.

use super::ids::IdMap;
use super::{in_user_namespace, program};

/// None: hull runs as the machine's root.
pub fn ids() -> Option<String> {
    if !in_user_namespace() {
        return None;
    }
    let map = IdMap::of_users();
    let count: u64 = map.0.iter().map(|range| u64::from(range.count)).sum();
    Some(match single() {
        Some(why) => format!("1: {why}"),
        None => count.to_string(),
    })
}

/// Why containers in host namespaces have no user but root, if they have not.
pub fn single() -> Option<&'static str> {
    if !in_user_namespace() || !IdMap::of_users().is_single() {
        return None;
    }
    Some(match program::find("newuidmap").and(program::find("newgidmap")) {
        None => "newuidmap is not here (package uidmap)",
        Some(_) => "/etc/subuid or /etc/subgid gives this user no ids (usermod --add-subuids, --add-subgids)",
    })
}

/// What connects its networks to the outside.
pub fn network() -> Option<String> {
    if !in_user_namespace() {
        return None;
    }
    Some(match (super::network::check(), program::find("pasta")) {
        (Ok(()), Some(pasta)) => pasta.display().to_string(),
        (Ok(()), None) => "of this namespace's own".to_owned(),
        (Err(error), _) => format!("none but --network none: {error}"),
    })
}
