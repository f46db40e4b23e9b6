//! Limits, which need cgroups: most users have none.

use hull_tests::background::kill_process;
use hull_tests::{BUSYBOX, User};

#[test]
fn limits_without_cgroups_are_refused_with_the_reason() {
    let user = User::new();
    user.load("busybox.tar");
    for limit in [["-m", "64m"], ["--cpus", "1"], ["--pids-limit", "9"]] {
        let [option, value] = limit;
        let refused = user.run([option, value, BUSYBOX, "true"]).fails(125);
        assert!(refused.contains("needs cgroups"), "{refused}");
    }
    let supervisors = user.hull(["info", "-f", "{{.Supervisors}}"]).output().text();
    assert!(supervisors.contains("this user was given none"), "{supervisors}");
    user.expect_no_processes();
}

#[test]
fn cgroups_that_were_given_to_the_user_are_used() {
    let mut user = User::new();
    let Some(given) = user.give_cgroup() else { return };
    user.load("busybox.tar");
    let options = ["run", "-d", "--name", "given", "--isolation", "namespace"];
    user.hull(options.into_iter().chain([BUSYBOX, "sleep", "1000"])).output().exits(0);
    assert!(given.join("hull/supervisors").exists());
    user.hull(["pause", "given"]).output().exits(0);
    assert_eq!(user.hull(["inspect", "-f", "{{.State.Status}}", "given"]).output().text(), "paused");
    user.hull(["unpause", "given"]).output().exits(0);
    kill_process(user.process("hull supervise"));
    assert_eq!(user.hull(["inspect", "-f", "{{.State.Status}}", "given"]).output().text(), "exited");
    let left = std::fs::read_dir(given.join("hull")).unwrap().flatten().filter(|entry| entry.path().is_dir());
    assert_eq!(left.count(), 1, "the supervisors' stays");
    user.hull(["rm", "given"]).output().exits(0);
}
