//! kill -9 of everything, at many moments of a start.

use std::time::Duration;

use hull_tests::net::Host;
use hull_tests::{BUSYBOX, isolation, pod};
use nix::sys::signal::{Signal, kill};

#[test]
fn kills_in_the_midst_of_a_start_leave_nothing() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let mode = isolation().word();
    for moment in 0..20u64 {
        let name = format!("killed-{moment}");
        let line =
            format!("run -d --name {name} --isolation {mode} --network own -p 8080:80 {BUSYBOX} sleep 1000");
        let running = host.command(line.split(' ')).spawn();
        // Moments, not an event: what is looked for are those that nobody has thought of.
        std::thread::sleep(Duration::from_millis(moment * 4));
        let supervisors = pod::supervisors_of(&host.store.root);
        running.signal(Signal::SIGKILL);
        for supervisor in supervisors {
            let _ = kill(supervisor, Signal::SIGKILL);
        }
        drop(running);
        host.say(&format!("rm -f {name}"));
        host.say("ps -a").exits(0);
        hull_tests::eventually(&format!("nothing is left of kill {moment}"), || {
            host.say("ps -a").exits(0);
            host.unchanged().then_some(())
        });
    }
    let _last = host.serving("last", "--network own -p 8080:80");
    assert_eq!(host.client.get("203.0.113.1:8080").unwrap(), "last");
}
