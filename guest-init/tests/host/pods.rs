//! Containers that share namespaces.

use std::os::unix::net::UnixStream;

use hull_guest::protocol::*;

use crate::fixture::{Agent, args, read_until};

fn start(agent: &Agent, script: &str, share: Share) -> (ContainerSpec, UnixStream) {
    let mut spec = agent.spec(&["sh", "-c", script]);
    spec.share = share;
    agent.create(&spec).unwrap();
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    read_until(&mut stdout, "up\n");
    (spec, stdout)
}

/// What a container of its own prints.
fn told(agent: &Agent, script: &str, share: Share) -> String {
    agent.shell_as(script, |spec| spec.share = share)
}

const NAMESPACES: &str = "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done";

fn namespaces(agent: &Agent, share: Share) -> Vec<String> {
    told(agent, NAMESPACES, share).lines().map(str::to_owned).collect()
}

fn pod(agent: &Agent, hostname: &str) -> Result<Outcome, CallError> {
    let pod = Some(PodConfig { hostname: hostname.into(), domainname: "pods.example".into() });
    agent.call(&Request::ConfigureSandbox(SandboxConfig { pod, ..SandboxConfig::default() }))
}

#[test]
fn containers_of_a_pod_share_network_ipc_and_hostname() {
    let Some(agent) = Agent::start() else { return };
    assert_eq!(pod(&agent, "").unwrap_err().kind, ErrorKind::Invalid);
    pod(&agent, "shared").unwrap();
    let (first, second) = (namespaces(&agent, Share::default()), namespaces(&agent, Share::default()));
    assert_eq!(first[..3], second[..3], "kept though no container was there");
    let own = |name| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
    assert!(first[0] != own("net") && first[1] != own("ipc") && first[2] != own("uts"), "not the host's");
    assert_eq!(
        told(
            &agent,
            "hostname; cat /proc/sys/kernel/domainname; ip -o addr show lo | grep -c 127.0.0.1",
            Share::default()
        ),
        "shared\npods.example\n1\n"
    );
    told(&agent, "echo word > /dev/shm/x; echo > /dev/mqueue/q", Share::default());
    assert_eq!(told(&agent, "cat /dev/shm/x; ls /dev/mqueue", Share::default()), "word\nq\n");
    assert!(!std::path::Path::new("/dev/shm/x").exists(), "the host's own shared memory");
    assert!(pod(&agent, "again").is_err());
}

#[test]
fn namespaces_of_another_container_can_be_joined_one_by_one() {
    let Some(agent) = Agent::start() else { return };
    let script = format!("echo word > /dev/shm/x; hostname other; {NAMESPACES}; echo up; sleep 600");
    let mut spec = agent.spec(&["sh", "-c", &script]);
    spec.hostname = "first".into();
    agent.create(&spec).unwrap();
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    let first: Vec<String> = read_until(&mut stdout, "up\n").lines().map(str::to_owned).collect();
    let id = || Some(spec.id.clone());
    let cases = [
        Share { network: id(), ..Share::default() },
        Share { ipc: id(), ..Share::default() },
        Share { uts: id(), ..Share::default() },
        Share { pid: id(), ..Share::default() },
    ];
    for (joined, share) in cases.into_iter().enumerate() {
        let second = namespaces(&agent, share);
        for at in 0..5 {
            assert_eq!(first[at] == second[at], at == joined, "{at}: {first:?} {second:?}");
        }
    }
    let share = || Share { ipc: id(), uts: id(), ..Share::default() };
    assert_eq!(told(&agent, "cat /dev/shm/x; hostname; echo more > /dev/shm/y", share()), "word\nfirst\n");
    assert_eq!(told(&agent, "cat /dev/shm/y", share()), "more\n");
    let processes = told(&agent, "cat /proc/1/comm; echo $$", Share { pid: id(), ..Share::default() });
    assert!(processes.starts_with("sh\n") || processes.starts_with("sleep\n"), "{processes}");
    assert!(!processes.ends_with("\n1\n"), "{processes}");
    agent.delete(&spec.id);
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn container_in_anothers_pid_namespace_ends_with_it_and_leaves_nothing_of_its_own() {
    let Some(agent) = Agent::start() else { return };
    let (first, _first_out) = start(&agent, "echo up; sleep 600", Share::default());
    let share = || Share { pid: Some(first.id.clone()), ..Share::default() };
    let (second, _second_out) = start(&agent, "sleep 600 & echo up; exit 3", share());
    assert_eq!(agent.wait(&second.id).code, 3);
    agent.delete(&second.id);
    let (third, _third_out) = start(&agent, "sleep 600 & echo up; sleep 600; true", share());
    let exec = agent.exec(&third, &["sleep", "600"]);
    agent.create_exec(&exec).unwrap();
    agent.start_container(&exec.exec_id).unwrap();
    agent.call(&Request::Signal(SignalArgs { container: first.id.clone(), signal: 9 })).unwrap();
    assert_eq!((agent.wait(&first.id).code, agent.wait(&third.id).code), (137, 137));
    assert_eq!(agent.wait(&exec.exec_id).code, 137);
    let mut late = agent.spec(&["true"]);
    late.share = share();
    assert_eq!(agent.create(&late).unwrap_err().kind, ErrorKind::State);
    agent.delete(&first.id);
    late.share = share();
    assert_eq!(agent.create(&late).unwrap_err().kind, ErrorKind::State, "gone, or not there any more");
    agent.delete(&third.id);
    assert_eq!(agent.call(&Request::Wait(args(&exec.exec_id))).unwrap_err().kind, ErrorKind::NoContainer);
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn agent_ends_whatever_order_shared_namespaces_die_in() {
    let Some(mut agent) = Agent::start() else { return };
    pod(&agent, "pod").unwrap();
    let (first, _first_out) = start(&agent, "echo up; sleep 600", Share::default());
    let share = Share { pid: Some(first.id.clone()), ..Share::default() };
    let (_second, _second_out) = start(&agent, "echo up; sleep 600", share);
    agent.life = None;
    assert!(agent.process.wait().unwrap().success());
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}
