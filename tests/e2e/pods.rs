//! Pods: what containers of one share and what they do not, and what becomes of it when parts of it end.
//! A virtual machine has disks for six containers.

use hull_tests::pod::{await_field, children, inspect, murder, supervisor};
use hull_tests::{BUSYBOX, Container, Hull, Pod, Store, Traces, eventually, hull, unique};

/// A member's namespaces of these kinds, a line each.
fn namespaces(member: &str, kinds: &str) -> String {
    let script = format!("for kind in {kinds}; do readlink /proc/self/ns/$kind; done");
    hull(["exec", member, "sh", "-c", &script]).text()
}

#[test]
fn members_share_network_ipc_and_host_name_and_nothing_else() {
    let pod = Pod::create(["-h", "of-the-pod"]);
    let (one, two) = (pod.sleeping([]), pod.sleeping([]));
    assert_eq!(namespaces(&one, "net ipc uts"), namespaces(&two, "net ipc uts"));
    let (first, second) = (namespaces(&one, "pid mnt"), namespaces(&two, "pid mnt"));
    assert!(first.lines().zip(second.lines()).all(|(one, two)| one != two), "{first}\n{second}");
    hull(["exec", &one, "sh", "-c", "echo shared > /dev/shm/file; echo own > /tmp/file"]).exits(0);
    let script = "cat /dev/shm/file; [ -e /tmp/file ] || echo apart; hostname; grep -c of-the-pod /etc/hosts";
    assert_eq!(hull(["exec", &two, "sh", "-c", script]).text(), "shared\napart\nof-the-pod\n1");
}

#[test]
fn one_member_listens_on_the_loopback_and_another_is_answered() {
    let pod = Pod::create([]);
    let server = unique("server");
    let listen = "echo served | nc -l -p 7 & until netstat -lnt | grep -q :7; do sleep 0.1; done; \
                  echo listens; wait";
    let words = ["run", "--pod", &pod.name, "--name", &server, BUSYBOX, "sh", "-c", listen];
    let mut serving = Hull::new(words).spawn();
    serving.stdout.expect("listens");
    assert_eq!(pod.run(["--rm", BUSYBOX, "nc", "127.0.0.1", "7"]).text(), "served");
    serving.finish().exits(0);
}

#[test]
fn each_member_has_its_own_limits_logs_and_exit_code() {
    let pod = Pod::create([]);
    let script = "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max";
    let names = [unique("a"), unique("b")];
    for (name, limit) in names.iter().zip(["33", "44"]) {
        let script = format!("{script}; exit {limit}");
        pod.run(["--name", name, "--pids-limit", limit, BUSYBOX, "sh", "-c", &script])
            .exits(limit.parse().unwrap());
    }
    for (name, limit) in names.iter().zip(["33", "44"]) {
        assert_eq!(hull(["logs", name]).text(), limit);
        assert_eq!(inspect(name, ".State.ExitCode"), limit);
    }
    assert_eq!(pod.status(), "Degraded");
}

#[test]
fn member_that_fails_or_goes_leaves_the_others_alone() {
    let pod = Pod::create([]);
    let stays = pod.sleeping([]);
    let started = inspect(&stays, ".State.StartedAt");
    pod.run(["--rm", "-m", "32m", BUSYBOX, "tail", "/dev/zero"]).exits(137);
    pod.run(["--rm", BUSYBOX, "nosuch"]).exits(127);
    let goes = pod.sleeping([]);
    hull(["rm", &goes]).exits(1);
    hull(["rm", "-f", &goes]).exits(0);
    hull(["inspect", &goes]).exits(1);
    let stopped = pod.sleeping([]);
    hull(["stop", "-t", "0", &stopped]).exits(0);
    assert_eq!(inspect(&stopped, ".State.Status"), "exited");
    hull(["start", &stopped]).exits(0);
    hull(["kill", &stopped]).exits(0);
    hull(["rm", &stopped]).exits(0);
    assert_eq!(inspect(&stays, ".State.Status"), "running");
    assert_eq!(inspect(&stays, ".State.StartedAt"), started);
    assert_eq!(pod.status(), "Running");
}

#[test]
fn stopped_pod_comes_up_with_the_next_start_of_a_member_and_its_files() {
    let pod = Pod::create([]);
    let (one, two) = (pod.sleeping([]), pod.sleeping(["--rm"]));
    hull(["exec", &one, "sh", "-c", "echo kept > /file; sync"]).exits(0);
    assert_eq!(hull(["pod", "stop", "-t", "0", &pod.name]).text(), pod.name);
    assert_eq!((pod.status().as_str(), inspect(&one, ".State.Status").as_str()), ("Exited", "exited"));
    hull(["inspect", &two]).exits(1);
    assert!(supervisor(&pod.id).is_none(), "its supervisor has ended");
    hull(["pod", "stop", &pod.name]).exits(0);
    hull(["start", &one]).exits(0);
    assert_eq!(hull(["exec", &one, "cat", "/file"]).text(), "kept");
    assert_eq!(pod.status(), "Running");
}

#[test]
fn several_at_once_bring_a_stopped_pod_up_once() {
    let pod = Pod::create([]);
    hull(["pod", "stop", &pod.name]).exits(0);
    let script = "readlink /proc/self/ns/net; sleep 2";
    let run = || Hull::new(["run", "--rm", "--pod", &pod.name, BUSYBOX, "sh", "-c", script]).spawn();
    let running: Vec<_> = (0..4).map(|_| run()).collect();
    let mut networks: Vec<String> = running.into_iter().map(|run| run.finish().text()).collect();
    networks.dedup();
    assert_eq!(networks.len(), 1, "{networks:?}");
}

#[test]
fn members_of_a_killed_supervisor_end_and_those_that_should_start_again_in_one_sandbox() {
    let pod = Pod::create([]);
    let always = [pod.sleeping(["--restart", "always"]), pod.sleeping(["--restart", "unless-stopped"])];
    let (once, removed) = (pod.sleeping([]), pod.sleeping(["--rm"]));
    murder(supervisor(&pod.id).unwrap());
    await_field(&once, ".State.Status", "exited");
    assert_eq!(inspect(&once, ".State.ExitCode"), "137");
    // Another case's command may be at the clearing away.
    eventually("the one with --rm is gone", || (hull(["inspect", &removed]).code == 1).then_some(()));
    for name in &always {
        await_field(name, ".State.Status", "running");
    }
    assert_eq!(namespaces(&always[0], "net ipc"), namespaces(&always[1], "net ipc"));
}

#[test]
fn members_of_a_sandbox_that_is_killed_end_with_a_cause_and_start_by_their_policies() {
    let pod = Pod::create([]);
    let (again, once) = (pod.sleeping(["--restart", "always"]), pod.sleeping([]));
    let supervising = supervisor(&pod.id).unwrap();
    children(supervising).into_iter().for_each(murder);
    await_field(&once, ".State.Status", "exited");
    assert_eq!(inspect(&once, ".State.ExitCode"), "137");
    assert!(inspect(&once, ".State.Error").contains("killed"), "{}", inspect(&once, ".State.Error"));
    await_field(&again, ".RestartCount", "1");
    await_field(&again, ".State.Status", "running");
    assert_eq!(supervisor(&pod.id), Some(supervising), "which lives on");
    hull(["start", &once]).exits(0);
    assert_eq!(namespaces(&again, "net"), namespaces(&once, "net"));
}

#[test]
fn pod_with_containers_is_removed_by_force_only_and_leaves_nothing() {
    let store = Store::with_busybox();
    let mut traces = Traces::follow(&store.root, &store.run);
    let isolation = hull_tests::isolation().word();
    let id = store.hull(["pod", "create", "--name", "whole", "--isolation", isolation]).output().text();
    store.hull(["run", "-d", "--pod", "whole", "--name", "runs", BUSYBOX, "sleep", "1000"]).output().exits(0);
    store.hull(["create", "--pod", "whole", BUSYBOX, "true"]).output().exits(0);
    let line = store.hull(["pod", "rm", "whole"]).output().fails(1);
    assert!(line.contains("2 container"), "{line}");
    store.hull(["exec", "runs", "true"]).output().exits(0);
    assert_eq!(store.hull(["pod", "rm", "-f", &id[..12]]).output().text(), id[..12]);
    assert_eq!(store.hull(["pod", "ls", "-q"]).output().text(), "");
    assert_eq!(store.hull(["ps", "-aq"]).output().text(), "");
    assert_eq!(traces.left(), Vec::<String>::new());
    let line = store.hull(["pod", "rm", "whole"]).output().fails(1);
    assert!(line.contains("No such pod"), "{line}");
}

#[test]
fn pods_are_listed_and_inspected() {
    let pod = Pod::create(["-l", "tier=web"]);
    let row = hull(["pod", "ps", "--no-trunc", "--filter", &format!("name={}", pod.name)]).text();
    let heading = row.lines().next().unwrap();
    let words = heading.split("  ").map(str::trim).filter(|word| !word.is_empty());
    let columns = ["POD ID", "NAME", "STATUS", "CREATED", "# OF CONTAINERS", "ISOLATION"];
    assert_eq!(words.collect::<Vec<_>>(), columns);
    let isolation = hull_tests::isolation().word();
    assert!(row.contains(&pod.id) && row.contains("Running") && row.contains(isolation), "{row}");
    let quiet = |filter: &str| hull(["pod", "ls", "-q", "--no-trunc", "--filter", filter]).text();
    assert!(quiet("label=tier=web").contains(&pod.id) && !quiet("label=tier=db").contains(&pod.id));
    assert!(quiet("status=running").contains(&pod.id) && !quiet("status=exited").contains(&pod.id));
    let member = pod.sleeping([]);
    let text = hull(["pod", "inspect", &pod.name]).text();
    for part in [&pod.id, &member, "\"tier\": \"web\"", "\"Hostname\""] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let format = "{{.Name}} {{len .Containers}} {{.State}}";
    let line = hull(["pod", "inspect", "-f", format, &pod.id[..12]]).text();
    assert_eq!(line, format!("{} 1 Running", pod.name));
    assert!(hull(["pod", "create", "--name", &pod.name]).fails(1).contains(&pod.name));
}

#[test]
fn what_a_pod_has_already_is_refused_to_its_members() {
    let pod = Pod::create([]);
    for (option, value) in [("-h", "other"), ("--isolation", "vm"), ("--kernel", "/boot/vmlinux")] {
        let line = pod.run(["--rm", option, value, BUSYBOX, "true"]).fails(125);
        assert!(line.contains(option) && line.contains("pod"), "{line}");
    }
    let line = Hull::new(["run", "--rm", "--pod", "no-such-pod", BUSYBOX, "true"]).output().fails(125);
    assert!(line.contains("No such pod: no-such-pod"), "{line}");
}

#[test]
fn namespaces_of_a_member_can_be_joined_by_its_name() {
    let pod = Pod::create([]);
    let target = pod.sleeping([]);
    let of_target = format!("container:{target}");
    let run = |option, script| {
        let words = ["run", "--rm", option, &of_target, BUSYBOX, "sh", "-c", script];
        Hull::new(words).output().text()
    };
    let network = namespaces(&target, "net");
    assert_eq!(run("--network", "readlink /proc/self/ns/net"), network);
    assert_eq!(run("--ipc", "readlink /proc/self/ns/ipc"), namespaces(&target, "ipc"));
    let seen = run("--pid", "cat /proc/1/comm; readlink /proc/self/ns/net");
    assert_eq!(seen, format!("sleep\n{network}"));
    let text = hull(["pod", "inspect", "-f", "{{len .Containers}}", &pod.name]).text();
    assert_eq!(text, "1", "those with --rm are gone");
}

#[test]
fn namespaces_of_a_container_without_a_pod_cannot_be_joined() {
    let container = Container::sleeping([]);
    let (pod, other) = (Pod::create([]), Pod::create([]));
    let elsewhere = other.sleeping([]);
    for option in ["--network", "--ipc", "--pid"] {
        let line =
            Hull::new(["run", "--rm", option, &format!("container:{}", container.name), BUSYBOX, "true"])
                .output()
                .fails(125);
        assert!(line.contains("pod create") && line.contains(&container.name), "{line}");
        let line = pod.run(["--rm", option, &format!("container:{elsewhere}"), BUSYBOX, "true"]).fails(125);
        assert!(line.contains("another pod"), "{line}");
    }
    for option in ["--ipc", "--pid"] {
        let line = Hull::new(["run", "--rm", option, "bridge", BUSYBOX, "true"]).output().fails(125);
        assert!(line.contains("container:NAME"), "{line}");
    }
}

#[test]
fn who_shares_the_processes_of_one_that_ends_ends_with_it() {
    let pod = Pod::create([]);
    let target = pod.sleeping([]);
    let sharing = pod.sleeping(["--pid", &format!("container:{target}")]);
    hull(["kill", &target]).exits(0);
    await_field(&sharing, ".State.Status", "exited");
    let line = hull(["start", &sharing]).fails(1);
    assert!(line.contains("not there") || line.contains("ended"), "{line}");
    hull(["start", &target, &sharing]).exits(0);
}
