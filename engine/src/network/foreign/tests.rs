use std::fs::File;
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, unshare};

use super::*;

fn namespace() -> Place {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap())
    });
    Place::namespace(made.join().unwrap())
}

fn run(place: &Place, command: &str) -> String {
    let output = place.enter(|| Command::new("sh").args(["-c", command]).output().unwrap()).unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// As docker 20.10 sets them up.
fn docker(program: &str) -> String {
    [
        "-P FORWARD DROP",
        "-N DOCKER-USER",
        "-A DOCKER-USER -j RETURN",
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
    ]
    .map(|rule| format!("{program} {rule}"))
    .join(" && ")
}

#[test]
fn dockers_chain_for_others_has_the_bridge_as_long_as_it_is_there() {
    for program in ["iptables-nft", "iptables-legacy"] {
        let place = namespace();
        run(&place, &docker(program));
        let list = || run(&place, &format!("{program} -S DOCKER-USER"));
        let before = list();
        for _ in 0..2 {
            let found = admit(&place, "hull", "hl1").unwrap();
            let opened = Some("its chain DOCKER-USER".to_owned());
            assert_eq!(found, [Foreign { name: "docker".into(), opened }], "{program}");
        }
        assert_eq!(find(&place, "hull").unwrap(), ["docker"]);
        admit(&place, "hull", "hull0").unwrap();
        let rules = list();
        for bridge in ["hl1", "hull0"] {
            for device in ["-i", "-o"] {
                let rule = format!(
                    "-A DOCKER-USER {device} {bridge} -m comment --comment \"hull: {bridge}\" -j ACCEPT"
                );
                assert_eq!(rules.matches(&rule).count(), 1, "{program}: {rule}\n{rules}");
            }
        }
        // Before what admits: a container of docker's is for docker to protect.
        let place_of = |part: &str| rules.find(part).unwrap_or_else(|| panic!("{program}: {part}\n{rules}"));
        for docker in ["docker+", "br-+"] {
            let first = place_of(&format!("-A DOCKER-USER -i hl1 -o {docker} "));
            assert!(first < place_of("-A DOCKER-USER -i hl1 -m"), "{program}: {rules}");
        }
        retract(&place, "hl1").unwrap();
        retract(&place, "hull0").unwrap();
        retract(&place, "hull0").unwrap();
        assert_eq!(list(), before, "{program}");
    }
}

#[test]
fn firewalls_without_a_place_for_others_are_named() {
    let place = namespace();
    assert_eq!(admit(&place, "hull", "hl1").unwrap(), []);
    run(
        &place,
        "nft 'add table inet mine; add chain inet mine routed { type filter hook forward priority 0; policy drop; }'",
    );
    run(
        &place,
        "nft 'add table inet hull; add chain inet hull x { type filter hook forward priority 0; policy drop; }'",
    );
    run(&place, "iptables-nft -P FORWARD DROP");
    let names: Vec<String> =
        admit(&place, "hull", "hl1").unwrap().into_iter().map(|foreign| foreign.name).collect();
    assert_eq!(
        names,
        ["Chain FORWARD of the nftables table ip filter", "Chain routed of the nftables table inet mine"]
    );
}
