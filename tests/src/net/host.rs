//! A machine to run hull on, beside which there are an "internet" and a client.
//!
//! ```text
//!   internet 198.51.100.2 ── inet0 198.51.100.1  host  203.0.113.1 lan0 ── 203.0.113.2 client
//!       2001:db8:100::2            2001:db8:100::1     2001:db8:200::1     2001:db8:200::2
//! ```
//!
//! The internet knows no way to any network behind the host.

use std::ffi::OsStr;

use serde_json::Value;

use crate::command::{Hull, Output};
use crate::net::{Dns, Guest, Namespace, Server};
use crate::{Store, paths};

/// Its namespaces and its store go with it; so do the containers, and nothing of their networks may be left then.
pub struct Host {
    pub namespace: Namespace,
    pub internet: Namespace,
    pub client: Namespace,
    pub store: Store,
    pub dns: Dns,
    _servers: Vec<Server>,
    before: Plumbing,
}

/// What a network changes on a host.
#[derive(Debug, PartialEq, Eq)]
pub struct Plumbing {
    links: Vec<String>,
    rules: String,
    forwarding: Vec<String>,
    routes: String,
}

impl Host {
    pub const ADDRESS: &str = "198.51.100.1";
    pub const ADDRESS_6: &str = "2001:db8:100::1";
    pub const LAN: &str = "203.0.113.1";
    pub const LAN_6: &str = "2001:db8:200::1";
    pub const CLIENT: &str = "203.0.113.2";
    pub const CLIENT_6: &str = "2001:db8:200::2";
    /// Of the internet, with a [`Server`] at ports 80 and 8080.
    pub const INTERNET: &str = "198.51.100.2";
    pub const INTERNET_6: &str = "2001:db8:100::2";
    /// Another there.
    pub const SECOND: &str = "198.51.100.3";

    pub fn new() -> Host {
        let [namespace, internet, client] = [Namespace::new(), Namespace::new(), Namespace::new()];
        namespace.ip_batch(&format!(
            "link add inet0 type veth peer name eth0 netns {}\n\
             link add lan0 type veth peer name eth0 netns {}\n\
             addr add 198.51.100.1/24 dev inet0\naddr add 2001:db8:100::1/64 dev inet0 nodad\nlink set inet0 up\n\
             addr add 203.0.113.1/24 dev lan0\naddr add 2001:db8:200::1/64 dev lan0 nodad\nlink set lan0 up\n",
            internet.path(),
            client.path()
        ));
        internet.ip_batch(
            "addr add 198.51.100.2/24 dev eth0\naddr add 198.51.100.3/24 dev eth0\naddr add 198.51.100.53/24 dev eth0\n\
             addr add 2001:db8:100::2/64 dev eth0 nodad\nlink set eth0 up\n",
        );
        client.ip_batch(
            "addr add 203.0.113.2/24 dev eth0\naddr add 2001:db8:200::2/64 dev eth0 nodad\nlink set eth0 up\n\
             route add default via 203.0.113.1\nroute add ::/0 via 2001:db8:200::1\n",
        );
        namespace.ip_batch("route add default via 198.51.100.2\nroute add ::/0 via 2001:db8:100::2\n");
        let at = ["198.51.100.2:80", "198.51.100.2:8080", "[2001:db8:100::2]:80"];
        let mut servers: Vec<Server> = at.iter().map(|at| Server::start(&internet, at, "internet")).collect();
        servers.push(Server::start(&internet, "198.51.100.3:80", "second"));
        let dns = Dns::start(&internet, "198.51.100.53:53");
        let before = Plumbing::of(&namespace);
        Host { namespace, internet, client, store: Store::over_images(), dns, _servers: servers, before }
    }

    /// `hull ARGS...`, not started yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Hull {
        self.store.hull(args).inside(&self.namespace)
    }

    /// `hull ARGS...` to its end.
    pub fn hull<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).output()
    }

    /// `hull ARGS...`, as text whose words have no spaces in them.
    pub fn say(&self, line: &str) -> Output {
        self.hull(line.split(' '))
    }

    /// `hull run --rm ARGS...` in the mode under test.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.store.run(args).inside(&self.namespace).output()
    }

    /// `hull run -d ARGS...` in the mode under test.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = S>) -> Guest<'_> {
        let words =
            ["run", "-d", "--isolation", paths::isolation().word(), "--pull", "never", "--name", name];
        self.command(words).args(args).output().exits(0);
        Guest { host: self, name: name.to_owned() }
    }

    /// `hull run -d OPTIONS busybox sleep`, with a name of its own; the options as one text.
    #[track_caller]
    pub fn sleeping(&self, name: &str, options: &str) -> Guest<'_> {
        let options = options.split(' ').filter(|word| !word.is_empty());
        self.start(name, options.chain([crate::BUSYBOX, "sleep", "1000"]))
    }

    /// One that answers HTTP at port 80 with its name.
    #[track_caller]
    pub fn serving(&self, name: &str, options: &str) -> Guest<'_> {
        let options = options.split(' ').filter(|word| !word.is_empty());
        let script = format!("mkdir -p /www && echo {name} >/www/index.html && httpd -f -p 80 -h /www");
        let guest = self.start(name, options.chain([crate::BUSYBOX, "sh", "-c", &script]));
        guest.await_port(80);
        guest
    }

    pub fn guest(&self, name: &str) -> Guest<'_> {
        Guest { host: self, name: name.to_owned() }
    }

    /// The one document of `hull WORDS...`, such as `network inspect NAME`.
    #[track_caller]
    pub fn document(&self, words: &str) -> Value {
        let text = self.say(words).text();
        serde_json::from_str::<Vec<Value>>(&text).unwrap_or_else(|e| panic!("{text}: {e}")).remove(0)
    }

    pub fn plumbing(&self) -> Plumbing {
        Plumbing::of(&self.namespace)
    }

    /// Whether nothing of networks is on the host.
    pub fn unchanged(&self) -> bool {
        self.plumbing() == self.before
    }

    /// Others have changed it for good: what is there now is what is there without hull.
    pub fn forget_before(&mut self) {
        self.clear();
        self.before = self.plumbing();
    }

    /// That nothing of networks is on the host.
    #[track_caller]
    pub fn is_as_before(&self) {
        assert_eq!(self.plumbing(), self.before, "the host is not as it was before");
    }

    /// Ends all containers and user networks.
    fn clear(&self) {
        for (list, remove) in [
            (&["ps", "-aq"][..], &["rm", "-f"][..]),
            (&["pod", "ls", "-q"], &["pod", "rm", "-f"]),
            (&["network", "ls", "-q", "--filter", "type=custom"], &["network", "rm"]),
        ] {
            let found = String::from_utf8_lossy(&self.hull(list).stdout).into_owned();
            if !found.trim().is_empty() {
                self.hull(remove.iter().copied().chain(found.split_whitespace()));
            }
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Host::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.clear();
        if !std::thread::panicking() {
            self.is_as_before();
        }
    }
}

impl Plumbing {
    fn of(namespace: &Namespace) -> Plumbing {
        let links = namespace.ip("-o link");
        let links = links.lines().filter_map(|line| line.split(": ").nth(1)).map(str::to_owned).collect();
        let sysctl = |name: &str| {
            let path = format!("/proc/sys/net/{name}");
            namespace.enter(|| std::fs::read_to_string(&path)).map(|text| format!("{name}: {}", text.trim()))
        };
        let names = ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/route_localnet"];
        Plumbing {
            links,
            rules: namespace.run("nft", ["list", "ruleset"]),
            forwarding: names.iter().map(|name| sysctl(name).unwrap()).collect(),
            // Whether the other end is up yet is not hull's.
            routes: namespace.ip("route").replace(" linkdown", ""),
        }
    }
}
