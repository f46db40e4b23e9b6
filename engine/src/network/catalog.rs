//! The networks that there are: those that are always there, and listing and removing the others.

use hull_guest::protocol::Prefix;

use super::NetworkError;
use super::model::{BRIDGE, Driver, HOST, NONE, NetworkRow, NetworkSettings};
use super::pools;
use crate::container::names;
use crate::format::filter::{FilterError, Filters};
use crate::image::list::{ListError, until};
use crate::store::{self, Kind, Store};
use crate::time::now_ns;

/// The keys that `--filter` takes, of `ls` and of `prune`.
pub const FILTERS: [&str; 7] = ["name", "id", "driver", "label", "scope", "type", "dangling"];
pub const PRUNE_FILTERS: [&str; 3] = ["until", "label", "label!"];

/// Makes docker's "bridge", "host" and "none" where there are none yet. `avoid`: what the host has routes to.
pub fn ensure_defaults(store: &Store, avoid: impl FnOnce() -> Vec<Prefix>) -> Result<(), NetworkError> {
    match store.db().network(BRIDGE) {
        // Not one whose id happens to begin so.
        Ok(row) if row.name == BRIDGE => return Ok(()),
        Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::Conflict) => return Err(error.into()),
        _ => {}
    }
    let avoid = avoid();
    store.db().add_networks(|others| {
        let missing = [(NONE, Driver::Null), (HOST, Driver::Host), (BRIDGE, Driver::Bridge)];
        let missing = missing.into_iter().filter(|(name, _)| others.iter().all(|other| other.name != *name));
        missing.map(|(name, driver)| usual(name, driver, others, &avoid)).collect::<Result<_, NetworkError>>()
    })??;
    Ok(())
}

fn usual(
    name: &str,
    driver: Driver,
    others: &[NetworkRow],
    avoid: &[Prefix],
) -> Result<NetworkRow, NetworkError> {
    let pools = match driver {
        Driver::Bridge => vec![pools::choose_ipv4(others, avoid)?],
        Driver::Macvlan | Driver::Host | Driver::Null => Vec::new(),
    };
    Ok(NetworkRow {
        id: names::new_id().map_err(NetworkError::Random)?,
        name: name.to_owned(),
        driver,
        created: now_ns(),
        settings: NetworkSettings { pools, ..NetworkSettings::default() },
    })
}

/// Whether it is one of those that are always there.
pub fn is_predefined(name: &str) -> bool {
    [BRIDGE, HOST, NONE].contains(&name)
}

/// Those that are wanted, by name.
pub fn list(store: &Store, filters: &Filters) -> Result<Vec<NetworkRow>, NetworkError> {
    ensure_defaults(store, super::host_prefixes)?;
    if let Some(kind) = filters.values("type").find(|kind| !["custom", "builtin"].contains(kind)) {
        return Err(FilterError::value("type", kind).into());
    }
    let dangling = filters.flag("dangling")?;
    let used: Vec<String> = match dangling {
        Some(_) => {
            store.db().endpoints()?.into_iter().filter(|e| e.live.is_some()).map(|e| e.network).collect()
        }
        None => Vec::new(),
    };
    let mut rows = store.db().networks()?;
    rows.retain(|row| {
        let builtin = is_predefined(&row.name);
        filters.pattern("name", &row.name)
            && filters.pattern("id", &row.id)
            && filters.exact("driver", row.driver.as_str())
            && filters.pattern("scope", "local")
            && filters.exact("type", if builtin { "builtin" } else { "custom" })
            && filters.labels("label", &row.settings.labels)
            && dangling.is_none_or(|dangling| dangling != (builtin || used.contains(&row.id)))
    });
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

/// Removes one that a user made, and that nothing that is up is on.
pub fn remove(store: &Store, wanted: &str) -> Result<(), NetworkError> {
    let row = store.db().network(wanted)?;
    if is_predefined(&row.name) {
        return Err(NetworkError::CannotRemove(row.name));
    }
    Ok(store.db().remove_network(&row.id)?)
}

/// Removes all of those that match. Their names.
pub fn prune(store: &Store, filters: &Filters) -> Result<Vec<String>, NetworkError> {
    let until = until(filters).map_err(|error: ListError| NetworkError::Until(error.to_string()))?;
    let mut removed = Vec::new();
    for row in store.db().networks()?.into_iter().filter(|row| !is_predefined(&row.name)) {
        let labels = &row.settings.labels;
        let excluded = filters.contains("label!") && filters.labels("label!", labels);
        if excluded || !filters.labels("label", labels) || until.is_some_and(|until| row.created > until) {
            continue;
        }
        match store.db().remove_network(&row.id) {
            Ok(()) => removed.push(row.name),
            // In use, or another process was faster.
            Err(store::Error::NetworkInUse { .. } | store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_that_are_always_there_are_made_once() {
        let (_folder, store) = Store::temporary();
        let avoid = || vec!["172.17.0.0/16".parse().unwrap()];
        ensure_defaults(&store, avoid).unwrap();
        let made = store.db().networks().unwrap();
        let named: Vec<_> = made.iter().map(|row| (row.name.as_str(), row.driver)).collect();
        assert_eq!(named, [(NONE, Driver::Null), (HOST, Driver::Host), (BRIDGE, Driver::Bridge)]);
        assert_eq!(made[2].settings.pools[0].subnet.to_string(), "172.18.0.0/16");
        assert_eq!(made[2].settings.pools[0].gateway.to_string(), "172.18.0.1");
        ensure_defaults(&store, || panic!("not asked for")).unwrap();
        assert_eq!(store.db().networks().unwrap(), made);
        assert_eq!(store.db().last_event().unwrap(), 0);
    }

    fn add(store: &Store, name: &str, labels: &[&str]) {
        let labels = labels.iter().map(|label| (label.to_string(), String::new())).collect();
        let (name, driver) = (name.to_string(), "bridge".to_string());
        let asked = super::super::create::Asked { name, driver, labels, ..Default::default() };
        super::super::create::create(store, asked, Vec::new).unwrap();
    }

    #[test]
    fn filters_are_docker_s_and_networks_are_listed_by_name() {
        let (_folder, store) = Store::temporary();
        add(&store, "web", &["x"]);
        add(&store, "db", &[]);
        let listed = |words: &[&str]| -> Vec<String> {
            let rows = list(&store, &Filters::parse(words, &FILTERS).unwrap()).unwrap();
            rows.into_iter().map(|row| row.name).collect()
        };
        assert_eq!(listed(&[]), ["bridge", "db", "host", "none", "web"]);
        assert_eq!(listed(&["type=builtin"]), ["bridge", "host", "none"]);
        assert_eq!(listed(&["dangling=true"]), ["db", "web"]);
        assert_eq!(listed(&["dangling=false"]), ["bridge", "host", "none"]);
        assert_eq!(listed(&["driver=bridge", "name=b"]), ["bridge", "db", "web"]);
        assert_eq!(listed(&["label=x"]), ["web"]);
        assert!(listed(&["scope=swarm"]).is_empty());
        for word in ["type=x", "dangling=x"] {
            assert!(list(&store, &Filters::parse(&[word], &FILTERS).unwrap()).is_err(), "{word}");
        }
    }

    #[test]
    fn only_what_a_user_made_is_removed_and_pruned() {
        let (_folder, store) = Store::temporary();
        add(&store, "web", &["x"]);
        add(&store, "db", &[]);
        let text = "bridge is a pre-defined network and cannot be removed";
        assert_eq!(remove(&store, "bridge").unwrap_err().to_string(), text);
        let filters = |words: &[&str]| Filters::parse(words, &PRUNE_FILTERS).unwrap();
        assert_eq!(prune(&store, &filters(&["label=x"])).unwrap(), ["web"]);
        assert!(prune(&store, &filters(&["until=1h"])).unwrap().is_empty());
        assert_eq!(prune(&store, &filters(&[])).unwrap(), ["db"]);
        assert!(remove(&store, "db").is_err());
        assert_eq!(store.db().networks().unwrap().len(), 3);
    }
}
