//! A sandbox's network: a namespace that all its containers are in, with devices as they were asked for.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use hull_guest::netlink::route::{Rtnetlink, Veth};
use hull_guest::protocol::*;
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

use crate::fixture::{Agent, args, image, read_all, read_until};

/// A network namespace of the test's own.
pub struct Namespace(pub OwnedFd);

impl Namespace {
    pub fn new() -> Self {
        let made = std::thread::spawn(|| {
            // SAFETY: NEWNET touches neither descriptors nor memory.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Namespace(made.join().unwrap().into())
    }

    /// Runs in a thread that is in it; sockets opened there stay in it.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_thread_name_spaces(self.0.as_fd(), ThreadNameSpaceType::NETWORK).unwrap();
                act()
            });
            inside.join().unwrap()
        })
    }

    pub fn handed(&self) -> OwnedFd {
        self.0.try_clone().unwrap()
    }

    /// A pair of devices: its end `name` with the first address, which is up, and one in `other`.
    fn plug(&self, name: &str, address: &str, mac: Mac, other: &Namespace) {
        self.enter(|| {
            let mut route = Rtnetlink::open().unwrap();
            let pair = Veth {
                name,
                mac: None,
                peer_name: &format!("{name}p"),
                peer_mac: Some(mac),
                peer_netns: Some(other.0.as_fd()),
                mtu: None,
            };
            route.add_veth(&pair).unwrap();
            let index = route.link_by_name(name).unwrap().unwrap().index;
            route.add_address(index, address.parse().unwrap()).unwrap();
            route.set_up(index).unwrap();
        });
    }
}

fn mac(last: u8) -> Mac {
    Mac([2, 0x42, 10, 99, 0, last])
}

fn interface(name: &str, last: u8, addresses: &[&str], gateway: Option<&str>) -> Interface {
    let route = |gateway: &str| Route {
        destination: "0.0.0.0/0".parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
    };
    Interface {
        name: name.into(),
        device_mac: mac(last),
        mac: mac(last),
        mtu: None,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        routes: gateway.map(route).into_iter().collect(),
    }
}

pub fn configure(agent: &Agent, network: NetworkConfig) -> Result<Outcome, CallError> {
    let network = Some(network);
    agent.call(&Request::ConfigureSandbox(SandboxConfig { network, ..SandboxConfig::default() }))
}

fn handed(interfaces: Vec<Interface>) -> NetworkConfig {
    NetworkConfig { namespace: NetworkNamespace::Handed, interfaces, dns: false }
}

/// A host's network namespace, a sandbox's that is plugged into it, and its agent. None: not possible here.
fn plugged_in() -> Option<(Namespace, Namespace, Agent)> {
    image()?;
    let (host, inside) = (Namespace::new(), Namespace::new());
    host.plug("hv0", "10.99.0.1/24", mac(2), &inside);
    let agent = Agent::start_with(Some(inside.handed()))?;
    Some((host, inside, agent))
}

#[test]
fn containers_share_the_handed_network_and_reach_what_is_plugged_in() {
    let Some((_host, _inside, agent)) = plugged_in() else { return };
    let eth0 = interface("eth0", 2, &["10.99.0.2/24"], Some("10.99.0.1"));
    configure(&agent, handed(vec![eth0])).unwrap();
    let shown = agent
        .shell("ip -o -4 addr show eth0; ip route; ping -c 1 -W 2 10.99.0.1; readlink /proc/self/ns/net");
    assert!(shown.contains("inet 10.99.0.2/24 brd 10.99.0.255"), "{shown}");
    assert!(shown.contains("default via 10.99.0.1 dev eth0"), "{shown}");
    assert!(shown.contains("1 packets received"), "{shown}");
    let again = agent.shell("readlink /proc/self/ns/net");
    assert!(shown.ends_with(&again), "kept though no container was there: {shown} {again}");
    let ipv6 = agent.shell("cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip -6 -o addr show eth0");
    assert_eq!(ipv6, "1\n", "no IPv6 where none was asked for");
    let low = agent.shell_as("cat /proc/sys/net/ipv4/ip_unprivileged_port_start", |spec| {
        spec.process.user = "app".into();
    });
    assert_eq!(low, "0\n");
}

#[test]
fn interfaces_come_and_go_while_a_container_runs() {
    let Some((host, inside, agent)) = plugged_in() else { return };
    let eth0 = interface("eth0", 2, &["10.99.0.2/24"], Some("10.99.0.1"));
    configure(&agent, handed(vec![eth0])).unwrap();
    let spec = agent.spec(&["sh", "-c", "echo up; sleep 600"]);
    agent.create(&spec).unwrap();
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    read_until(&mut stdout, "up\n");

    host.plug("hv1", "10.98.0.1/24", mac(3), &inside);
    let eth1 = interface("eth1", 3, &["10.98.0.2/24"], None);
    agent.call(&Request::ConnectInterface(eth1.clone())).unwrap();
    assert_eq!(agent.call(&Request::ConnectInterface(eth1)).unwrap_err().kind, ErrorKind::State);
    let shown = agent.shell("ping -c 1 -W 2 10.98.0.1");
    assert!(shown.contains("1 packets received"), "{shown}");
    let exec = agent.exec(&spec, &["ping", "-c", "1", "-W", "2", "10.98.0.1"]);
    agent.create_exec(&exec).unwrap();
    let mut told = agent.attach(&exec.exec_id, Stream::Stdout);
    agent.start_container(&exec.exec_id).unwrap();
    let told = read_all(&mut told);
    assert!(told.contains("1 packets received"), "{told}");
    let Ok(Outcome::Stats(stats)) = agent.call(&Request::Stats(args(&spec.id))) else { panic!() };
    let mut names: Vec<_> = stats.network.iter().map(|device| device.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["eth0", "eth1"]);

    let route =
        Route { destination: "0.0.0.0/0".parse().unwrap(), gateway: Some("10.98.0.1".parse().unwrap()) };
    let gone = DisconnectArgs { name: "eth0".into(), routes: vec![route] };
    agent.call(&Request::DisconnectInterface(gone.clone())).unwrap();
    let shown = agent.shell("ip -o link; ip route");
    assert!(!shown.contains("eth0"), "{shown}");
    assert!(shown.contains("default via 10.98.0.1 dev eth1"), "{shown}");
    assert_eq!(agent.call(&Request::DisconnectInterface(gone)).unwrap_err().kind, ErrorKind::State);
    let left = host.enter(|| Rtnetlink::open().unwrap().links().unwrap());
    assert!(left.iter().all(|link| link.name != "hv0"), "its other end is gone too: {left:?}");
    let bad = Interface { name: "../x".into(), ..interface("", 4, &[], None) };
    assert_eq!(agent.call(&Request::ConnectInterface(bad)).unwrap_err().kind, ErrorKind::Invalid);
    let missing = agent.call(&Request::ConnectInterface(interface("eth2", 9, &[], None))).unwrap_err();
    assert_eq!(missing.message, "There is no device of the address 02:42:0a:63:00:09");
    agent.delete(&spec.id);
}

#[test]
fn pod_has_the_network_of_the_sandbox_and_a_container_may_join_anothers() {
    let Some((_host, _inside, agent)) = plugged_in() else { return };
    let network = Some(handed(vec![interface("eth0", 2, &["10.99.0.2/24", "fd00:99::2/64"], None)]));
    let pod = Some(PodConfig { hostname: "shared".into(), domainname: String::new() });
    agent
        .call(&Request::ConfigureSandbox(SandboxConfig { network, pod, ..SandboxConfig::default() }))
        .unwrap();
    let told = agent.shell("hostname; readlink /proc/self/ns/net; ip -o addr show eth0");
    assert!(told.starts_with("shared\n") && told.contains("10.99.0.2/24"), "{told}");
    assert!(told.contains("fd00:99::2/64") && !told.contains("tentative"), "{told}");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert!(!told.contains(&own), "{told}");
}

#[test]
fn containers_in_the_hosts_network_are_where_the_agent_was_started() {
    let Some(agent) = Agent::start() else { return };
    let network = || NetworkConfig { namespace: NetworkNamespace::Host, ..NetworkConfig::default() };
    let asked = NetworkConfig { dns: true, ..network() };
    assert_eq!(configure(&agent, asked).unwrap_err().kind, ErrorKind::Invalid);
    let asked = NetworkConfig { namespace: NetworkNamespace::Handed, ..network() };
    assert_eq!(configure(&agent, asked).unwrap_err().kind, ErrorKind::Invalid);
    configure(&agent, network()).unwrap();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_eq!(agent.shell("readlink /proc/self/ns/net").trim(), own);
    let error = agent.call(&Request::ConnectInterface(interface("eth0", 2, &[], None))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::State);
    assert_eq!(agent.call(&Request::Dns).unwrap_err().kind, ErrorKind::State);
    let spec = agent.spec(&["sleep", "600"]);
    agent.create(&spec).unwrap();
    agent.start_container(&spec.id).unwrap();
    let Ok(Outcome::Stats(stats)) = agent.call(&Request::Stats(args(&spec.id))) else { panic!() };
    assert_eq!(stats.network, [], "the host's devices carry more than the container's");
    agent.delete(&spec.id);
}

#[test]
fn network_of_the_agents_own_making_has_only_what_it_was_given() {
    let Some(agent) = Agent::start() else { return };
    configure(&agent, NetworkConfig::default()).unwrap();
    let first =
        agent.shell("readlink /proc/self/ns/net; ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1");
    assert!(first.ends_with("\n1\n1\n"), "{first}");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let second = agent.shell("readlink /proc/self/ns/net");
    assert!(first.starts_with(&second) && second.trim() != own, "{first} {second}");
    assert!(configure(&agent, NetworkConfig::default()).is_err(), "once");
}
