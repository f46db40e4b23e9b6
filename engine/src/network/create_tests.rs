use super::*;
use crate::network::ipam;
use crate::network::model::EndpointSettings;

fn asked(name: &str) -> Asked {
    Asked { name: name.into(), driver: "bridge".into(), ..Asked::default() }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn refused(asked: Asked) -> String {
    let (_folder, store) = Store::temporary();
    create(&store, asked, Vec::new).unwrap_err().to_string()
}

#[test]
fn networks_get_docker_s_pools_one_after_the_other() {
    let (_folder, store) = Store::temporary();
    let avoid = || vec!["172.18.0.0/16".parse().unwrap()];
    for (name, subnet) in [("one", "172.19.0.0/16"), ("two", "172.20.0.0/16")] {
        let row = create(&store, asked(name), avoid).unwrap();
        assert_eq!(row.settings.pools[0].subnet.to_string(), subnet);
        assert_eq!(store.db().network(name).unwrap(), row);
    }
    let text = "The name \"one\" is in use by another network";
    assert_eq!(create(&store, asked("one"), avoid).unwrap_err().to_string(), text);
}

#[test]
fn subnets_gateways_ranges_and_reserved_addresses_find_each_other() {
    let (_folder, store) = Store::temporary();
    let asked = Asked {
        subnets: words(&["10.3.0.7/24", "fd00:3::/64"]),
        gateways: words(&["fd00:3::99", "10.3.0.254"]),
        ranges: words(&["10.3.0.128/25"]),
        reserved: words(&["host1=10.3.0.128", "host2=fd00:3::1"]),
        ipv6: true,
        ..asked("front")
    };
    let row = create(&store, asked, Vec::new).unwrap();
    let [ipv4, ipv6] = row.settings.pools.as_slice() else { panic!("{row:?}") };
    assert_eq!(ipv4.subnet.to_string(), "10.3.0.0/24");
    assert_eq!(
        (ipv4.gateway.to_string(), ipv6.gateway.to_string()),
        ("10.3.0.254".into(), "fd00:3::99".into())
    );
    let live = ipam::choose(&row, &EndpointSettings::default(), &[]).unwrap();
    assert_eq!(
        (live.ipv4.unwrap().to_string(), live.ipv6.unwrap().to_string()),
        ("10.3.0.129".into(), "fd00:3::2".into())
    );
}

#[test]
fn ipv6_without_a_subnet_gets_a_local_one_of_its_own() {
    let (_folder, store) = Store::temporary();
    let row = create(&store, Asked { ipv6: true, ..asked("six") }, Vec::new).unwrap();
    let [_, ipv6] = row.settings.pools.as_slice() else { panic!("{row:?}") };
    assert!(ipv6.subnet.to_string().starts_with("fd") && !ipv6.given, "{ipv6:?}");
}

// Compared with dockerd 20.10.24 and docker 28.2.2, whose words these are where they are clear.
#[test]
fn what_cannot_be_a_network_is_refused_by_what_is_wrong_with_it() {
    let with = |change: fn(&mut Asked)| {
        let mut asked = asked("front");
        change(&mut asked);
        refused(asked)
    };
    let range = "every ip-range or gateway must have a corresponding subnet";
    for (text, expected) in [
        (with(|a| a.name = "bridge".into()), "operation is not permitted on predefined bridge network"),
        (with(|a| a.driver = "host".into()), "only one instance of \"host\" network is allowed"),
        (with(|a| a.driver = "none".into()), "only one instance of \"null\" network is allowed"),
        (with(|a| a.driver = "x".into()), "There is no network driver \"x\"; there are bridge and macvlan"),
        (
            with(|a| a.subnets = words(&["10.1.5.0"])),
            "Invalid subnet 10.1.5.0, which is to be like 172.20.0.0/16 or fd00:1::/64",
        ),
        (with(|a| a.gateways = words(&["10.4.0.1"])), range),
        (with(|a| a.ranges = words(&["10.4.0.0/25"])), range),
        (
            with(|a| (a.subnets, a.gateways) = (words(&["10.3.0.0/24"]), words(&["10.4.0.1"]))),
            "no matching subnet for gateway 10.4.0.1",
        ),
        (
            with(|a| (a.subnets, a.ranges) = (words(&["10.3.0.0/24"]), words(&["10.7.0.0/25"]))),
            "no matching subnet for range 10.7.0.0/25",
        ),
        (
            with(|a| (a.subnets, a.reserved) = (words(&["10.3.0.0/24"]), words(&["x=10.7.0.1"]))),
            "no matching subnet for aux-address 10.7.0.1",
        ),
        (
            with(|a| a.subnets = words(&["10.6.0.0/24", "10.7.0.0/24"])),
            "A network has one subnet of IPv4 and one of IPv6 at most",
        ),
        (with(|a| a.subnets = words(&["fd00::/64"])), "Subnet fd00::/64 is of IPv6, which needs --ipv6"),
        (
            with(|a| a.driver = "macvlan".into()),
            "A macvlan network needs a device of the host's: -o parent=DEVICE",
        ),
    ] {
        assert_eq!(text, expected);
    }
    assert!(with(|a| a.name = "a b".into()).starts_with("\"a b\" is not a name for a network"));
}

#[test]
fn options_are_honoured_or_refused() {
    let (_folder, store) = Store::temporary();
    let option = |name: &str, value: &str| {
        let options = [(name.to_string(), value.to_string())].into();
        create(&store, Asked { options, ..asked(&format!("n{}", name.len() + value.len())) }, Vec::new)
    };
    assert_eq!(option(MTU, "1400").unwrap().settings.mtu, Some(1400));
    assert!(option("com.docker.network.bridge.enable_icc", "true").is_ok());
    for (name, value, why) in [
        (MTU, "x", "an MTU is a number from 68 to 65535"),
        (MTU, "67", "an MTU is a number from 68 to 65535"),
        ("com.docker.network.bridge.enable_icc", "false", "only true is supported"),
        ("com.docker.network.bridge.name", "brx", "no such option of a bridge network"),
        ("parent", "eth0", "no such option of a bridge network"),
    ] {
        assert_eq!(option(name, value).unwrap_err().to_string(), format!("-o {name}={value}: {why}"));
    }
    let macvlan = |parent: &str| {
        let options = [("parent".to_string(), parent.to_string())].into();
        create(&store, Asked { options, driver: "macvlan".into(), ..asked("mac") }, Vec::new)
    };
    assert_eq!(macvlan("nodev").unwrap_err().to_string(), "-o parent=nodev: the host has no such device");
    assert_eq!(macvlan("lo").unwrap().settings.parent.as_deref(), Some("lo"));
}
