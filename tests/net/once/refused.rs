//! Wrong input: one line that says why, an exit code, and nothing left behind.

use hull_tests::net::{Host, Server};
use hull_tests::{BUSYBOX, isolation};

#[test]
fn wrong_networks_are_not_made() {
    let host = Host::new();
    host.say("network create --subnet 10.9.0.0/16 taken").exits(0);
    for (options, part) in [
        ("taken", "taken"),
        ("--subnet 10.9.1.0/24 x", "overlap"),
        ("--subnet 198.51.100.0/24 x", "overlap"),
        ("--subnet 10.8.0.0/33 x", "10.8.0.0/33"),
        ("--subnet nonsense x", "nonsense"),
        ("--subnet 10.8.0.0/24 --gateway 10.7.0.1 x", "10.7.0.1"),
        ("--subnet 10.8.0.0/24 --ip-range 10.7.0.0/28 x", "10.7.0.0/28"),
        ("--gateway 10.8.0.1 x", "subnet"),
        ("--subnet 10.55.0.0/24 --subnet 10.56.0.0/24 x", "subnet"),
        ("--driver nosuch x", "nosuch"),
        ("--driver host x", "host"),
        ("bridge", "bridge"),
        ("none", "none"),
        ("-x-", "-x-"),
        ("--driver macvlan --opt parent=nosuch0 --subnet 10.8.0.0/24 x", "nosuch0"),
    ] {
        let words = if options == "-x-" { "-- -x-" } else { options };
        let told = host.say(&format!("network create {words}"));
        assert!(told.code == 1 || told.code == 125, "{}", told.report("exit code"));
        assert!(told.stderr.contains(part), "{}", told.report(part));
        assert!(told.stderr.trim_end().lines().count() == 1, "{}", told.report("more than one line"));
    }
    assert_eq!(host.say("network ls --format {{.Name}} --filter type=custom").text(), "taken");
    for (words, part) in [
        ("network rm nosuch", "nosuch"),
        ("network rm bridge", "bridge"),
        ("network connect nosuch guest", "nosuch"),
        ("network connect taken nosuch", "nosuch"),
        ("network disconnect taken nosuch", "nosuch"),
        ("network ls --filter bad=x", "bad"),
        ("port nosuch", "nosuch"),
    ] {
        let told = host.say(words).fails(1);
        assert!(told.contains(part), "{words}: {told}");
    }
    let told = host.say("network inspect nosuch").exits(1);
    assert_eq!((told.stdout.as_slice(), told.stderr.lines().count()), (&b"[]\n"[..], 1));
}

#[test]
fn containers_with_wrong_networks_are_not_started() {
    let host = Host::new();
    let _taken = Server::start(&host.namespace, "203.0.113.1:8088", "host");
    host.say("network create --subnet 10.9.0.0/16 own").exits(0);
    host.say("network create pooled").exits(0);
    let guest = host.sleeping("guest", "--network own --ip 10.9.0.77 -p 8089:80");
    let before = host.plumbing();
    for (options, part) in [
        ("--network nosuch", "nosuch"),
        ("--network own --ip 10.9.0.77", "10.9.0.77"),
        ("--network own --ip 10.99.0.77", "10.99.0.77"),
        ("--network own --ip zz", "zz"),
        ("--network own --ip6 fd00::5", "family"),
        ("--network own --mac-address zz", "zz"),
        ("--network own --mac-address 01:00:5e:00:00:01", "01:00:5e"),
        ("--ip 172.17.0.50", "ip"),
        ("--network host --ip 1.2.3.4", "ip"),
        ("-p 8088:80", "8088"),
        ("-p 8089:80", "8089"),
        ("-p 1.2.3.4:7000:80", "1.2.3.4"),
        ("-p 80:99999", "99999"),
        ("-p a:80", "a"),
        ("-p 1000-1002:80-81", "1000-1002"),
        ("-p 7000:80/xyz", "xyz"),
        ("--network container:nosuch", "nosuch"),
        ("--network container:guest -p 80:80", "port"),
        ("--network container:guest --hostname x", "hostname"),
        ("--add-host bad", "bad"),
        ("--add-host a:bad", "bad"),
        ("--dns bad", "bad"),
    ] {
        let mode = isolation().word();
        let told = host.say(&format!("run -d --name refused --isolation {mode} {options} {BUSYBOX} true"));
        assert_eq!(told.code, 125, "{}", told.report("exit code"));
        assert!(told.stderr.to_lowercase().contains(part), "{}", told.report(part));
        assert!(told.stderr.trim_end().lines().count() == 1, "{}", told.report("more than one line"));
        host.say("rm -f refused");
        assert_eq!(host.plumbing(), before, "{options} left something");
    }
    guest.remove();
}

#[test]
fn a_full_pool_and_full_pools_are_said() {
    let host = Host::new();
    host.say("network create --subnet 10.55.0.0/30 tiny").exits(0);
    let _first = host.sleeping("first", "--network tiny");
    let mode = isolation().word();
    let told = host.say(&format!("run -d --isolation {mode} --network tiny {BUSYBOX} true")).fails(125);
    assert!(told.contains("tiny"), "{told}");

    // Docker's pools are 15 networks of /16 and 16 of /20, of which the default bridge has one.
    let made = (0..40).take_while(|n| host.say(&format!("network create n{n}")).code == 0).count();
    assert!((29..=31).contains(&made), "{made} networks");
    let told = host.say("network create more").fails(1);
    assert!(told.contains("pool") || told.contains("subnet"), "{told}");
}

#[test]
fn a_container_does_not_join_a_network_twice_nor_leave_one_it_is_not_on() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let _guest = host.sleeping("guest", "--network own");
    for words in [
        "network connect own guest",
        "network disconnect bridge guest",
        "network connect none guest",
        "network connect host guest",
        "network connect --ip 10.99.0.5 bridge guest",
    ] {
        host.say(words).fails(1);
    }
}
