//! Containers that outlive the command that started them: `run -d`, `create`, `start`.

use hull_engine::store::ContainerState;
use nix::sys::signal::Signal;

use hull_tests::{BUSYBOX, Background, Hull, eventually, hull, paths, unique};

/// Counts, so that a gap shows.
const COUNT: &str = "n=0; while true; do echo n=$n; n=$((n + 1)); sleep 0.1; done";

#[test]
fn container_in_the_background_runs_on_with_its_output_in_the_log() {
    let container = Background::run([BUSYBOX, "sh", "-c", "echo out; echo err >&2; exec sleep 1000"]);
    container.expect_log("out\\n\",\"stream\":\"stdout\"");
    container.expect_log("err\\n\",\"stream\":\"stderr\"");
    assert_eq!(container.row().unwrap().state, ContainerState::Running);
    container.hull(["stop", "-t", "0"]).exits(0);
    container.expect_exit(137);
}

#[test]
fn container_in_the_background_with_rm_is_gone_after_its_end() {
    let container = Background::run(["--rm", BUSYBOX, "true"]);
    container.expect_gone();
}

#[test]
fn command_that_cannot_start_in_the_background_is_told_at_once() {
    let output = Hull::run(["-d", BUSYBOX, "nosuch"]).output().exits(127);
    assert!(output.stderr.contains("nosuch"), "{}", output.stderr);
    Hull::run(["-d", BUSYBOX, "/etc"]).output().exits(126);
}

#[test]
fn created_container_waits_for_its_start() {
    let container = Background::create([BUSYBOX, "sh", "-c", "echo ran; exit 5"]);
    assert_eq!(container.row().unwrap().state, ContainerState::Created);
    assert_eq!(container.log(), "");
    assert_eq!(container.hull(["start"]).text(), container.name);
    container.expect_exit(5);
    assert!(container.log().contains("ran"));
}

#[test]
fn start_attached_has_the_output_and_the_exit_code() {
    let container = Background::create([BUSYBOX, "sh", "-c", "echo out; echo err >&2; exit 7"]);
    for _ in 0..2 {
        let output = container.hull(["start", "-a"]).exits(7);
        assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (b"out\n".as_slice(), "err\n"));
    }
}

#[test]
fn start_with_stdin_passes_it_on() {
    let container = Background::create(["-i", BUSYBOX, "cat"]);
    let output = container.command(["start", "-ai"]).stdin("through").output().exits(0);
    assert_eq!(output.stdout, b"through");
}

#[test]
fn start_that_fails_is_told_and_leaves_the_container_startable() {
    let container = Background::create([BUSYBOX, "nosuch"]);
    let line = container.hull(["start"]).fails(1);
    assert!(line.contains("nosuch"), "{line}");
    let row = container.row().unwrap();
    assert_eq!((row.state, row.exit_code), (ContainerState::Created, 127));
    container.hull(["start", "-a"]).fails(1);
    assert_eq!(container.hull(["rm"]).text(), container.name);
}

#[test]
fn to_start_what_runs_is_no_mistake() {
    let container = Background::run([BUSYBOX, "sleep", "1000"]);
    let first = container.row().unwrap();
    assert_eq!(container.hull(["start"]).text(), container.name);
    assert_eq!(container.row().unwrap().started, first.started);
}

#[test]
fn several_are_started_and_what_is_missing_is_told() {
    let containers = [(); 2].map(|()| Background::create([BUSYBOX, "sleep", "1000"]));
    let [one, two] = &containers;
    let output = hull(["start", &one.name, "no-such-container", &two.name]).exits(1);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n{}\n", one.name, two.name));
    assert!(output.stderr.contains("no-such-container"), "{}", output.stderr);
    for container in &containers {
        assert_eq!(container.row().unwrap().state, ContainerState::Running);
    }
    hull(["start", "-a", &one.name, &two.name]).fails(1);
}

#[test]
fn id_and_start_of_an_id_are_as_good_as_the_name() {
    let container = Background::create(["--stop-timeout", "0", BUSYBOX, "sleep", "1000"]);
    let (id, prefix) = (container.id.as_str(), &container.id[..12]);
    assert_eq!(hull(["start", id]).text(), id);
    for words in [["pause", prefix], ["unpause", id], ["restart", prefix], ["kill", prefix]] {
        assert_eq!(hull(words).text(), words[1]);
    }
    assert_eq!(hull(["wait", prefix]).text(), "137");
    hull(["rename", prefix, &unique("renamed")]).exits(0);
    assert_eq!(hull(["stop", prefix]).text(), prefix);
    assert_eq!(hull(["rm", prefix]).text(), prefix);
}

#[test]
fn id_file_has_the_id_and_is_not_overwritten() {
    let path = paths::temporary().join(unique("cid"));
    let path = path.to_str().unwrap();
    let container = Background::run(["--cidfile", path, BUSYBOX, "sleep", "1000"]);
    assert_eq!(std::fs::read_to_string(path).unwrap(), container.id);
    let name = unique("second");
    for (words, code) in [(["run", "-d"].as_slice(), 125), (&["create"], 1)] {
        let line =
            Hull::new(words).args(["--name", &name, "--cidfile", path, BUSYBOX, "true"]).output().fails(code);
        assert!(line.contains(path), "{line}");
    }
    assert!(!hull(["ps", "-a"]).text().contains(&name));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn name_in_use_is_refused_in_the_background_too() {
    let container = Background::run([BUSYBOX, "sleep", "1000"]);
    for (words, code) in [(["run", "-d"].as_slice(), 125), (&["create"], 1)] {
        let args = ["--isolation", paths::isolation().word(), "--name", &container.name, BUSYBOX, "true"];
        let line = Hull::new(words).args(args).output().fails(code);
        assert!(line.contains(&container.name), "{line}");
    }
    assert_eq!(container.row().unwrap().state, ContainerState::Running);
}

#[test]
fn only_the_attached_streams_come_here() {
    let script = "echo out; echo err >&2";
    let output = Hull::run(["-a", "stdout", BUSYBOX, "sh", "-c", script]).output().exits(0);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (b"out\n".as_slice(), ""));
    let output = Hull::run(["-a", "stderr", BUSYBOX, "sh", "-c", script]).output().exits(0);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (b"".as_slice(), "err\n"));
    let output = Hull::run(["-a", "STDERR", "-a", "stdout", BUSYBOX, "sh", "-c", script]).output().exits(0);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (b"out\n".as_slice(), "err\n"));
    Hull::run(["-a", "stdother", BUSYBOX, "true"]).output().fails(125);
    Hull::run(["-d", "-a", "stdout", BUSYBOX, "true"]).output().fails(1);
}

#[test]
fn signals_are_hulls_own_without_sig_proxy() {
    let name = unique("alone");
    let mut running = Hull::keep(["--sig-proxy=false", "--name", &name, BUSYBOX, "sh", "-c", COUNT]).spawn();
    running.stdout.expect("n=1");
    running.signal(Signal::SIGTERM);
    running.finish().exits(143);
    assert!(hull(["ps"]).text().contains(&name));
    hull(["rm", "-f", &name]).exits(0);
}

#[test]
fn container_goes_on_when_its_foreground_hull_is_killed() {
    let file = paths::temporary().join(unique("cid"));
    let mut running = Hull::new(["run", "--isolation", paths::isolation().word(), "--cidfile"])
        .args([file.as_os_str()])
        .args([BUSYBOX, "sh", "-c", COUNT])
        .spawn();
    running.stdout.expect("n=3");
    running.signal(Signal::SIGKILL);
    running.finish().exits(137);
    let id = std::fs::read_to_string(&file).unwrap();
    let log = paths::shared_root().join("containers").join(&id).join(format!("{id}-json.log"));
    eventually("the log goes on", || {
        std::fs::read_to_string(&log).unwrap().contains("n=20\\n").then_some(())
    });
    let text = std::fs::read_to_string(&log).unwrap();
    for n in 0..20 {
        assert!(text.contains(&format!("\"n={n}\\n")), "{n} is missing in\n{text}");
    }
    assert!(hull(["ps"]).text().contains(&id[..12]));
    assert_eq!(hull(["rm", "-f", &id]).text(), id);
    std::fs::remove_file(&file).unwrap();
}
