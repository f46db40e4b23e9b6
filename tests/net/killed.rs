//! What is left of supervisors that were killed.

use hull_tests::net::Host;
use hull_tests::pod;

#[test]
fn what_a_killed_supervisor_leaves_is_cleared_by_the_next_command() {
    let host = Host::new();
    host.say("network create shop").exits(0);
    let bystander = host.serving("bystander", "--network shop -p 8080:80");
    let guest = host.sleeping("guest", "--network shop -p 8081:80");
    let with_one = {
        let id = guest.inspect()["Id"].as_str().unwrap().to_owned();
        let with_both = host.plumbing();
        pod::murder(pod::supervisor(&id).unwrap());
        host.say("ps").exits(0);
        let with_one = host.plumbing();
        assert_ne!(with_both, with_one);
        with_one
    };
    assert_eq!(host.client.get("203.0.113.1:8080").unwrap(), "bystander");
    // Address and port are free again.
    host.say("start guest").exits(0);
    host.say("stop -t 0 guest").exits(0);
    assert_eq!(host.plumbing(), with_one);
    let id = bystander.inspect()["Id"].as_str().unwrap().to_owned();
    pod::murder(pod::supervisor(&id).unwrap());
    host.say("ps").exits(0);
    host.say("rm guest bystander").exits(0);
    host.say("network rm shop").exits(0);
    host.is_as_before();
}
