//! Namespace mode: the agent on the host.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hull_guest::protocol::{RootSource, Text};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::agent::{Address, Agent, AgentError, socket_path};
use super::cgroup::SandboxCgroup;
use super::death::LastWords;
use super::mode::Isolation;
use super::spawn::{FIRST_FD, Spawn};
use super::{LaunchError, Plan, Sandbox, socket};
use crate::paths;

/// Far above what a host agent takes to answer; only a broken one meets it.
const HELLO_LIMIT: Duration = Duration::from_secs(30);

pub fn launch(plan: &Plan) -> Result<Sandbox, LaunchError> {
    let program = sealed_copy(&paths::part("hull-init")?)?;
    let socket = socket_path(plan.run_dir);
    let listener = socket::listen(&socket)
        .map_err(|source| LaunchError::file("listen on the socket", &socket, source))?;
    let (life, theirs) = UnixStream::pair().map_err(LaunchError::system("make a socket pair"))?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(LaunchError::system("open /dev/null"))?;
    let last_words = LastWords::new().map_err(LaunchError::system("make a memory file"))?;
    let cgroup = SandboxCgroup::create(plan.id).map_err(LaunchError::system("make the sandbox's cgroup"))?;
    let source = root_source(plan)?;
    let words = ["hull-init", "--host", "--listen-fd", "3", "--life-fd", "4"];
    let args = words.map(|word| CString::new(word).unwrap_or_default());
    debug_assert_eq!(FIRST_FD, 3);
    let child = Spawn {
        program: program.as_fd(),
        args: &args,
        null: null.as_fd(),
        stderr: last_words.writer(),
        handed: &[listener.as_fd(), theirs.as_fd()],
        cgroup: cgroup.as_ref().map(SandboxCgroup::supervisor),
    }
    .start()
    .map_err(LaunchError::system("start hull-init"))?;
    drop(theirs);
    let mut sandbox = Sandbox {
        mode: Isolation::Namespace,
        id: plan.id.to_string(),
        agent: Agent::new(Address::Host(socket)),
        child,
        life,
        last_words,
        cgroup,
        source,
    };
    match sandbox.agent.hello(&sandbox.life, HELLO_LIMIT) {
        Ok(_) => Ok(sandbox),
        Err(AgentError::Closed) => Err(LaunchError::Died(sandbox.cause_of_death())),
        Err(error) => Err(error.into()),
    }
}

/// The writable layer is a plain folder here, beside its overlay's working folder.
fn root_source(plan: &Plan) -> Result<RootSource, LaunchError> {
    let folder = |name| {
        let path = plan.dir.join(name);
        fs::create_dir(&path).map_err(|source| LaunchError::file("create", &path, source))?;
        Ok::<_, LaunchError>(Text::from(path.as_os_str()))
    };
    Ok(RootSource::Files {
        metadata: plan.root.metadata.as_os_str().into(),
        layers: plan.root.layers.iter().map(|layer| layer.path.as_os_str().into()).collect(),
        upper: folder("upper")?,
        work: folder("work")?,
    })
}

/// A copy that nobody can change: a container that opens the agent's `/proc/PID/exe` for writing
/// finds a sealed memory file and not the program every other sandbox starts from.
fn sealed_copy(path: &Path) -> Result<File, LaunchError> {
    let failed = |what| move |source: io::Error| LaunchError::file(what, path, source);
    let bytes = fs::read(path).map_err(failed("read"))?;
    let name = CString::new(path.file_name().map_or(&b"hull-init"[..], OsStrExt::as_bytes)).unwrap_or_default();
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy: File = memfd_create(name.as_c_str(), flags).map_err(|e| failed("copy")(e.into()))?.into();
    copy.write_all(&bytes).map_err(failed("copy"))?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).map_err(|e| failed("seal")(e.into()))?;
    Ok(copy)
}
