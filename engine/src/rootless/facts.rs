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
    Some(match map.is_single() {
        true => {
            "1: no user but root in containers (uidmap, /etc/subuid and /etc/subgid give more)".to_owned()
        }
        false => count.to_string(),
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
