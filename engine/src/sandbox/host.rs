//! Namespace mode: the agent on the host.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use hull_guest::protocol::{Request, SandboxConfig};

use super::agent::{Address, Agent, socket_path};
use super::cgroup::SandboxCgroup;
use super::death::LastWords;
use super::roots::Roots;
use super::spawn::{FIRST_FD, Spawn};
use super::{LaunchError, Parts, Plan, Sandbox, socket};

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
    let words = ["hull-init", "--host", "--listen-fd", "3", "--life-fd", "4"];
    let args = words.map(|word| CString::new(word).unwrap_or_default());
    debug_assert_eq!(FIRST_FD, 3);
    let child = Spawn {
        program: init.as_fd(),
        args: &args,
        null: null.as_fd(),
        stderr: last_words.writer(),
        handed: &[listener.as_fd(), theirs.as_fd()],
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
        life: Mutex::new(life),
        last_words: Mutex::new(last_words),
        cause: OnceLock::new(),
        cgroup: Mutex::new(cgroup),
        memory: Mutex::new(None),
        host_bytes: None,
        roots: Mutex::new(Roots::on_host()),
        pod: plan.pod.clone(),
    })
}

pub fn greet(sandbox: &Sandbox) -> Result<(), LaunchError> {
    sandbox.agent.hello(&sandbox.life()?, HELLO_LIMIT)?;
    if sandbox.pod.is_some() {
        let config = SandboxConfig { pod: sandbox.pod.clone(), ..SandboxConfig::default() };
        sandbox.agent.done(&Request::ConfigureSandbox(config))?;
    }
    Ok(())
}
