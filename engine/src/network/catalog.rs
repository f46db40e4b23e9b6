//! The networks that there are: those that are always there, and finding them.

use hull_guest::protocol::Prefix;

use super::NetworkError;
use super::model::{BRIDGE, Driver, HOST, NONE, NetworkRow, NetworkSettings};
use super::pools;
use crate::container::names;
use crate::store::{Kind, Store};
use crate::time::now_ns;

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
}
