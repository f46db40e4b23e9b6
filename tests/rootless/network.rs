//! Networks of an ordinary user: hull's own code in a namespace of the user's, and pasta to the outside.

use hull_tests::background::kill_process;
use hull_tests::net::{Host, Server};
use hull_tests::{BUSYBOX, User, eventually};

fn user_of(host: &Host) -> User {
    let mut user = User::new();
    user.resolver("198.51.100.53");
    user.hull(["load", "-q"]).stdin(busybox()).inside(&host.namespace).output().exits(0);
    user
}

fn busybox() -> Vec<u8> {
    std::fs::read(hull_tests::paths::image("busybox.tar")).unwrap()
}

struct Side<'a> {
    host: &'a Host,
    user: &'a User,
}

impl Side<'_> {
    /// As text whose words have no spaces in them.
    fn say(&self, line: &str) -> hull_tests::Output {
        self.user.hull(line.split(' ')).inside(&self.host.namespace).output()
    }

    fn sh(&self, name: &str, script: &str) -> hull_tests::Output {
        self.user.hull(["exec", name, "sh", "-c", script]).inside(&self.host.namespace).output()
    }

    /// One that answers HTTP at port 80 with its name.
    fn serving(&self, name: &str, options: &str) {
        let script = format!("mkdir -p /www && echo {name} >/www/index.html && httpd -f -p 80 -h /www");
        let words = ["run", "-d", "--isolation", "namespace", "--name", name];
        let options = options.split(' ').filter(|word| !word.is_empty());
        let words = words.into_iter().chain(options).chain([BUSYBOX, "sh", "-c", &script]);
        self.user.hull(words).inside(&self.host.namespace).output().exits(0);
        eventually("it serves", || (self.sh(name, "wget -qO- http://127.0.0.1/").code == 0).then_some(()));
    }
}

#[test]
fn a_container_reaches_the_outside_by_address_and_by_name_and_not_the_hosts_loopback() {
    let host = Host::new();
    let user = user_of(&host);
    let side = Side { host: &host, user: &user };
    let _own = Server::start(&host.namespace, "127.0.0.1:8081", "loopback");
    side.serving("guest", "");
    for name in [Host::INTERNET, "www.example.test"] {
        let said = side.sh("guest", &format!("wget -qO- http://{name}/")).text();
        assert_eq!(said, format!("internet to {}", Host::ADDRESS), "{name}");
    }
    let gateways = "ip route | sed -n 's/.*via \\([0-9.]*\\).*/\\1/p'";
    let script = format!(
        "for a in $({gateways}) 198.51.100.2; do timeout 3 wget -qO- http://$a:8081/ && exit 0; done; exit 7"
    );
    side.sh("guest", &script).exits(7);
    side.say("rm -f guest").exits(0);
    user.expect_no_processes();
    assert!(host.unchanged(), "nothing of it is the host's");
}

#[test]
fn containers_of_a_network_find_each_other_by_name_and_others_do_not() {
    let host = Host::new();
    let user = user_of(&host);
    let side = Side { host: &host, user: &user };
    side.say("network create shop").exits(0);
    side.say("network create elsewhere").exits(0);
    side.serving("web", "--network shop");
    side.serving("client", "--network shop");
    side.serving("stranger", "--network elsewhere");
    assert_eq!(side.sh("client", "wget -qO- http://web/").text(), "web");
    let web = side.say("inspect -f {{.NetworkSettings.Networks.shop.IPAddress}} web").text();
    assert_eq!(side.sh("client", &format!("wget -qO- http://{web}/")).text(), "web");
    assert_ne!(side.sh("stranger", &format!("timeout 3 wget -qO- http://{web}/")).code, 0);
    side.say("rm -f web client stranger").exits(0);
    side.say("network rm shop elsewhere").exits(0);
    user.expect_no_processes();
}

#[test]
fn published_ports_are_the_hosts_and_low_ones_are_refused() {
    let host = Host::new();
    let user = user_of(&host);
    let side = Side { host: &host, user: &user };
    side.serving("web", "-p 8080:80");
    for address in ["127.0.0.1:8080", "198.51.100.1:8080"] {
        assert_eq!(host.namespace.get(address).unwrap().trim(), "web");
    }
    assert_eq!(host.client.get("203.0.113.1:8080").unwrap().trim(), "web");
    let refused = side.say("run --rm --isolation namespace -p 81:80 busybox true").fails(125);
    assert!(refused.contains("81"), "{refused}");
    side.say("rm -f web").exits(0);
    assert!(!host.namespace.reaches("127.0.0.1:8080"));
    user.expect_no_processes();
}

#[test]
fn a_killed_pasta_comes_back_and_a_killed_supervisor_leaves_nothing() {
    let host = Host::new();
    let user = user_of(&host);
    let side = Side { host: &host, user: &user };
    side.serving("guest", "-p 8080:80");
    // One that has just begun would be taken for one that cannot.
    std::thread::sleep(std::time::Duration::from_secs(1));
    kill_process(user.process("pasta --config-net"));
    eventually("the outside is back", || {
        let script = format!("timeout 3 wget -qO- http://{}/", Host::INTERNET);
        (side.sh("guest", &script).code == 0).then_some(())
    });
    kill_process(user.process("hull supervise"));
    side.say("ps").exits(0);
    user.expect_no_processes();
    side.say("start guest").exits(0);
    eventually("it serves", || host.namespace.get("127.0.0.1:8080").ok());
    side.say("rm -f guest").exits(0);
    user.expect_no_processes();
}
