use proptest::prelude::*;

use super::*;
use crate::network::model::{Driver, NetworkSettings};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn network(pools: &[Pool]) -> NetworkRow {
    let settings = NetworkSettings { pools: pools.to_vec(), ..NetworkSettings::default() };
    NetworkRow { id: "1".into(), name: "net".into(), driver: Driver::Bridge, created: 1, settings }
}

fn pool(subnet: &str) -> Pool {
    Pool::of(prefix(subnet), None, true)
}

fn ipv4(address: &str) -> EndpointSettings {
    EndpointSettings { ipv4: Some(address.parse().unwrap()), ..EndpointSettings::default() }
}

fn chosen(network: &NetworkRow, others: &[Live]) -> Live {
    choose(network, &EndpointSettings::default(), others).unwrap()
}

// Compared with dockerd 20.10.24.
#[test]
fn the_lowest_free_address_is_chosen_and_the_mac_is_of_it() {
    let network = network(&[pool("10.50.0.0/24")]);
    let mut all = Vec::new();
    for expected in ["10.50.0.2", "10.50.0.3", "10.50.0.4", "10.50.0.5"] {
        let live = chosen(&network, &all);
        assert_eq!(live.ipv4.unwrap().to_string(), expected);
        all.push(live);
    }
    assert_eq!(all[0].mac.to_string(), "02:42:0a:32:00:02");
    all.remove(1);
    assert_eq!(chosen(&network, &all).ipv4.unwrap().to_string(), "10.50.0.3");
}

#[test]
fn a_pool_ends_before_its_broadcast_address() {
    let network = network(&[pool("10.9.0.0/30")]);
    let only = chosen(&network, &[]);
    assert_eq!(only.ipv4.unwrap().to_string(), "10.9.0.2");
    let error = choose(&network, &EndpointSettings::default(), &[only]).unwrap_err();
    assert_eq!(error.to_string(), "Network net has no free address left in 10.9.0.0/30");
}

#[test]
fn a_range_gateway_and_reserved_addresses_are_kept() {
    let reserved = ["10.3.0.129", "10.3.0.130"].map(|a| (a.to_owned(), a.parse().unwrap())).into();
    let range = Some(prefix("10.3.0.128/30"));
    let network = network(&[Pool { range, reserved, ..pool("10.3.0.0/24") }]);
    let low = chosen(&network, &[]);
    assert_eq!(low.ipv4.unwrap().to_string(), "10.3.0.128");
    let high = chosen(&network, std::slice::from_ref(&low));
    assert_eq!(high.ipv4.unwrap().to_string(), "10.3.0.131");
    let full = choose(&network, &EndpointSettings::default(), &[low, high]).unwrap_err();
    assert!(matches!(full, IpamError::Full { .. }));
    // As docker's: what is asked for may lie beside the range.
    assert!(choose(&network, &ipv4("10.3.0.77"), &[]).is_ok());
    for taken in ["10.3.0.129", "10.3.0.1", "10.3.0.0", "10.3.0.255"] {
        assert!(matches!(choose(&network, &ipv4(taken), &[]), Err(IpamError::InUse { .. })), "{taken}");
    }
}

#[test]
fn fixed_addresses_are_checked() {
    let network = network(&[pool("10.20.0.0/24"), pool("fd00:5::/64")]);
    let live = choose(&network, &ipv4("10.20.0.9"), &[]).unwrap();
    assert_eq!(live.ipv6.unwrap().to_string(), "fd00:5::2");
    let error = choose(&network, &ipv4("10.20.0.9"), std::slice::from_ref(&live)).unwrap_err();
    assert_eq!(error.to_string(), "Address 10.20.0.9 is in use on network net");
    let error = choose(&network, &ipv4("10.30.0.2"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "Address 10.30.0.2 belongs to none of network net's subnets");
    let wishes = EndpointSettings { mac: Some(live.mac), ..EndpointSettings::default() };
    assert!(matches!(choose(&network, &wishes, &[live]), Err(IpamError::MacInUse { .. })));
}

#[test]
fn a_network_of_one_family_gives_addresses_of_one() {
    let six = network(&[pool("fd00:5::/64")]);
    let live = chosen(&six, &[]);
    assert!(live.ipv4.is_none() && live.ipv6.is_some());
    assert_eq!(live.mac.0[..2], MAC_START);
    assert!(matches!(choose(&six, &ipv4("10.0.0.2"), &[]), Err(IpamError::Outside { .. })));
    let none = chosen(&network(&[]), &[]);
    assert!(none.ipv4.is_none() && none.ipv6.is_none());
}

proptest! {
    /// Whatever comes and goes, nobody has another's address, the gateway's, or one outside of the subnet;
    /// and a pool is full only when all of it is in use.
    #[test]
    fn addresses_have_one_owner_and_none_is_lost(
        length in 24_u8..=30, steps in prop::collection::vec(0_usize..12, 1..60)
    ) {
        let subnet = Prefix::new("10.7.3.0".parse().unwrap(), length).unwrap();
        let network = network(&[Pool::of(subnet, None, true)]);
        let room = (1_usize << (32 - length)) - 3;
        let mut all: Vec<Live> = Vec::new();
        for step in steps {
            if step < all.len() && step % 3 == 0 {
                all.remove(step);
                continue;
            }
            match choose(&network, &EndpointSettings::default(), &all) {
                Ok(live) => {
                    let address = IpAddr::V4(live.ipv4.unwrap());
                    prop_assert!(subnet.contains(address) && address != network.settings.pools[0].gateway);
                    prop_assert!(all.iter().all(|other| other.ipv4 != live.ipv4 && other.mac != live.mac));
                    all.push(live);
                }
                Err(IpamError::Full { .. }) => prop_assert_eq!(all.len(), room),
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }
}
