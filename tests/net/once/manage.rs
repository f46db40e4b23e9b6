//! `network create`, `ls`, `inspect`, `rm`, `prune`.

use hull_tests::net::Host;

#[test]
fn networks_are_listed_with_those_that_are_always_there() {
    let host = Host::new();
    assert_eq!(host.say("network create shop").text().len(), 64);
    host.say("network create --internal --label a=b --label c inner").exits(0);
    let listed = host.say("network ls --format {{.Name}}:{{.Driver}}:{{.Scope}}").text();
    assert_eq!(
        listed,
        "bridge:bridge:local\nhost:host:local\ninner:bridge:local\nnone:null:local\nshop:bridge:local"
    );
    let of = |filter: &str| host.say(&format!("network ls --format {{{{.Name}}}} --filter {filter}")).text();
    assert_eq!(of("type=custom"), "inner\nshop");
    assert_eq!(of("label=a"), "inner");
    assert_eq!(of("label=a=c"), "");
    assert_eq!(of("name=sho"), "shop");
    assert_eq!(of("driver=null"), "none");
    let id = host.say("network ls -q --filter name=shop").text();
    assert_eq!(of(&format!("id={id}")), "shop");
    assert_eq!(host.say("network ls --no-trunc -q --filter name=shop").text().len(), 64);
    let table = host.say("network ls").text();
    assert!(table.starts_with("NETWORK ID     NAME"), "{table}");
}

#[test]
fn inspect_shows_a_network_as_docker_does() {
    let host = Host::new();
    let create = "network create --subnet 10.9.0.0/16 --gateway 10.9.0.254 --ip-range 10.9.4.0/24 --label a=b \
                  -o com.docker.network.driver.mtu=1400 shop";
    let id = host.say(create).text();
    let guest = host.sleeping("guest", "--network shop --ip 10.9.0.77");
    let shown = host.document("network inspect shop");
    assert_eq!(shown["Id"], id);
    assert_eq!(shown["Name"], "shop");
    assert_eq!(shown["Driver"], "bridge");
    assert_eq!(shown["Scope"], "local");
    assert_eq!((&shown["Internal"], &shown["EnableIPv6"]), (&false.into(), &false.into()));
    assert_eq!(shown["Labels"]["a"], "b");
    assert_eq!(shown["Options"]["com.docker.network.driver.mtu"], "1400");
    let pool = &shown["IPAM"]["Config"][0];
    assert_eq!(pool["Subnet"], "10.9.0.0/16");
    assert_eq!(pool["Gateway"], "10.9.0.254");
    assert_eq!(pool["IPRange"], "10.9.4.0/24");
    let container = &shown["Containers"][guest.inspect()["Id"].as_str().unwrap()];
    assert_eq!(container["Name"], "guest");
    assert_eq!(container["IPv4Address"], "10.9.0.77/16");
    assert_eq!(container["MacAddress"], "02:42:0a:09:00:4d");
    assert_eq!(guest.sh("cat /sys/class/net/eth0/mtu").text(), "1400");
    assert_eq!(
        host.say("network inspect -f {{.Name}}:{{.Driver}} shop bridge").text(),
        "shop:bridge\nbridge:bridge"
    );
    let chosen = host.sleeping("chosen", "--network shop");
    assert_eq!(chosen.address("shop").octets()[..3], [10, 9, 4]);
}

#[test]
fn networks_in_use_stay_and_others_are_pruned() {
    let host = Host::new();
    for name in ["used", "idle", "other"] {
        host.say(&format!("network create --label {name} {name}")).exits(0);
    }
    let guest = host.sleeping("guest", "--network used");
    let told = host.say("network rm used").fails(1);
    assert!(told.contains("used"), "{told}");
    assert_eq!(host.say("network prune -f --filter label=other").text(), "Deleted Networks:\nother");
    assert_eq!(host.say("network prune -f").text(), "Deleted Networks:\nidle");
    assert_eq!(host.say("network ls -q --filter type=custom").text().lines().count(), 1);
    guest.remove();
    assert_eq!(host.say("network rm used").text(), "used");
    host.is_as_before();
}

#[test]
fn stopped_containers_keep_their_networks_and_not_their_addresses() {
    let host = Host::new();
    host.say("network create --subnet 10.55.0.0/30 tiny").exits(0);
    let first = host.sleeping("first", "--network tiny");
    assert_eq!(first.address("tiny").to_string(), "10.55.0.2");
    host.say("stop -t 0 first").exits(0);
    host.is_as_before();
    let second = host.sleeping("second", "--network tiny");
    assert_eq!(second.address("tiny").to_string(), "10.55.0.2");
    let told = host.say("start first").fails(1);
    assert!(told.contains("tiny"), "{told}");
    second.remove();
    host.say("start first").exits(0);
    assert_eq!(first.address("tiny").to_string(), "10.55.0.2");
}
