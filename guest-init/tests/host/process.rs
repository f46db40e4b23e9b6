//! What the container's process is: its command, user, limits, environment.

use hull_guest::protocol::*;

use crate::fixture::Agent;

#[test]
fn echo_prints_and_its_exit_code_comes_back() {
    let Some(agent) = Agent::start() else { return };
    let ran = agent.run(&agent.spec(&["echo", "hello"]));
    assert_eq!((ran.out.as_str(), ran.err.as_str(), ran.status.code), ("hello\n", "", 0));
    let ran = agent.run(&agent.spec(&["sh", "-c", "echo out; echo err >&2; exit 7"]));
    assert_eq!((ran.out.as_str(), ran.err.as_str(), ran.status.code), ("out\n", "err\n", 7));
    let ran = agent.run(&agent.spec(&["sh", "-c", "kill -TERM $$; sleep 0"]));
    assert_eq!(ran.status.code, 0, "PID 1 does not get signals it has no handler for");
}

#[test]
fn commands_that_cannot_run_are_told_apart() {
    let Some(agent) = Agent::start() else { return };
    let cases = [
        ("nowhere", ErrorKind::CommandNotFound, 127, "not found in $PATH"),
        ("/bin/nowhere", ErrorKind::CommandNotFound, 127, "No such file"),
        ("/bin/no-interpreter", ErrorKind::CommandNotFound, 127, "interpreter"),
        ("/etc/not-executable", ErrorKind::CannotExecute, 126, "Permission denied"),
        ("/etc", ErrorKind::CannotExecute, 126, "Is a directory"),
    ];
    for (command, kind, code, words) in cases {
        let ran = agent.run(&agent.spec(&[command]));
        let error = ran.started.unwrap();
        assert_eq!((error.kind, ran.status.code), (kind, code), "{command}: {error}");
        assert!(error.message.contains(words), "{command}: {error}");
    }
}

#[test]
fn user_comes_from_the_image_with_groups_and_home() {
    let Some(agent) = Agent::start() else { return };
    let id = |user: &str| {
        agent.shell_as("id -u; id -g; id -G; echo $HOME", |spec| spec.process.user = user.into())
    };
    assert_eq!(id(""), "0\n0\n0\n/root\n");
    assert_eq!(id("app"), "1000\n1001\n1001 44\n/home/app\n");
    assert_eq!(id("4711:44"), "4711\n44\n44\n/\n");
    let mut unknown = agent.spec(&["true"]);
    unknown.process.user = "nobody".into();
    let error = agent.create(&unknown).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoUser);
    assert!(error.message.contains("nobody"), "{error}");
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn working_directory_is_made_and_environment_is_only_what_was_given() {
    let Some(agent) = Agent::start() else { return };
    let told =
        agent.shell_as("pwd; env | grep -v -e PWD -e SHLVL | while read v; do echo $v; done", |spec| {
            spec.process.cwd = "/new/deep/folder".into();
            spec.process.env.push("HOME=/given".into());
        });
    assert_eq!(told, "/new/deep/folder\nHOME=/given\nPATH=/usr/bin:/bin\n");
}

#[test]
fn limits_are_set_and_clamped_where_the_host_forbids_more() {
    let Some(agent) = Agent::start() else { return };
    let told = agent.shell_as("ulimit -n; ulimit -Hn", |spec| {
        spec.process.rlimits = vec![Rlimit { name: "RLIMIT_NOFILE".into(), soft: 123, hard: 456 }];
    });
    assert_eq!(told, "123\n456\n");
    let told = agent.shell_as("ulimit -Hn", |spec| {
        spec.process.rlimits = vec![Rlimit { name: "RLIMIT_NOFILE".into(), soft: 1 << 29, hard: 1 << 29 }];
    });
    assert!(told.trim().parse::<u64>().unwrap() >= 1024, "{told}");
}

#[test]
fn user_can_open_its_standard_streams_by_name() {
    let Some(agent) = Agent::start() else { return };
    let told = agent.shell_as("echo named > /dev/stdout", |spec| spec.process.user = "app".into());
    assert_eq!(told, "named\n");
}

#[test]
fn init_reaps_orphans_and_passes_signals_and_the_exit_code_on() {
    let Some(agent) = Agent::start() else { return };
    let init = |spec: &mut ContainerSpec| spec.process.init = true;
    let told = agent.shell_as("echo $$; (sh -c 'sleep 0 & ' ); sleep 0.2; ps | grep -c Z; true", init);
    assert_eq!(told.lines().next(), Some("2"), "the command is not PID 1");
    let mut spec = agent.spec(&["sh", "-c", "trap 'exit 42' TERM; echo up; while :; do sleep 0.05; done"]);
    init(&mut spec);
    agent.create(&spec).unwrap();
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    crate::fixture::read_until(&mut stdout, "up");
    let signal = SignalArgs { container: spec.id.clone(), signal: 15 };
    agent.call(&Request::Signal(signal)).unwrap();
    assert_eq!(agent.wait(&spec.id).code, 42);
    let ran = agent.run(&{
        let mut spec = agent.spec(&["nowhere"]);
        init(&mut spec);
        spec
    });
    assert_eq!(
        (ran.started.map(|error| error.kind), ran.status.code),
        (Some(ErrorKind::CommandNotFound), 127)
    );
}

#[test]
fn passwd_that_is_no_file_is_refused_unopened() {
    let Some(agent) = Agent::start() else { return };
    // A fifo would be waited for, and opening some devices does something.
    for kind in ["p", "c"] {
        let spec = agent.spec(&["true"]);
        let folder = agent.folder.path().join(&spec.id).join("upper/etc");
        std::fs::create_dir(&folder).unwrap();
        let numbers: &[&str] = if kind == "c" { &["10", "130"] } else { &[] };
        let mut mknod = std::process::Command::new("mknod");
        assert!(mknod.arg(folder.join("passwd")).arg(kind).args(numbers).status().unwrap().success());
        let error = agent.create(&spec).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoUser, "{error}");
        assert!(error.message.contains("not a regular file"), "{error}");
    }
}
