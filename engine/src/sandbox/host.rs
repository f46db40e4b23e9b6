//! Namespace mode: the agent on the host.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use hull_guest::protocol::{NetworkConfig, Request, SandboxConfig};
use nix::sched::{CloneFlags, unshare};

use super::agent::{Address, Agent, socket_path};
use super::cgroup::SandboxCgroup;
use super::death::LastWords;
use super::roots::Roots;
use super::spawn::{FIRST_FD, Spawn};
use super::{LaunchError, Parts, Plan, Sandbox, socket};
use crate::network::model::Mode;

/// Far above what a host agent takes to answer; only a broken one meets it.
const HELLO_LIMIT: Duration = Duration::from_secs(30);

pub fn launch(plan: &Plan, parts: &Parts) -> Result<Sandbox, LaunchError> {
    let Parts::Namespace { init } = parts else {
        return Err(LaunchError::Died("The parts at hand are a virtual machine's".to_string()));
    };
    let socket = socket_path(&plan.run_dir);
    // Of an agent that was killed; this supervisor starts no two at a time.
    let _ = fs::remove_file(&socket);
    let listener = socket::listen(&socket)
        .map_err(|source| LaunchError::file("listen on the socket", &socket, source))?;
    let (life, theirs) = UnixStream::pair().map_err(LaunchError::system("make a socket pair"))?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(LaunchError::system("open /dev/null"))?;
    let last_words = LastWords::new().map_err(LaunchError::system("make a memory file"))?;
    let cgroup = SandboxCgroup::create(&plan.id).map_err(LaunchError::system("make the sandbox's cgroup"))?;
    let network = match plan.network.mode {
        Mode::Networks => Some(namespace().map_err(LaunchError::system("make a network namespace"))?),
        Mode::None | Mode::Host => None,
    };
    let mut words = vec!["hull-init", "--host", "--listen-fd", "3", "--life-fd", "4"];
    let mut handed = vec![listener.as_fd(), theirs.as_fd()];
    if let Some(network) = &network {
        words.extend(["--net-fd", "5"]);
        handed.push(network.as_fd());
    }
    let args: Vec<_> = words.into_iter().map(|word| CString::new(word).unwrap_or_default()).collect();
    debug_assert_eq!(FIRST_FD, 3);
    let child = Spawn {
        program: init.as_fd(),
        args: &args,
        null: null.as_fd(),
        stderr: last_words.writer(),
        handed: &handed,
        cgroup: cgroup.as_ref().map(SandboxCgroup::supervised),
    }
    .start()
    .map_err(LaunchError::system("start hull-init"))?;
    drop(theirs);
    Ok(Sandbox {
        mode: plan.mode,
        id: plan.id.clone(),
        agent: Agent::new(Address::Host(socket)),
        child,
        files: None,
        life: Mutex::new(life),
        last_words: Mutex::new(last_words),
        cause: OnceLock::new(),
        cgroup: Mutex::new(cgroup),
        memory: Mutex::new(None),
        host_bytes: None,
        roots: Mutex::new(Roots::on_host()),
        blocks: Vec::new(),
        pod: plan.pod.clone(),
        network,
    })
}

/// A network namespace that nothing is in yet, made by a thread that ends with it.
fn namespace() -> io::Result<OwnedFd> {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        // A thread's own: /proc/self is the process' first (proc(5)).
        Ok(OwnedFd::from(File::open("/proc/thread-self/ns/net")?))
    };
    let made = std::thread::scope(|scope| scope.spawn(make).join());
    made.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

pub fn greet(
    sandbox: &Sandbox,
    network: impl FnOnce() -> Result<Option<NetworkConfig>, LaunchError>,
) -> Result<(), LaunchError> {
    let network = network()?;
    sandbox.agent.hello(&sandbox.life()?, HELLO_LIMIT)?;
    if sandbox.pod.is_some() || network.is_some() {
        let config = SandboxConfig { pod: sandbox.pod.clone(), network, ..SandboxConfig::default() };
        sandbox.agent.done(&Request::ConfigureSandbox(config))?;
    }
    Ok(())
}
