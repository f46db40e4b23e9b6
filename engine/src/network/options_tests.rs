use super::*;
use crate::network::model::{NetworkSettings, Pool, Protocol, Publish};
use crate::store::Kind;

/// A store with the default networks and "front", whose subnet a user chose, and "back", whose nobody did.
fn store() -> (tempfile::TempDir, Store) {
    let (folder, store) = Store::temporary();
    catalog::ensure_defaults(&store, Vec::new).unwrap();
    for (id, name, subnet, given) in
        [("a1", "front", "10.1.0.0/24", true), ("a2", "back", "10.2.0.0/24", false)]
    {
        let pools = vec![Pool::of(subnet.parse().unwrap(), None, given)];
        let settings = NetworkSettings { pools, ..NetworkSettings::default() };
        let driver = Driver::Bridge;
        let row = NetworkRow { id: id.into(), name: name.into(), driver, created: 9, settings };
        store.db().add_networks(|_| Ok::<_, ()>(vec![row])).unwrap().unwrap();
    }
    (folder, store)
}

fn on(names: &[&str]) -> Asked {
    let wish = |name: &&str| Wish { network: name.to_string(), ..Wish::default() };
    Asked { networks: names.iter().map(wish).collect(), ..Asked::default() }
}

fn with(name: &str, settings: EndpointSettings) -> Asked {
    Asked { networks: vec![Wish { network: name.into(), settings }], ..Asked::default() }
}

fn planned(asked: Asked, isolation: Isolation) -> Result<Plan, NetworkError> {
    let (_folder, store) = store();
    plan(&store, "c", isolation, asked, Vec::new(), Vec::new)
}

fn refused(asked: Asked) -> String {
    planned(asked, Isolation::Vm).unwrap_err().to_string()
}

#[test]
fn without_a_word_a_sandbox_is_on_the_default_network() {
    for asked in [Asked::default(), on(&["default"]), on(&["bridge"])] {
        let plan = planned(asked, Isolation::Vm).unwrap();
        assert_eq!(plan.networking.mode, Mode::Networks);
        assert_eq!(plan.endpoints.len(), 1);
        assert_eq!(plan.endpoints[0].settings.network, BRIDGE);
    }
}

#[test]
fn several_networks_have_positions_in_their_order() {
    let plan = planned(on(&["back", "a1", "bridge"]), Isolation::Vm).unwrap();
    let all: Vec<_> = plan.endpoints.iter().map(|e| (e.settings.network.as_str(), e.position)).collect();
    assert_eq!(all, [("back", 0), ("front", 1), ("bridge", 2)]);
    assert_eq!(refused(on(&["a1", "front"])), "network \"front\" is specified multiple times");
    assert_eq!(refused(on(&["nosuch"])), "No such network: nosuch");
}

#[test]
fn the_host_s_network_and_none_go_alone() {
    let none = planned(on(&["none"]), Isolation::Vm).unwrap();
    assert!(none.networking.mode == Mode::None && none.endpoints.is_empty());
    assert_eq!(planned(on(&["host"]), Isolation::Namespace).unwrap().networking.mode, Mode::Host);
    assert!(refused(on(&["host"])).contains("--isolation namespace"));
    for names in [["none", "front"], ["front", "host"]] {
        assert!(refused(on(&names)).starts_with("conflicting options: --network "), "{names:?}");
    }
    let mut asked = on(&["host"]);
    let container = Port { number: 80, protocol: Protocol::Tcp };
    asked.networking.publish.push(Publish { container, address: None, host: None });
    let plan = planned(asked, Isolation::Namespace).unwrap();
    assert_eq!(plan.warnings, ["Published ports are discarded when using host network mode"]);
    assert!(plan.networking.publish.is_empty());
}

#[test]
fn addresses_are_for_subnets_that_a_user_chose() {
    let at = |address: &str| EndpointSettings {
        ipv4: Some(address.parse().unwrap()),
        ..EndpointSettings::default()
    };
    assert!(planned(with("front", at("10.1.0.7")), Isolation::Vm).is_ok());
    let user = "user specified IP address is supported on user defined networks only";
    assert_eq!(refused(with("bridge", at("10.1.0.7"))), user);
    assert_eq!(refused(with("none", at("10.1.0.7"))), user);
    assert!(refused(with("back", at("10.2.0.7"))).starts_with("user specified IP address is supported only"));
    let outside = "Address 10.2.0.7 belongs to none of network front's subnets";
    assert_eq!(refused(with("front", at("10.2.0.7"))), outside);
    assert_eq!(refused(with("front", at("10.1.0.1"))), "Address 10.1.0.1 is in use on network front");
}

#[test]
fn what_a_network_cannot_do_is_refused_by_its_name() {
    let aliases = || EndpointSettings { aliases: vec!["x".into()], ..EndpointSettings::default() };
    assert!(planned(with("front", aliases()), Isolation::Vm).is_ok());
    let text = "network-scoped aliases are only supported for user-defined networks";
    assert_eq!(refused(with("bridge", aliases())), text);
    let mac = EndpointSettings { mac: Some("02:00:00:00:00:01".parse().unwrap()), ..aliases() };
    let mac = EndpointSettings { aliases: Vec::new(), ..mac };
    assert_eq!(refused(with("none", mac)), "conflicting options: --mac-address and --network none");
    let mut slow = EndpointSettings::default();
    slow.rates.rx_bps = Some(1);
    assert!(planned(with("front", slow.clone()), Isolation::Vm).is_ok());
    let error = planned(with("front", slow), Isolation::Namespace).unwrap_err();
    assert!(matches!(error, NetworkError::RatesNeedVm));
}

#[test]
fn a_link_needs_a_container_that_is_there() {
    let mut asked = on(&["front"]);
    asked.links.push(("nosuch".into(), "db".into()));
    let error = planned(asked, Isolation::Vm).unwrap_err();
    assert_eq!(error.to_string(), "No such container: nosuch");
    assert!(matches!(error, NetworkError::Store(error) if error.kind() == Kind::NotFound));
}
