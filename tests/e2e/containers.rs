//! Names, `ps`, `rm`, `--rm`, `--init`, many at once.

use hull_tests::{BUSYBOX, Hull, hull, run, unique};

#[test]
fn container_without_rm_stays_with_its_exit_code_until_removed() {
    let name = unique("kept");
    Hull::keep(["--name", &name, BUSYBOX, "sh", "-c", "exit 42"]).output().exits(42);
    let table = hull(["ps", "-a"]).text();
    let row =
        table.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("no {name} in\n{table}"));
    assert!(row.contains("Exited (42)") && row.contains("busybox"), "{row}");
    assert!(row.contains(hull_tests::isolation().word()), "the row says the isolation mode: {row}");
    assert_eq!(hull(["rm", &name]).text(), name);
    assert!(!hull(["ps", "-a"]).text().contains(&name));
}

#[test]
fn container_with_rm_leaves_no_row() {
    let name = unique("gone");
    run(["--name", &name, BUSYBOX, "true"]).exits(0);
    run(["--name", &name, BUSYBOX, "nosuch"]).exits(127);
    assert!(!hull(["ps", "-a"]).text().contains(&name));
}

#[test]
fn name_in_use_is_refused_and_free_again_afterwards() {
    let name = unique("name");
    Hull::keep(["--name", &name, BUSYBOX, "true"]).output().exits(0);
    let line = run(["--name", &name, BUSYBOX, "true"]).fails(125);
    assert!(line.contains(&name), "{line}");
    hull(["rm", &name]).exits(0);
    run(["--name", &name, BUSYBOX, "true"]).exits(0);
}

#[test]
fn running_container_is_listed_and_refused_to_rm() {
    let name = unique("running");
    let mut running = Hull::run(["-i", "--name", &name, BUSYBOX, "sh", "-c", "echo ready; cat"]).spawn();
    running.stdout.expect("ready");
    let table = hull(["ps"]).text();
    assert!(table.lines().any(|line| line.contains(&name) && line.contains("Up")), "{table}");
    let line = hull(["rm", &name]).fails(1);
    assert!(line.contains(&name) || line.contains("running"), "{line}");
    drop(running.stdin.take());
    running.finish().exits(0);
}

#[test]
fn rm_takes_an_id_a_prefix_and_several_and_names_what_is_missing() {
    let names = [unique("rm"), unique("rm")];
    for name in &names {
        Hull::keep(["--name", name, BUSYBOX, "true"]).output().exits(0);
    }
    let table = hull(["ps", "-a"]).text();
    let row = table.lines().find(|line| line.contains(&names[0])).unwrap();
    let prefix = &row.split_whitespace().next().unwrap()[..10];
    let output = hull(["rm", prefix, &names[1], "no-such-container"]).exits(1);
    assert!(output.stderr.contains("no-such-container"), "{}", output.stderr);
    let table = hull(["ps", "-a"]).text();
    assert!(names.iter().all(|name| !table.contains(name)), "{table}");
}

#[test]
fn init_reaps_what_others_left() {
    let script = "(sleep 0.2 &); (sleep 0.3 &); sleep 1; ps -o stat,comm | grep -c ^Z";
    let output = run(["--init", BUSYBOX, "sh", "-c", script]).exits(1);
    assert_eq!(output.stdout, b"0\n");
}

#[test]
fn first_process_that_ends_takes_the_others_with_it() {
    let started = std::time::Instant::now();
    run([BUSYBOX, "sh", "-c", "sleep 1000 & sleep 1000 & exit 3"]).exits(3);
    assert!(started.elapsed() < hull_tests::paths::patience());
}

#[test]
fn namespaces_are_the_containers_own() {
    let text = run([BUSYBOX, "sh", "-c", "ls -l /proc/self/ns | sed -n 's/.*-> //p'"]).text();
    let own: Vec<String> = text.lines().map(str::to_owned).collect();
    for kind in ["mnt", "pid", "ipc", "uts", "net", "cgroup"] {
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let outside = outside.to_str().unwrap();
        assert!(own.iter().any(|link| link.starts_with(kind)), "{kind}: {text}");
        let same = hull_tests::isolation() == hull_tests::Isolation::Namespace
            && own.iter().any(|link| link == outside);
        assert!(!same, "{kind} is the host's");
    }
}

#[test]
fn twenty_run_at_once() {
    let runs: Vec<_> = (0..20)
        .map(|n| (n, Hull::run(["-i", BUSYBOX, "sh", "-c", "read x; echo $x; exit $x"]).spawn()))
        .collect();
    for (n, mut running) in runs {
        std::io::Write::write_all(&mut running.stdin.take().unwrap(), format!("{n}\n").as_bytes()).unwrap();
        let output = running.finish_within(hull_tests::paths::patience() * 4).exits(n);
        assert_eq!(output.stdout, format!("{n}\n").as_bytes());
    }
}
