//! What happens to a user's containers from their start to their end.

use std::fs;

use hull_tests::background::kill_process;
use hull_tests::{BUSYBOX, User, isolation};

const SCRIPT: &str = "trap 'echo bye; exit 3' TERM; echo begun; while :; do sleep 0.1; done";

fn started(user: &User, name: &str) {
    user.load("busybox.tar");
    let options = ["run", "-d", "--name", name, "--isolation", isolation().word()];
    user.hull(options.into_iter().chain([BUSYBOX, "sh", "-c", SCRIPT])).output().exits(0);
    hull_tests::eventually("it begins", || {
        user.hull(["logs", name]).output().text().contains("begun").then_some(())
    });
}

fn status(user: &User, name: &str) -> String {
    user.hull(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]).output().text()
}

#[test]
fn a_container_is_entered_watched_stopped_and_started_again() {
    let user = User::new();
    started(&user, "life");
    let said = user.hull(["exec", "life", "sh", "-c", "id -u; cat /proc/1/comm"]).output().text();
    assert_eq!(said, "0\nsh");
    assert_eq!(user.hull(["exec", "-u", "5", "life", "id", "-u"]).output().text(), "5");
    assert_eq!(user.hull(["exec", "life", "sh", "-c", "exit 9"]).output().exits(9).stdout, b"");
    assert!(user.hull(["top", "life"]).output().text().contains("trap 'echo bye"));
    user.hull(["stop", "life"]).output().exits(0);
    assert_eq!(status(&user, "life"), "exited 3");
    assert!(user.hull(["logs", "life"]).output().text().ends_with("bye"));
    user.hull(["start", "life"]).output().exits(0);
    assert_eq!(status(&user, "life"), "running 0");
    user.hull(["rm", "-f", "life"]).output().exits(0);
    user.expect_no_processes();
}

#[test]
fn nothing_is_left_of_a_killed_supervisor() {
    let user = User::new();
    started(&user, "killed");
    kill_process(user.process("hull supervise"));
    assert_eq!(status(&user, "killed"), "exited 137");
    user.expect_no_processes();
    assert_eq!(fs::read_dir(user.run_folder().join("sandboxes")).unwrap().count(), 0);
    user.hull(["start", "killed"]).output().exits(0);
    assert_eq!(status(&user, "killed"), "running 0");
    user.hull(["rm", "-f", "killed"]).output().exits(0);
    for folder in ["containers", "sandboxes", "tmp"] {
        assert_eq!(fs::read_dir(user.root().join(folder)).unwrap().count(), 0, "{folder}");
    }
}

/// Killed, the namespace is still the running container's; the next one is another.
#[test]
fn a_killed_holder_ends_nothing_and_hull_goes_on() {
    let user = User::new();
    started(&user, "held");
    kill_process(user.process("hull hold user"));
    assert_eq!(status(&user, "held"), "running 0");
    assert_eq!(user.hull(["exec", "held", "echo", "here"]).output().text(), "here");
    user.run([BUSYBOX, "true"]).exits(0);
    user.hull(["rm", "-f", "held"]).output().exits(0);
    user.expect_no_processes();
}

#[test]
fn a_terminal_and_the_usual_devices_are_there() {
    let user = User::new();
    user.load("busybox.tar");
    let script = "tty; echo x > /dev/null && head -c 3 /dev/zero | wc -c; ls -1 /dev/pts/ptmx /proc/self/fd/0; hostname";
    let said = user.run(["-t", "-h", "here", BUSYBOX, "sh", "-c", script]).text();
    assert_eq!(said.replace('\r', ""), "/dev/pts/0\n3\n/dev/pts/ptmx\n/proc/self/fd/0\nhere");
    let script = "mknod /n c 1 3 || mount -t tmpfs x /mnt || dmesg || echo none";
    assert_eq!(user.run([BUSYBOX, "sh", "-c", script]).text(), "none");
}

#[test]
fn containers_of_a_pod_share_what_pods_share() {
    let user = User::new();
    user.load("busybox.tar");
    user.hull(["pod", "create", "--name", "pair", "--isolation", isolation().word()]).output().exits(0);
    let first = ["run", "-d", "--pod", "pair", "--name", "one"];
    user.hull(first.into_iter().chain([BUSYBOX, "sh", "-c", "echo shared > /dev/shm/file; sleep 1000"]))
        .output()
        .exits(0);
    let second = ["run", "--rm", "--pod", "pair", BUSYBOX, "sh", "-c"];
    let script = "until [ -s /dev/shm/file ]; do sleep 0.1; done; cat /dev/shm/file";
    assert_eq!(user.hull(second.into_iter().chain([script])).output().text(), "shared");
    user.hull(["pod", "rm", "-f", "pair"]).output().exits(0);
    user.expect_no_processes();
}
