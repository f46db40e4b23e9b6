//! `hull exec`: one more process in a container that runs.

use hull_tests::{BUSYBOX, Container, Hull, Terminal, hull, unique};

#[test]
fn process_is_in_the_containers_namespaces_and_root() {
    let container = Container::start(["-h", "inside"], ["sh", "-c", "echo here > /mark; exec sleep 1000"]);
    let script =
        "cat /mark; hostname; [ $(readlink /proc/1/ns/net) = $(readlink /proc/self/ns/net) ] && echo same";
    // The file comes before the sleep.
    let wait = "until [ \"$(cat /proc/1/comm)\" = sleep ]; do sleep 0.1; done";
    container.exec(["sh", "-c", wait]).exits(0);
    assert_eq!(container.exec(["sh", "-c", script]).text(), "here\ninside\nsame");
}

#[test]
fn streams_are_apart_and_the_exit_code_is_the_commands() {
    let container = Container::sleeping([]);
    let output = container.exec(["sh", "-c", "echo out; echo err >&2; exit 42"]).exits(42);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (&b"out\n"[..], "err\n"));
    container.exec(["sh", "-c", "kill -9 $$"]).exits(137);
}

#[test]
fn command_that_cannot_run_has_dockers_code() {
    let container = Container::sleeping([]);
    let line = container.exec(["nosuch"]).fails(127);
    assert!(line.contains("nosuch") && line.contains("not found"), "{line}");
    container.exec(["/etc/passwd"]).fails(126);
    container.exec(["/bin"]).fails(126);
    assert!(hull(["exec", "-u", "nosuch", &container.name, "id"]).fails(126).contains("nosuch"));
    hull(["exec", "-d", &container.name, "nosuch"]).fails(1);
    container.exec(["true"]).exits(0);
}

#[test]
fn environment_user_and_folder_are_the_containers_unless_others_are_asked_for() {
    let container = Container::sleeping(["-e", "A=1", "-e", "B=2", "-u", "1234", "-w", "/tmp"]);
    let script = "echo $A $B $C; id -u; pwd";
    assert_eq!(container.exec(["sh", "-c", script]).text(), "1 2\n1234\n/tmp");
    let words = ["exec", "-e", "B=3", "-e", "C=4", "-u", "nobody", "-w", "/var"];
    let text = Hull::new(words).args([&container.name, "sh", "-c", script]).output().text();
    assert_eq!(text, "1 3 4\n65534\n/var");
    let file = tempfile();
    std::fs::write(&file, "# a comment\nC=from a file\n").unwrap();
    let words = ["exec", "--env-file", file.to_str().unwrap(), &container.name, "sh", "-c", "echo $C"];
    assert_eq!(hull(words).text(), "from a file");
    std::fs::remove_file(file).unwrap();
}

fn tempfile() -> std::path::PathBuf {
    std::env::temp_dir().join(unique("env"))
}

#[test]
fn process_is_confined_and_limited_as_the_containers_own() {
    let options = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--ulimit", "nofile=99"];
    let container = Container::sleeping(options);
    let script = "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/$1/status; [ $1 = 1 ] || ulimit -n";
    let first = container.exec(["sh", "-c", script, "-", "1"]).text();
    let second = container.exec(["sh", "-c", script, "-", "self"]).text();
    assert_eq!(second, format!("{first}\n99"));
    assert!(first.contains("CapBnd:\t0000000000000000") && first.contains("Seccomp:\t2"), "{first}");
}

#[test]
fn stdin_is_passed_on_to_its_end_and_only_if_asked_for() {
    let container = Container::sleeping([]);
    let passed = Hull::new(["exec", "-i", &container.name, "wc", "-c"]).stdin(vec![b'x'; 300_000]).output();
    assert_eq!(passed.text(), "300000");
    let closed = Hull::new(["exec", &container.name, "wc", "-c"]).stdin("dropped").output();
    assert_eq!(closed.text(), "0");
}

#[test]
fn much_output_arrives_whole() {
    let container = Container::sleeping([]);
    let output = container.exec(["head", "-c", "5000000", "/dev/zero"]).exits(0);
    assert_eq!(output.stdout.len(), 5_000_000);
}

#[test]
fn terminal_has_its_size_and_its_variable_and_its_end() {
    let container = Container::sleeping([]);
    let script = "tty; stty size; echo $TERM; read x; echo got $x; exit 5";
    let mut terminal =
        Terminal::start(Hull::new(["exec", "-it", &container.name, "sh", "-c", script]), 97, 31);
    terminal.expect("/dev/pts/");
    terminal.expect("31 97");
    terminal.expect("xterm");
    terminal.send("this\n");
    terminal.expect("got this");
    assert_eq!(terminal.finish(), 5);
    assert!(terminal.echoes());
    let line = hull(["exec", "-it", &container.name, "true"]).fails(1);
    assert!(line.contains("terminal"), "{line}");
}

#[test]
fn resized_terminal_tells_the_process() {
    let container = Container::sleeping([]);
    // A signal that comes just before the shell waits is seen when it no longer does.
    let script = "trap 'stty size' WINCH; echo ready; while true; do read -t 1 x; done";
    let mut terminal =
        Terminal::start(Hull::new(["exec", "-it", &container.name, "sh", "-c", script]), 80, 24);
    terminal.expect("ready");
    terminal.resize(120, 44);
    terminal.expect("44 120");
}

#[test]
fn detach_keys_leave_the_process_running() {
    let container = Container::sleeping([]);
    let words = ["exec", "-it", "--detach-keys", "ctrl-a,x", &container.name, "sh", "-c", "echo ready; cat"];
    let mut terminal = Terminal::start(Hull::new(words), 80, 24);
    terminal.expect("ready");
    terminal.send("\x01x");
    assert_eq!(terminal.finish(), 0);
    // The shell may not have come to it yet.
    container.exec(["sh", "-c", "until pidof cat; do sleep 0.1; done"]).exits(0);
}

#[test]
fn detached_process_runs_on_and_prints_nothing() {
    let container = Container::sleeping([]);
    let script = "echo lost; touch /started; exec sleep 1000";
    let output = hull(["exec", "-d", &container.name, "sh", "-c", script]).exits(0);
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{}", output.report("not silent"));
    container
        .exec(["sh", "-c", "until [ -e /started ]; do sleep 0.1; done; ps | grep -c 'sleep 1000'"])
        .exits(0);
}

#[test]
fn container_that_does_not_run_is_told_in_dockers_words() {
    let name = unique("off");
    Hull::new(["create", "--isolation", hull_tests::isolation().word(), "--name", &name, BUSYBOX, "true"])
        .output()
        .exits(0);
    let line = hull(["exec", &name, "true"]).fails(1);
    assert!(line.contains(&format!("Container {name} is not running")), "{line}");
    hull(["rm", &name]).exits(0);
    assert!(hull(["exec", &name, "true"]).fails(1).contains(&format!("No such container: {name}")));
    let container = Container::sleeping([]);
    hull(["pause", &container.name]).exits(0);
    let line = container.exec(["true"]).fails(1);
    assert!(line.contains("is paused, unpause the container before exec"), "{line}");
    hull(["unpause", &container.name]).exits(0);
}

#[test]
fn process_ends_with_its_container() {
    let container = Container::sleeping([]);
    let mut running = Hull::new(["exec", &container.name, "sh", "-c", "echo ready; sleep 1000"]).spawn();
    running.stdout.expect("ready");
    hull(["kill", &container.name]).exits(0);
    running.finish().exits(137);
    assert!(container.exec(["true"]).fails(1).contains("is not running"));
}

#[test]
fn reader_that_has_had_enough_ends_the_command() {
    let container = Container::sleeping([]);
    let mut running = Hull::new(["exec", &container.name, "yes"]).spawn();
    running.stdout.expect("y\n");
    running.signal(nix::sys::signal::Signal::SIGKILL);
    drop(running);
    container.exec(["sh", "-c", "while pidof yes; do sleep 0.1; done"]).exits(0);
}

#[test]
fn many_run_at_once() {
    let container = Container::sleeping([]);
    let all: Vec<_> = (0..20)
        .map(|n: i32| (n, Hull::new(["exec", &container.name, "sh", "-c", &format!("exit {n}")]).spawn()))
        .collect();
    for (code, running) in all {
        running.finish().exits(code);
    }
}

#[test]
fn every_step_has_its_event() {
    let container = Container::sleeping([]);
    container.exec(["sh", "-c", "exit 3"]).exits(3);
    // The last is recorded behind the answer.
    let format = "{{.Action}} {{.Actor.Attributes.exitCode}}";
    let filter = format!("container={}", container.name);
    let words = ["events", "--since", "0", "--filter", &filter, "--format", format];
    let mut events = Hull::new(words).spawn();
    events.stdout.expect("exec_create: sh -c exit 3 ");
    events.stdout.expect("exec_start: sh -c exit 3 ");
    events.stdout.expect("exec_die 3\n");
}
