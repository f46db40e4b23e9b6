//! What nftables has of a policy from the start: its prefixes. Names open more while the sandbox is up.

use crate::container::config::Config;
use crate::network::firewall::EgressRules;
use crate::network::model::{AllowedHost, Egress};
use crate::pod;
use crate::store::{self, Store};

/// The group of what nobody listens to.
const UNHEARD: u16 = u16::MAX;

/// None: the sandbox has no policy. Whoever makes the rules anew finds it here; one that a newer release has
/// written, and that cannot be read, allows nothing.
pub fn rules_of(store: &Store, owner: &str) -> Result<Option<EgressRules>, store::Error> {
    let (policy, group) = (policy_of(store, owner), store.db().egress_group(owner)?);
    if policy.is_none() && group.is_none() {
        return Ok(None);
    }
    // Without a row nobody listens, and the policy holds all the same.
    Ok(Some(rules(&policy.unwrap_or_default(), group.unwrap_or(UNHEARD))))
}

fn policy_of(store: &Store, owner: &str) -> Option<Egress> {
    if let Ok(row) = store.db().container(owner) {
        return Config::from_row(&row).ok()?.network.egress;
    }
    pod::Config::from_row(&store.db().pod(owner).ok()?).ok()?.network.egress
}

fn rules(egress: &Egress, group: u16) -> EgressRules {
    let prefix = |host: &AllowedHost| match host {
        AllowedHost::Prefix(prefix) => Some(*prefix),
        AllowedHost::Name(_) => None,
    };
    let allowed = egress.allow.iter().filter_map(|allowed| Some((prefix(&allowed.host)?, allowed.port)));
    EgressRules { allow: allowed.collect(), group }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_a_policys_prefixes_and_no_sandbox_has_any_without_its_row() {
        let egress = super::super::parse(&["allow=a.example,10.0.0.0/8:80,::1".to_owned()]).unwrap().unwrap();
        let allow = rules(&egress, 7).allow;
        let shown: Vec<String> = allow.iter().map(|(prefix, port)| format!("{prefix} {port:?}")).collect();
        assert_eq!(shown, ["10.0.0.0/8 Some(80)", "::1/128 None"]);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
        assert_eq!(rules_of(&store, "a").unwrap(), None);
        store.db().set_egress_group("a", 7).unwrap();
        assert_eq!(rules_of(&store, "a").unwrap(), Some(EgressRules { allow: Vec::new(), group: 7 }));
    }
}
