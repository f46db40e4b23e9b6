//! Starting a supervisor: its place, which is locked before anything says that it exists, and its process.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hull_guest::protocol::{PodConfig, Resources};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::client::Client;
use super::{COMMAND, ContainerPlan, Handed, Plan};
use crate::context::Context;
use crate::network::{self, model::Networking};
use crate::rootless;
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::mode::Isolation;
use crate::sandbox::{self, Spawn, cgroup, socket};
use crate::store::Store;
use crate::volume::attach::Needs;

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("Failed to {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("Failed to {what}")]
    System { what: &'static str, source: io::Error },
    #[error("{0} is running already, about to, or being exported; try again when that is over")]
    Alive(String),
}

fn file<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SpawnError + use<'a> {
    move |source| SpawnError::File { what, path: path.to_path_buf(), source }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> SpawnError {
    move |source| SpawnError::System { what, source }
}

/// What is to be supervised: a container in a sandbox of its own, or a pod.
#[derive(Debug)]
pub struct Wanted {
    pub mode: Isolation,
    /// Whom the VMM becomes.
    pub uid: Option<u32>,
    pub resources: Resources,
    pub kernel: Option<PathBuf>,
    pub boot_log: bool,
    pub pod: Option<PodConfig>,
    pub network: Networking,
    /// Of its endpoints, with gaps.
    pub positions: usize,
    pub needs: Needs,
    pub container: Option<ContainerPlan>,
}

/// A sandbox's folders, made and locked, and its control socket.
#[derive(Debug)]
pub struct Place {
    id: String,
    pub dir: PathBuf,
    pub run_dir: PathBuf,
    lock: SandboxLock,
    listener: UnixListener,
}

/// Where a supervisor listens.
pub fn control_path(run_dir: &Path) -> PathBuf {
    run_dir.join("control.sock")
}

impl Place {
    /// `patience`: how long a supervisor that is there may take to end.
    pub fn make(store: &Store, id: &str, patience: Duration) -> Result<Place, SpawnError> {
        let (dir, run_dir) = (store.paths().sandbox(id), store.paths().run_sandbox(id));
        make_folder(&dir)?;
        let lock = SandboxLock::wait(&dir, patience, || ()).map_err(file("lock", &dir))?;
        let lock = lock.ok_or_else(|| SpawnError::Alive(id.to_string()))?;
        // What a killed supervisor left: with the lock in hand nobody lives there.
        for socket in ["control.sock", "agent.sock"] {
            let _ = fs::remove_file(run_dir.join(socket));
        }
        make_folder(&run_dir)?;
        let socket = control_path(&run_dir);
        let listener = socket::listen(&socket).map_err(file("listen on the socket", &socket))?;
        Ok(Place { id: id.to_string(), dir, run_dir, lock, listener })
    }

    /// A supervisor's working folder is not its caller's.
    fn plan(&self, context: &Context, wanted: Wanted) -> Plan {
        Plan {
            root: absolute(&context.root),
            run: absolute(&context.run),
            sandbox: sandbox::Plan {
                id: self.id.clone(),
                mode: wanted.mode,
                dir: absolute(&self.dir),
                run_dir: absolute(&self.run_dir),
                uid: wanted.uid,
                root: None,
                resources: wanted.resources,
                kernel: wanted.kernel.as_deref().map(absolute),
                boot_log: wanted.boot_log,
                pod: wanted.pod,
                nets: network::devices(&wanted.network, wanted.positions),
                network: wanted.network,
                shares: wanted.needs.shares,
                blocks: wanted.needs.blocks,
            },
            container: wanted.container,
        }
    }

    /// Starts the supervisor, which owns the place from then on.
    pub fn spawn(self, context: &Context, wanted: Wanted) -> Result<Client, SpawnError> {
        let program = File::open("/proc/self/exe").map_err(system("open hull itself"))?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let null = null.map_err(system("open /dev/null"))?;
        let path = self.dir.join("supervisor.log");
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let log = log.map_err(file("open", &path))?;
        let (starter, theirs) = UnixStream::pair().map_err(system("make a socket pair"))?;
        let text = plan_file(&self.plan(context, wanted)).map_err(system("write down what to supervise"))?;
        let words = ["hull", COMMAND, &self.id];
        let args = words.map(|word| CString::new(word).unwrap_or_default());
        let handed = Handed {
            plan: text.as_fd(),
            lock: self.lock.descriptor(),
            listener: self.listener.as_fd(),
            starter: theirs.as_fd(),
        };
        let handed: Vec<_> = handed.into_array().into_iter().chain(rootless::membership()).collect();
        let group = cgroup::supervisors().map_err(system("make the supervisors' cgroup"))?;
        let spawn = Spawn {
            program: program.as_fd(),
            args: &args,
            null: null.as_fd(),
            stderr: log.as_fd(),
            handed: &handed,
            cgroup: group.as_ref().map(AsFd::as_fd),
        };
        spawn.start().map_err(system("start the supervisor"))?;
        Ok(Client::new(control_path(&self.run_dir), Some(starter)))
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn make_folder(path: &Path) -> Result<(), SpawnError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(file("make the sandbox's folder", path)),
    }
}

fn plan_file(plan: &Plan) -> io::Result<File> {
    let text = serde_json::to_vec(plan)?;
    let mut file = File::from(memfd_create(c"plan", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&text)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_that_is_taken_is_waited_for_no_longer_than_patience_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
        let place = Place::make(&store, "id", Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let patient = scope.spawn(|| Place::make(&store, "id", Duration::from_secs(60)));
            assert!(matches!(Place::make(&store, "id", Duration::ZERO), Err(SpawnError::Alive(_))));
            drop(place);
            patient.join().unwrap().unwrap();
        });
    }
}
