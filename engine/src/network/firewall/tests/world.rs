//! Namespaces for the tests: a host, what is outside of it, and sandboxes on its networks.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hull_guest::netlink::route::{RouteEntry, Rtnetlink};
use hull_guest::protocol::{Mac, Prefix};
use nix::sched::{CloneFlags, unshare};

use crate::network::bridge::Bridge;
use crate::network::device::{Devices, Port};
use crate::network::firewall::*;
use crate::network::instance::Instance;
use crate::network::place::Place;
use crate::network::sysctl::Forwarding;

pub const SHORT: Duration = Duration::from_millis(300);
pub const LONG: Duration = Duration::from_secs(5);

pub fn namespace() -> Place {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        up("lo");
        OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap())
    });
    Place::namespace(made.join().unwrap())
}

/// In the calling thread's namespace.
pub fn up(name: &str) -> u32 {
    let mut route = Rtnetlink::open().unwrap();
    let link = route.link_by_name(name).unwrap().unwrap();
    route.set_up(link.index).unwrap();
    link.index
}

pub struct World {
    pub host: Place,
    pub outside: Place,
    pub firewall: Firewall,
    pub devices: Devices,
    pub run: tempfile::TempDir,
}

pub struct Sandbox {
    pub place: Place,
    pub rules: EndpointRules,
}

impl World {
    pub fn new() -> World {
        let (host, outside) = (namespace(), namespace());
        let instance = Instance::of_root(Path::new("/var/lib/hull"));
        let run = tempfile::tempdir().unwrap();
        host.enter(|| {
            run_program("ip", &["link", "add", "wan0", "type", "veth", "peer", "name", "wan1"]);
        })
        .unwrap();
        let world = World {
            firewall: Firewall::open(&host, &instance).unwrap(),
            devices: Devices::open(&host, &instance).unwrap(),
            host,
            outside,
            run,
        };
        let descriptor = world.outside.descriptor().unwrap();
        world
            .host
            .enter(|| {
                let mut route = Rtnetlink::open().unwrap();
                let peer = route.link_by_name("wan1").unwrap().unwrap();
                route.move_to(peer.index, descriptor.as_fd(), None).unwrap();
                configure("wan0", &["10.9.0.1/24", "fd09::1/64"], &[]);
            })
            .unwrap();
        let host = ["10.9.0.1", "fd09::1"].map(|address| address.parse().unwrap());
        world.outside.enter(|| configure("wan1", &["10.9.0.2/24", "fd09::2/64"], &host)).unwrap();
        Forwarding::of(&world.host, world.run.path()).enable(true).unwrap();
        world
    }

    pub fn network(&mut self, bridge: &str, gateways: &[&str], internal: bool) -> NetworkRules {
        let addresses: Vec<Prefix> = gateways.iter().map(|prefix| prefix.parse().unwrap()).collect();
        let rules = NetworkRules {
            bridge: bridge.to_owned(),
            subnets: addresses.clone(),
            gateways: addresses.iter().map(|prefix| prefix.address).collect(),
            internal,
        };
        if !self.firewall.is_there().unwrap() {
            self.firewall.repair(&[], &[]).unwrap();
        }
        self.firewall.apply(std::slice::from_ref(&rules), &[]).unwrap();
        assert!(self.devices.bridge_up(&Bridge { name: bridge, addresses: &addresses, mtu: None }).unwrap());
        rules
    }

    pub fn sandbox(&mut self, network: &NetworkRules, addresses: &[&str]) -> Sandbox {
        self.sandbox_with(network, addresses, Vec::new(), None)
    }

    pub fn sandbox_with(
        &mut self,
        network: &NetworkRules,
        addresses: &[&str],
        published: Vec<PublishedRule>,
        egress: Option<EgressRules>,
    ) -> Sandbox {
        let place = namespace();
        let prefixes: Vec<Prefix> = addresses.iter().map(|prefix| prefix.parse().unwrap()).collect();
        let mut mac = [2, 0x42, 0, 0, 0, 0];
        if let IpAddr::V4(first) = prefixes[0].address {
            mac[2..].copy_from_slice(&first.octets());
        }
        let rules = EndpointRules {
            port: format!("hv{:02x}{:02x}{:02x}{:02x}", mac[2], mac[3], mac[4], mac[5]),
            mac: Mac(mac),
            addresses: prefixes.iter().map(|prefix| prefix.address).collect(),
            published,
            egress,
        };
        self.firewall.apply(&[], std::slice::from_ref(&rules)).unwrap();
        let port = Port { name: &rules.port, bridge: &network.bridge, mac: rules.mac, mtu: None };
        let descriptor = place.descriptor().unwrap();
        self.devices.add_veth(&port, "eth0", rules.mac, descriptor.as_fd()).unwrap();
        let gateways = if network.internal { &[][..] } else { &network.gateways };
        place.enter(|| configure("eth0", addresses, gateways)).unwrap();
        Sandbox { place, rules }
    }

    pub fn ruleset(&self) -> String {
        self.host.enter(|| run_program("nft", &["list", "ruleset"])).unwrap()
    }
}

/// In the calling thread's namespace.
fn configure(name: &str, addresses: &[&str], gateways: &[IpAddr]) {
    let index = up(name);
    let mut route = Rtnetlink::open().unwrap();
    for address in addresses {
        route.add_address(index, address.parse().unwrap()).unwrap();
    }
    let v6 = addresses.iter().any(|address| address.contains(':'));
    for gateway in gateways.iter().filter(|gateway| v6 || gateway.is_ipv4()) {
        let destination = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" }.parse().unwrap();
        let gateway = Some(*gateway);
        route.replace_route(&RouteEntry { destination, gateway, device: Some(index), metric: None }).unwrap();
    }
}

pub fn run_program(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Listens to TCP and UDP in the place, and greets whoever comes by its own name.
pub fn serve(place: &Place, address: &str, greeting: &'static str) {
    let (tcp, udp) =
        place.enter(|| (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap())).unwrap();
    std::thread::spawn(move || {
        use io::Write;
        for stream in tcp.incoming() {
            let _ = stream.unwrap().write_all(greeting.as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(greeting.as_bytes(), from);
        }
    });
}

/// What the server greets with. A first packet may be lost while devices come up, so this is patient.
pub fn ask(place: &Place, address: &str) -> io::Result<String> {
    ask_for(LONG, place, address)
}

/// For what is expected to fail.
pub fn ask_briefly(place: &Place, address: &str) -> io::Result<String> {
    ask_for(SHORT, place, address)
}

fn ask_for(patience: Duration, place: &Place, address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(LONG))?;
        let mut text = String::new();
        io::Read::read_to_string(&mut stream, &mut text)?;
        Ok(text)
    })?
}

pub fn ask_udp(place: &Place, address: &str) -> io::Result<String> {
    let mut asked = ask_udp_briefly(place, address);
    for _ in 0..10 {
        if asked.is_ok() {
            break;
        }
        asked = ask_udp_briefly(place, address);
    }
    asked
}

pub fn ask_udp_briefly(place: &Place, address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(SHORT))?;
        socket.send_to(b"?", address)?;
        let mut buffer = [0; 64];
        let (length, _) = socket.recv_from(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })?
}
