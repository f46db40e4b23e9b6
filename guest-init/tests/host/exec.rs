//! Processes that enter a container that runs.

use std::time::{Duration, Instant};

use hull_guest::protocol::*;

use crate::fixture::{Agent, Ran, args, read_all, read_until, receive, write_text};

/// A running container that does nothing.
fn idle(agent: &Agent) -> ContainerSpec {
    idle_as(agent, |_| ())
}

pub fn idle_as(agent: &Agent, change: impl FnOnce(&mut ContainerSpec)) -> ContainerSpec {
    let mut spec = agent.spec(&["sleep", "600"]);
    change(&mut spec);
    agent.create(&spec).unwrap();
    agent.start_container(&spec.id).unwrap();
    spec
}

fn run(agent: &Agent, exec: &ExecSpec) -> Ran {
    agent.create_exec(exec).unwrap();
    let mut stdout = agent.attach(&exec.exec_id, Stream::Stdout);
    let stderr = exec.process.terminal.is_none().then(|| agent.attach(&exec.exec_id, Stream::Stderr));
    let started = agent.start_container(&exec.exec_id);
    let out = read_all(&mut stdout);
    let err = stderr.map(|mut stderr| read_all(&mut stderr)).unwrap_or_default();
    let status = agent.wait(&exec.exec_id);
    agent.delete(&exec.exec_id);
    Ran { started: started.err(), out, err, status }
}

pub fn shell(agent: &Agent, spec: &ContainerSpec, script: &str) -> String {
    let ran = run(agent, &agent.exec(spec, &["sh", "-c", script]));
    assert!(ran.started.is_none(), "{:?}", ran.started);
    ran.out + &ran.err
}

#[test]
fn command_runs_in_all_the_containers_namespaces() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let namespaces = "for n in cgroup ipc mnt net pid uts; do readlink /proc/$p/ns/$n; done";
    let own = shell(&agent, &spec, &format!("p=self; {namespaces}"));
    let first = shell(&agent, &spec, &format!("p=1; {namespaces}"));
    assert_eq!((own.lines().count(), &own), (6, &first));
    assert_eq!(
        shell(&agent, &spec, "hostname; cat /secret/file; echo; cat /proc/1/comm"),
        "box\nhidden\nsleep\n"
    );
    let cgroups = shell(&agent, &spec, "cat /proc/self/cgroup");
    assert_eq!(cgroups, shell(&agent, &spec, "cat /proc/1/cgroup"));
    assert!(cgroups.lines().any(|line| line == "0::/"), "{cgroups}");
    agent.delete(&spec.id);
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn exec_goes_the_containers_way_to_its_command() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let told = shell(
        &agent,
        &spec,
        "grep -e Cap -e Seccomp: /proc/self/status; unshare -U true; echo x > /proc/sys/x",
    );
    for words in
        ["CapEff:\t00000000a80425fb", "CapBnd:\t00000000a80425fb", "CapInh:\t0000000000000000", "Seccomp:\t2"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(told.contains("Operation not permitted"), "{told}");
    let mut exec = agent.exec(
        &spec,
        &["sh", "-c", "id -u; id -G; echo $HOME; ulimit -n; pwd; grep NoNewPrivs /proc/self/status"],
    );
    exec.process.user = "app".into();
    exec.process.no_new_privileges = true;
    exec.process.rlimits = vec![Rlimit { name: "RLIMIT_NOFILE".into(), soft: 77, hard: 88 }];
    exec.process.cwd = "/bin".into();
    assert_eq!(run(&agent, &exec).out, "1000\n1001 44\n/home/app\n77\n/bin\nNoNewPrivs:\t1\n");
    let status = run(&agent, &agent.exec(&spec, &["sh", "-c", "exit 7"])).status;
    assert_eq!(status.code, 7);
    agent.delete(&spec.id);
}

#[test]
fn nothing_of_the_agent_is_open_in_it() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    // The shell's glob opens one folder, then reads what it names.
    let open = shell(
        &agent,
        &spec,
        "for f in /proc/self/fd/*; do readlink $f; done | grep -v -e pipe: -e null -e '^/proc'",
    );
    assert_eq!(open, "");
    let keys = run(&agent, &agent.exec(&spec, &["ls", "/proc/self/fd"])).out;
    assert_eq!(keys, "0\n1\n2\n3\n", "and the folder that ls reads");
    agent.delete(&spec.id);
}

#[test]
fn failures_have_the_kinds_of_a_containers_start() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let cases = [
        ("nowhere", ErrorKind::CommandNotFound, 127),
        ("/etc/not-executable", ErrorKind::CannotExecute, 126),
        ("/etc", ErrorKind::CannotExecute, 126),
    ];
    for (command, kind, code) in cases {
        let ran = run(&agent, &agent.exec(&spec, &[command]));
        assert_eq!((ran.started.map(|error| error.kind), ran.status.code), (Some(kind), code), "{command}");
    }
    let refused = |change: fn(&mut ExecSpec)| {
        let mut exec = agent.exec(&spec, &["true"]);
        change(&mut exec);
        let error = agent.create_exec(&exec).unwrap_err();
        if exec.exec_id != spec.id {
            let unknown = agent.call(&Request::Wait(args(&exec.exec_id))).unwrap_err();
            assert_eq!(unknown.kind, ErrorKind::NoContainer);
        }
        error
    };
    assert_eq!(refused(|exec| exec.process.user = "nobody".into()).kind, ErrorKind::NoUser);
    let missing = refused(|exec| exec.process.cwd = "/nowhere".into());
    assert_eq!(missing.kind, ErrorKind::CommandNotFound);
    assert!(missing.message.contains("No such file or directory"), "{missing}");
    assert_eq!(refused(|exec| exec.process.cwd = "/etc/passwd".into()).kind, ErrorKind::CannotExecute);
    assert_eq!(refused(|exec| exec.process.init = true).kind, ErrorKind::Invalid);
    assert_eq!(refused(|exec| exec.exec_id = "short".into()).kind, ErrorKind::Invalid);
    assert_eq!(refused(|exec| exec.exec_id = exec.container.clone()).kind, ErrorKind::State);
    assert_eq!(refused(|exec| exec.place = ExecPlace::Beside).kind, ErrorKind::Invalid);
    assert_eq!(refused(|exec| exec.container = "f".repeat(64)).kind, ErrorKind::NoContainer);
    agent.delete(&spec.id);
}

#[test]
fn working_directory_cannot_be_reached_through_descriptors() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    shell(
        &agent,
        &spec,
        "cd /tmp; for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13; do rm -f l$n; busybox ln -s /proc/self/fd/$n l$n; done",
    );
    for number in 3..14 {
        for path in
            [format!("/proc/self/fd/{number}"), format!("/tmp/l{number}"), format!("/tmp/l{number}/bin")]
        {
            let mut exec = agent.exec(&spec, &["pwd"]);
            exec.process.cwd = path.as_str().into();
            let error = agent.create_exec(&exec).unwrap_err();
            assert!(
                matches!(error.kind, ErrorKind::CannotExecute | ErrorKind::CommandNotFound),
                "{path} {error}"
            );
        }
    }
    agent.delete(&spec.id);
}

#[test]
fn program_that_names_its_own_executable_finds_no_file_of_the_host() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let ran = run(&agent, &agent.exec(&spec, &["/proc/self/exe", "--version"]));
    // Either it does not run, or what it ran cannot be written: with the agent on a read-only mount.
    let told = shell(&agent, &spec, "for p in /proc/[0-9]*; do readlink $p/exe; done");
    assert!(told.lines().all(|line| line == "/bin/busybox"), "{told} {ran:?}");
    agent.delete(&spec.id);
}

#[test]
fn terminal_comes_from_the_containers_own_devpts() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let mut exec = agent.exec(&spec, &["sh", "-c", "tty; stty size; trap 'stty size' WINCH; stty -echo; echo ready; while ! read line; do :; done; echo got $line; exit 4"]);
    exec.process.terminal = Some(TerminalSize { columns: 91, rows: 33 });
    exec.process.stdin = true;
    agent.create_exec(&exec).unwrap();
    let mut stdin = agent.attach(&exec.exec_id, Stream::Stdin);
    let mut stdout = agent.attach(&exec.exec_id, Stream::Stdout);
    agent.start_container(&exec.exec_id).unwrap();
    assert_eq!(read_until(&mut stdout, "ready\r\n"), "/dev/pts/0\r\n33 91\r\nready\r\n");
    let size = TerminalSize { columns: 120, rows: 50 };
    agent.call(&Request::Resize(ResizeArgs { container: exec.exec_id.clone(), size })).unwrap();
    write_text(&mut stdin, "word\n");
    assert!(read_until(&mut stdout, "got word\r\n").contains("50 120"));
    assert_eq!(agent.wait(&exec.exec_id).code, 4);
    agent.delete(&exec.exec_id);
    agent.delete(&spec.id);
}

#[test]
fn input_goes_in_and_comes_back() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let mut exec = agent.exec(&spec, &["cat"]);
    exec.process.stdin = true;
    agent.create_exec(&exec).unwrap();
    let mut stdin = agent.attach(&exec.exec_id, Stream::Stdin);
    let mut stdout = agent.attach(&exec.exec_id, Stream::Stdout);
    agent.start_container(&exec.exec_id).unwrap();
    write_text(&mut stdin, "through");
    stdin.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stdout), "through");
    assert_eq!(agent.wait(&exec.exec_id).code, 0);
    agent.delete(&spec.id);
}

#[test]
fn signal_reaches_the_exec_and_not_the_container() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let exec = agent.exec(&spec, &["sleep", "600"]);
    let Ok(Outcome::Created(Created { pid })) = agent.create_exec(&exec) else { panic!() };
    agent.start_container(&exec.exec_id).unwrap();
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
    agent.call(&Request::Signal(SignalArgs { container: exec.exec_id.clone(), signal: 15 })).unwrap();
    assert_eq!(agent.wait(&exec.exec_id).code, 143);
    let Ok(Outcome::Containers(list)) = agent.call(&Request::List) else { panic!() };
    assert!(
        matches!(list.as_slice(), [ContainerInfo { state: ContainerState::Running { .. }, .. }]),
        "{list:?}"
    );
    agent.delete(&spec.id);
}

#[test]
fn end_of_the_container_ends_its_execs() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let execs: Vec<_> = (0..3).map(|_| agent.exec(&spec, &["sleep", "600"])).collect();
    for exec in &execs {
        agent.create_exec(exec).unwrap();
    }
    // One of them waits for its start for good.
    for exec in &execs[1..] {
        agent.start_container(&exec.exec_id).unwrap();
    }
    let mut waiter = agent.send(&Request::Wait(args(&execs[1].exec_id)));
    agent.call(&Request::Signal(SignalArgs { container: spec.id.clone(), signal: 9 })).unwrap();
    assert_eq!(agent.wait(&spec.id).code, 137);
    assert!(matches!(receive(&mut waiter), Ok(Outcome::Exited(ExitStatus { code: 137, .. }))));
    let late = agent.exec(&spec, &["true"]);
    assert_eq!(agent.create_exec(&late).unwrap_err().kind, ErrorKind::State);
    agent.delete(&spec.id);
    let gone = agent.call(&Request::Wait(args(&execs[2].exec_id))).unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NoContainer);
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn deleting_an_exec_that_runs_kills_it() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    let exec = agent.exec(&spec, &["sleep", "600"]);
    let Ok(Outcome::Created(Created { pid })) = agent.create_exec(&exec) else { panic!() };
    agent.start_container(&exec.exec_id).unwrap();
    agent.delete(&exec.exec_id);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    agent.delete(&spec.id);
}

#[test]
fn closing_a_pending_exec_leaves_nothing() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle(&agent);
    for _ in 0..20 {
        drop(agent.send(&Request::Exec(Box::new(agent.exec(&spec, &["true"])))));
    }
    let begin = Instant::now();
    while shell(&agent, &spec, "echo /proc/[0-9]*").split(' ').count() > 2 {
        assert!(begin.elapsed() < Duration::from_secs(10), "execs nobody knows of are left");
    }
    agent.delete(&spec.id);
}

#[test]
fn agent_ends_with_execs_under_way() {
    let Some(mut agent) = Agent::start() else { return };
    let spec = idle(&agent);
    for _ in 0..3 {
        let exec = agent.exec(&spec, &["sleep", "600"]);
        agent.create_exec(&exec).unwrap();
        agent.start_container(&exec.exec_id).unwrap();
    }
    agent.life = None;
    assert!(agent.process.wait().unwrap().success());
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn exec_counts_for_the_containers_limits() {
    let Some(agent) = Agent::start() else { return };
    let spec = idle_as(&agent, |spec| spec.resources.memory_bytes = Some(16 << 20));
    let ran = run(&agent, &agent.exec(&spec, &["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]));
    assert_eq!((ran.status.code, ran.status.oom_killed), (137, true), "{ran:?}");
    agent.call(&Request::Signal(SignalArgs { container: spec.id.clone(), signal: 9 })).unwrap();
    assert!(agent.wait(&spec.id).oom_killed, "it counts for the container");
    agent.delete(&spec.id);
}
