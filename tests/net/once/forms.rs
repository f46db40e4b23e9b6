//! `-p` in all its forms, `-P`, `--expose`, `port`, and the PORTS column.

use hull_tests::net::{Host, Namespace};
use hull_tests::{PYTHON, SERVICES};

/// Answers datagrams at port 90 with what they are, and says for whom.
const ECHO: &str = "import socket\n\
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 90)); print('ready', flush=True)\n\
    while True:\n    data, peer = s.recvfrom(1500); s.sendto(b'echo ' + data, peer)\n";

#[test]
fn ports_are_shown_as_docker_shows_them() {
    let host = Host::new();
    let _guest =
        host.sleeping("guest", "-p 7100-7102:80-82 -p 127.0.0.1:7200:90/udp -p [::1]:7300:91 --expose 92");
    assert_eq!(
        host.say("port guest").text(),
        "80/tcp -> 0.0.0.0:7100\n80/tcp -> [::]:7100\n81/tcp -> 0.0.0.0:7101\n81/tcp -> [::]:7101\n\
         82/tcp -> 0.0.0.0:7102\n82/tcp -> [::]:7102\n90/udp -> 127.0.0.1:7200\n91/tcp -> [::1]:7300"
    );
    assert_eq!(host.say("port guest 80").text(), "0.0.0.0:7100\n[::]:7100");
    assert_eq!(host.say("port guest 90/udp").text(), "127.0.0.1:7200");
    for wrong in ["83", "90/tcp"] {
        let told = host.say(&format!("port guest {wrong}")).fails(1);
        assert!(told.contains(wrong) && told.contains("guest"), "{told}");
    }
    let column = host.hull(["ps", "--format", "{{.Ports}}"]).text();
    assert!(column.contains("92/tcp") && column.contains("127.0.0.1:7200->90/udp"), "{column}");
    assert!(column.contains("0.0.0.0:7100") && column.contains("->80"), "{column}");
    let ports = &host.guest("guest").inspect()["NetworkSettings"]["Ports"];
    assert_eq!(ports["80/tcp"][0]["HostPort"], "7100");
    assert_eq!(ports["90/udp"][0]["HostIp"], "127.0.0.1");
    assert!(ports["92/tcp"].is_null(), "{ports}");
}

#[test]
fn a_port_at_one_address_is_not_at_another() {
    let host = Host::new();
    let _local = host.serving("local", "-p 127.0.0.1:8081:80 -p [::1]:8082:80");
    let _lan = host.serving("lan", "-p 203.0.113.1:8081:80");
    assert_eq!(host.namespace.get("127.0.0.1:8081").unwrap(), "local");
    assert_eq!(host.namespace.get("[::1]:8082").unwrap(), "local");
    assert!(!host.namespace.reaches("127.0.0.1:8082"));
    assert!(!host.client.reaches("203.0.113.1:8082"));
    assert_eq!(host.client.get("203.0.113.1:8081").unwrap(), "lan");
    assert!(!host.namespace.reaches("198.51.100.1:8081"));
}

#[test]
fn random_ports_are_chosen_and_told() {
    let host = Host::new();
    let _one = host.serving("one", "-p 80 -p 127.0.0.1::80 -p 8090-8095:80");
    let _two = host.serving("two", "-p 8090-8095:80");
    let mut ports: Vec<String> = host.say("port one 80").text().lines().map(str::to_owned).collect();
    ports.retain(|port| !port.starts_with("[::]"));
    assert_eq!(ports.len(), 3, "{ports:?}");
    for port in &ports {
        let at = port.replace("0.0.0.0", "127.0.0.1");
        assert_eq!(host.namespace.get(&at).unwrap(), "one", "{port}");
    }
    assert_eq!(host.say("port two 80").text().lines().next().unwrap(), "0.0.0.0:8091");
}

#[test]
fn all_that_an_image_exposes_is_published() {
    let host = Host::new();
    let web = host.start("web", ["-P", "--expose", "5432", SERVICES, "nginx"]);
    web.await_port(80);
    let told = host.say("port web").text();
    for port in ["80/tcp", "5432/tcp", "6379/tcp"] {
        assert!(told.contains(&format!("{port} -> 0.0.0.0:")), "{told}");
    }
    let at = host.say("port web 80").text().lines().next().unwrap().replace("0.0.0.0", Host::LAN);
    assert!(host.client.get(&at).unwrap().ends_with(Host::CLIENT));
}

#[test]
fn datagrams_are_passed_on_and_back() {
    let host = Host::new();
    let echo = host.start("echo", ["-p", "8080:90/udp", PYTHON, "python3", "-c", ECHO]);
    hull_tests::eventually("it is ready", || host.say("logs echo").text().contains("ready").then_some(()));
    let asked =
        |from: &Namespace, at: &str| from.datagram(at, "hello").unwrap_or_else(|e| panic!("{at}: {e}"));
    for at in ["203.0.113.1:8080", "[2001:db8:200::1]:8080"] {
        assert_eq!(asked(&host.client, at), "echo hello");
    }
    for at in ["127.0.0.1:8080", "[::1]:8080", "198.51.100.1:8080"] {
        assert_eq!(asked(&host.namespace, at), "echo hello");
    }
    echo.remove();
    assert!(host.client.datagram("203.0.113.1:8080", "hello").is_err());
}

#[test]
fn a_restart_keeps_ports_and_gives_random_ones_anew() {
    let host = Host::new();
    let web = host.serving("web", "-p 8080:80 -p 80");
    host.say("restart -t 0 web").exits(0);
    web.await_port(80);
    let told = host.say("port web 80").text();
    let ports: Vec<&str> = told.lines().filter(|line| line.starts_with("0.0.0.0")).collect();
    assert!(ports.len() == 2 && ports.contains(&"0.0.0.0:8080"), "{told}");
    for port in ports {
        assert_eq!(host.client.get(&port.replace("0.0.0.0", Host::LAN)).unwrap(), "web");
    }
}
