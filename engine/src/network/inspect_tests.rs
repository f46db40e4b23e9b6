use super::*;
use crate::container::remove::tests::Fixture;
use crate::network::model::{Mode, Port, Protocol, Publish};
use crate::network::options::{self, Wish};
use crate::network::{catalog, create, ipam};
use crate::sandbox::mode::Isolation;

/// A container "a" on the default network and on "front", with addresses.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let store = &fixture.store;
    fixture.running("a", false);
    catalog::ensure_defaults(store, Vec::new).unwrap();
    let asked = create::Asked {
        name: "front".into(),
        driver: "bridge".into(),
        subnets: vec!["10.20.0.0/24".into(), "fd00:20::/64".into()],
        reserved: vec!["router=10.20.0.2".into()],
        ipv6: true,
        labels: [("tier".to_string(), "1".to_string())].into(),
        ..create::Asked::default()
    };
    create::create(store, asked, Vec::new).unwrap();
    for name in ["bridge", "front"] {
        let mut wish = Wish { network: name.into(), ..Wish::default() };
        if name == "front" {
            wish.settings.aliases.push("db".into());
            wish.settings.ipv4 = Some("10.20.0.9".parse().unwrap());
            wish.settings.rates.rx_bps = Some(1000);
        }
        let networking = Networking::default();
        let row = options::endpoint(store, "a", Isolation::Vm, &networking, wish).unwrap();
        store.db().add_endpoint(&row, 6).unwrap();
    }
    ipam::allocate(store, "a").unwrap();
    fixture
}

fn networking() -> Networking {
    let port = |number| Port { number, protocol: Protocol::Tcp };
    let publish = vec![Publish { container: port(80), address: None, host: Some((8080, 8080)) }];
    Networking { mode: Mode::Networks, expose: vec![port(443)], publish, ..Networking::default() }
}

// Names and shapes compared with dockerd 20.10.24.
#[test]
fn a_network_tells_its_pools_and_who_is_up_on_it() {
    let fixture = fixture();
    let row = fixture.store.db().network("front").unwrap();
    let shown = network(&fixture.store, &row).unwrap();
    let pools = json!([
        {
            "Subnet": "10.20.0.0/24", "Gateway": "10.20.0.1",
            "AuxiliaryAddresses": {"router": "10.20.0.2"},
        },
        {"Subnet": "fd00:20::/64", "Gateway": "fd00:20::1"},
    ]);
    assert_eq!(shown["IPAM"], json!({"Driver": "default", "Options": {}, "Config": pools}));
    assert_eq!((&shown["EnableIPv6"], &shown["Labels"]), (&json!(true), &json!({"tier": "1"})));
    let on = &shown["Containers"]["a"];
    assert_eq!(on["Name"], "name of a");
    assert_eq!((&on["IPv4Address"], &on["IPv6Address"]), (&json!("10.20.0.9/24"), &json!("fd00:20::2/64")));
    assert_eq!(on["MacAddress"], "02:42:0a:14:00:09");
    ipam::release(&fixture.store, "a").unwrap();
    assert_eq!(network(&fixture.store, &row).unwrap()["Containers"], json!({}));
    let bridge = network(&fixture.store, &fixture.store.db().network("bridge").unwrap()).unwrap();
    assert_eq!(bridge["Options"]["com.docker.network.bridge.default_bridge"], "true");
}

#[test]
fn a_container_tells_its_place_on_each_network() {
    let fixture = fixture();
    let networking = networking();
    let sandbox = Sandbox { id: "a", networking: &networking, up: true, namespace: None };
    let shown = sandbox.settings(&fixture.store).unwrap();
    assert_eq!(shown["Ports"], json!({"443/tcp": null}));
    assert_eq!((&shown["IPAddress"], &shown["Gateway"]), (&json!("172.17.0.2"), &json!("172.17.0.1")));
    let front = &shown["Networks"]["front"];
    assert_eq!(front["IPAMConfig"], json!({"IPv4Address": "10.20.0.9"}));
    assert_eq!((&front["IPPrefixLen"], &front["GlobalIPv6PrefixLen"]), (&json!(24), &json!(64)));
    assert_eq!((&front["Gateway"], &front["IPv6Gateway"]), (&json!("10.20.0.1"), &json!("fd00:20::1")));
    assert_eq!(front["DriverOpts"], json!({"rx-bps": "1000"}));
    assert_eq!(front["Aliases"][0], "db");
    ipam::release(&fixture.store, "a").unwrap();
    let sandbox = Sandbox { up: false, ..sandbox };
    let shown = sandbox.settings(&fixture.store).unwrap();
    assert_eq!(
        (&shown["Ports"], &shown["IPAddress"], &shown["SandboxID"]),
        (&json!({}), &json!(""), &json!(""))
    );
    assert_eq!(shown["Networks"]["front"]["EndpointID"], "");
}

#[test]
fn the_mode_is_the_first_network_s_name_or_docker_s_word() {
    let fixture = fixture();
    let mode = |networking: &Networking, id: &str| {
        host_config(&fixture.store, id, networking).unwrap()["NetworkMode"].clone()
    };
    assert_eq!(mode(&networking(), "a"), "bridge");
    assert_eq!(mode(&Networking::default(), "b"), "none");
    assert_eq!(mode(&Networking { mode: Mode::Host, ..Networking::default() }, "b"), "host");
    let shown = host_config(&fixture.store, "a", &networking()).unwrap();
    assert_eq!(shown["PortBindings"], json!({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}));
    let networking = Networking::default();
    let none = Sandbox { id: "b", networking: &networking, up: true, namespace: None };
    let networks = none.settings(&fixture.store).unwrap()["Networks"].clone();
    assert_eq!(networks["none"]["IPAddress"], "");
}
