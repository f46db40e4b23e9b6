//! Namespace mode: the agent on the host.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hull_guest::protocol::{RootSource, Text};

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
    let program = read_only(&paths::part("hull-init")?)?;
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

/// hull-init, on a mount of its own that is read-only and in nobody's tree: a container that opens the
/// agent's `/proc/PID/exe` for writing meets that mount, and not the file every sandbox starts from.
/// (mount_setattr(2): Linux 5.12; EROFS as hull uses it takes 5.16 anyway.)
fn read_only(path: &Path) -> Result<OwnedFd, LaunchError> {
    let failed = || LaunchError::file("make a read-only mount of", path, io::Error::last_os_error());
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|error| LaunchError::file("open", path, error.into()))?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: `name` is a C string that lives through the call; the kernel reads nothing else.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, name.as_ptr(), flags) };
    let tree = RawFd::try_from(tree).ok().filter(|fd| *fd >= 0).ok_or_else(failed)?;
    // SAFETY: open_tree returned a new descriptor, which nobody else owns.
    let tree = unsafe { OwnedFd::from_raw_fd(tree) };
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the kernel reads one mount_attr of the size given.
    let set = unsafe {
        let (empty, size) = (c"".as_ptr(), size_of::<libc::mount_attr>());
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            empty,
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size,
        )
    };
    if set == 0 { Ok(tree) } else { Err(failed()) }
}
