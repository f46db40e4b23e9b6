//! Containers' states, several at once, and ends of every kind.

use std::io::Read;
use std::time::{Duration, Instant};

use hull_guest::protocol::*;

use crate::fixture::{Agent, args, receive};

#[test]
fn hello_tells_version_and_kernel() {
    let Some(agent) = Agent::start() else { return };
    let Ok(Outcome::Hello(hello)) = agent.call(&Request::Hello(HelloArgs { version: VERSION })) else {
        panic!()
    };
    assert_eq!(hello.kernel, std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    let error = agent.call(&Request::Hello(HelloArgs { version: 99 })).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Version);
}

#[test]
fn states_follow_the_calls() {
    let Some(agent) = Agent::start() else { return };
    let spec = agent.spec(&["sleep", "60"]);
    let state = || match agent.call(&Request::List) {
        Ok(Outcome::Containers(list)) => list.first().map(|info| info.state),
        other => panic!("{other:?}"),
    };
    assert_eq!(state(), None);
    agent.create(&spec).unwrap();
    assert_eq!(state(), Some(ContainerState::Created));
    assert_eq!(agent.create(&spec).unwrap_err().kind, ErrorKind::State);
    let signal = Request::Signal(SignalArgs { container: spec.id.clone(), signal: 9 });
    assert_eq!(agent.call(&signal).unwrap_err().kind, ErrorKind::State);
    agent.start_container(&spec.id).unwrap();
    assert!(matches!(state(), Some(ContainerState::Running { pid: 1.. })));
    assert_eq!(agent.start_container(&spec.id).unwrap_err().kind, ErrorKind::State);
    agent.call(&signal).unwrap();
    let status = agent.wait(&spec.id);
    assert_eq!((status.code, status.oom_killed), (137, false));
    assert_eq!(agent.wait(&spec.id), status, "any number of times");
    assert_eq!(state(), Some(ContainerState::Exited { status }));
    agent.delete(&spec.id);
    assert_eq!(state(), None);
    let gone = agent.call(&Request::Wait(args(&spec.id))).unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NoContainer);
}

#[test]
fn containers_run_side_by_side_from_one_image() {
    let Some(agent) = Agent::start() else { return };
    let specs: Vec<_> =
        (0..20).map(|_| agent.spec(&["sh", "-c", "echo mine > /file; cat /file; sleep 60"])).collect();
    let mut outputs = Vec::new();
    for spec in &specs {
        agent.create(spec).unwrap();
        outputs.push(agent.attach(&spec.id, Stream::Stdout));
        agent.start_container(&spec.id).unwrap();
    }
    for output in &mut outputs {
        let mut line = [0; 5];
        output.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"mine\n");
    }
    for spec in &specs {
        agent.delete(&spec.id);
    }
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn delete_kills_what_runs_and_wakes_who_waits() {
    let Some(agent) = Agent::start() else { return };
    let spec = agent.spec(&["sh", "-c", "sleep 60 & sleep 60"]);
    agent.create(&spec).unwrap();
    agent.start_container(&spec.id).unwrap();
    let mut waiter = agent.send(&Request::Wait(args(&spec.id)));
    drop(agent.send(&Request::Wait(args(&spec.id))));
    agent.delete(&spec.id);
    assert!(matches!(receive(&mut waiter), Ok(Outcome::Exited(ExitStatus { code: 137, .. }))));
}

#[test]
fn closing_a_pending_create_cancels_it() {
    let Some(agent) = Agent::start() else { return };
    for _ in 0..20 {
        let spec = agent.spec(&["true"]);
        drop(agent.send(&Request::CreateContainer(Box::new(spec.clone()))));
        // Cancelled, or created before the end of the connection was seen: either is a clean state.
        match agent.call(&Request::Delete(args(&spec.id))) {
            Ok(Outcome::Done) => (),
            Err(error) => assert!(matches!(error.kind, ErrorKind::NoContainer | ErrorKind::State), "{error}"),
            Ok(other) => panic!("{other:?}"),
        }
    }
    until(|| agent.cgroups_left().is_empty());
}

#[test]
fn end_of_the_supervisor_ends_everything() {
    let Some(mut agent) = Agent::start() else { return };
    let specs = [agent.spec(&["sleep", "60"]), agent.spec(&["sh", "-c", "sleep 60 & sleep 60"])];
    let mut pids = Vec::new();
    for spec in &specs {
        let Ok(Outcome::Created(created)) = agent.create(spec) else { panic!() };
        pids.push(created.pid);
        agent.start_container(&spec.id).unwrap();
    }
    agent.life = None;
    assert!(agent.process.wait().unwrap().success());
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
    assert!(pids.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()));
}

#[test]
fn death_of_the_agent_kills_its_containers() {
    let Some(mut agent) = Agent::start() else { return };
    let mut spec = agent.spec(&["sleep", "60"]);
    spec.process.user = "app".into();
    let Ok(Outcome::Created(created)) = agent.create(&spec) else { panic!() };
    agent.start_container(&spec.id).unwrap();
    agent.process.kill().unwrap();
    agent.process.wait().unwrap();
    until(|| !std::path::Path::new(&format!("/proc/{}", created.pid)).exists());
    // The cgroup is the sweeper's to remove when an agent dies; here that is this test.
    for path in agent.cgroups_left() {
        until(|| std::fs::remove_dir(path.join(&spec.id)).is_ok());
        std::fs::remove_dir(&path).unwrap();
    }
}

#[test]
fn shutdown_answers_and_ends() {
    let Some(mut agent) = Agent::start() else { return };
    let spec = agent.spec(&["sleep", "60"]);
    agent.create(&spec).unwrap();
    agent.start_container(&spec.id).unwrap();
    assert!(matches!(agent.call(&Request::Sync), Ok(Outcome::Done)));
    assert!(matches!(agent.call(&Request::Shutdown), Ok(Outcome::Done)));
    assert!(agent.process.wait().unwrap().success());
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn requests_that_make_no_sense_are_refused_by_name() {
    let Some(agent) = Agent::start() else { return };
    let ask = |body: &[u8]| {
        let mut connection = agent.connect();
        let len = u32::try_from(body.len()).unwrap().to_le_bytes();
        std::io::Write::write_all(&mut connection, &[&len, body].concat()).unwrap();
        receive(&mut connection).unwrap_err()
    };
    assert_eq!(ask(b"not json").kind, ErrorKind::Invalid);
    let error = ask(br#"{"call":"start","args":{"container":"a","privileged":false}}"#);
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("privileged"), "{error}");
    let mut connection = agent.connect();
    std::io::Write::write_all(&mut connection, &u32::MAX.to_le_bytes()).unwrap();
    assert_eq!(receive(&mut connection).unwrap_err().kind, ErrorKind::Invalid);
    let config = SandboxConfig { clock_ns: Some(1), ..SandboxConfig::default() };
    assert_eq!(agent.call(&Request::ConfigureSandbox(config)).unwrap_err().kind, ErrorKind::Invalid);
}

/// Waits for what the kernel does in its own time, such as freeing a killed process.
fn until(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}
