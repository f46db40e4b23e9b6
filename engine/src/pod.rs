//! Pods: several containers in one sandbox, which lives until it is told to end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hull_guest::protocol::{PodConfig, Resources};
use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use crate::container::config::UnreadableConfig;
use crate::container::create::{self, CreateError, Creating};
use crate::container::start::StartError;
use crate::container::{names, remove};
use crate::context::Context;
use crate::network::model::Networking;
use crate::network::{self, NetworkError, options};
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::mode::{self, Isolation, IsolationRequest};
use crate::sandbox::{self, probe, sweep};
use crate::store::{self, ContainerRow, ContainerState, EventKind, FileLock, PodRow, Store};
use crate::supervisor::client::Client;
use crate::supervisor::control::{Call, EndArgs};
use crate::supervisor::launch::{Place, SpawnError, Wanted, control_path};
use crate::time::now_ns;
use crate::volume::attach::Needs;

/// Tries at joining a pod that does not end under one's hands.
pub const ATTEMPTS: usize = 5;
/// Tries at a supervisor that is neither there nor gone.
const STARTS: usize = 40;
/// What one that ends may take to be gone before the next look: somebody else may have started another.
const END_LIMIT: Duration = Duration::from_millis(250);
/// sethostname(2)'s limit is 64; names of hosts end before it.
const HOSTNAME: usize = 63;

#[derive(Debug, thiserror::Error)]
pub enum PodError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("\"{0}\" is not a name for a pod; names are [a-zA-Z0-9][a-zA-Z0-9_.-]+, at most 128 characters")]
    Name(String),
    #[error("{0} sizes the pod's virtual machine, and this pod would run in host namespaces")]
    SizeNeedsVm(&'static str),
}

type Result<T, E = PodError> = std::result::Result<T, E>;

/// What a pod's row keeps as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    pub hostname: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What its machine has for all of its containers.
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub network: Networking,
    #[serde(default)]
    pub kernel: Option<PathBuf>,
    #[serde(default)]
    pub boot_log: bool,
}

impl Config {
    pub fn from_row(row: &PodRow) -> Result<Config, UnreadableConfig> {
        let unreadable = |_| UnreadableConfig { what: "pod", name: row.name.clone() };
        serde_json::from_str(&row.config).map_err(unreadable)
    }
}

/// What `hull pod create` was asked for.
#[derive(Debug, Default)]
pub struct Asked {
    pub name: Option<String>,
    pub hostname: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub resources: Resources,
    pub isolation: Option<IsolationRequest>,
    pub kernel: Option<PathBuf>,
    pub network: options::Asked,
}

/// Makes a pod and starts its sandbox. Also answers with warnings to show.
pub fn create(context: &Context, store: &Store, mut asked: Asked) -> Result<(PodRow, Vec<String>)> {
    if let Some(name) = asked.name.as_ref().filter(|name| names::check(name).is_err()) {
        return Err(PodError::Name(name.clone()));
    }
    let request = asked.isolation.unwrap_or(context.config.isolation);
    let (mode, warning) = mode::decide(request, context.config.require_vm, || probe::verdict(&context.run))
        .map_err(CreateError::from)?;
    check_mode(&asked, mode)?;
    let id = names::new_id().map_err(CreateError::Random)?;
    let wanted = std::mem::take(&mut asked.network);
    let mut planned = options::plan(store, &id, mode, wanted, Vec::new(), network::host_prefixes)?;
    let warnings = warning.into_iter().chain(std::mem::take(&mut planned.warnings)).collect();
    let row = add(context, store, &asked, &id, mode, &planned)?;
    if let Err(error) = up(context, store, &id) {
        // It tells why; that nothing is left of the pod goes without saying.
        let _ = remove(store, &row, true);
        return Err(error.into());
    }
    Ok((row, warnings))
}

fn check_mode(asked: &Asked, mode: Isolation) -> Result<()> {
    if mode == Isolation::Vm {
        return Ok(());
    }
    if asked.kernel.is_some() {
        return Err(CreateError::KernelNeedsVm.into());
    }
    match (asked.resources.memory_bytes, asked.resources.cpu_millis) {
        (Some(_), _) => Err(PodError::SizeNeedsVm("-m")),
        (None, Some(_)) => Err(PodError::SizeNeedsVm("--cpus")),
        (None, None) => Ok(()),
    }
}

fn add(
    context: &Context,
    store: &Store,
    asked: &Asked,
    id: &str,
    mode: Isolation,
    planned: &options::Plan,
) -> Result<PodRow> {
    let mut attempt = 0;
    loop {
        let name = asked.name.clone().unwrap_or_else(|| names::generate(id, attempt));
        // As podman: without one of its own, the pod's name is its host name.
        let own = name.get(..HOSTNAME).unwrap_or(&name).to_string();
        let config = Config {
            hostname: asked.hostname.clone().unwrap_or(own),
            labels: asked.labels.clone(),
            resources: asked.resources.clone(),
            network: planned.networking.clone(),
            kernel: asked.kernel.clone().or_else(|| context.config.kernel.clone()),
            boot_log: context.config.boot_log,
        };
        let row = PodRow {
            id: id.to_string(),
            name,
            mode,
            created: now_ns(),
            // Strings, numbers and maps with string keys: nothing JSON refuses.
            config: serde_json::to_string(&config).unwrap_or_default(),
        };
        match store.db().add_pod_with(&row, &planned.endpoints) {
            Err(store::Error::PodNameTaken(_)) if asked.name.is_none() && attempt < create::NAME_ATTEMPTS => {
                attempt += 1;
            }
            other => return Ok(other.map(|()| row)?),
        }
    }
}

/// The pod's supervisor, started where it does not live.
pub fn up(context: &Context, store: &Store, id: &str) -> Result<Client, StartError> {
    let row = store.db().pod(id)?;
    for _ in 0..STARTS {
        let Some(mut client) = begin(context, store, &row)? else {
            // Killed since the last sweep.
            store.db().sandbox(id)?.iter().for_each(|dead| drop(sweep::one(context, store, dead)));
            continue;
        };
        match client.start(&Call::Up) {
            // It is about to end, so there is room for another soon.
            Err(error) if error.is_gone() => wait_for_end(store, &row.id),
            other => {
                other?;
                return Ok(client);
            }
        }
    }
    Err(StartError::Ending(row.name))
}

/// A supervisor that listens. One at a time, of all pods: who finds a pod locked finds its socket, too. None:
/// one that is dead has left its row.
fn begin(context: &Context, store: &Store, row: &PodRow) -> Result<Option<Client>, StartError> {
    let _alone = FileLock::wait(&store.paths().pods_lock(), FlockArg::LockExclusive)?;
    let config = Config::from_row(row)?;
    let _creating = Creating::begin(store)?;
    // It need not end to be joined.
    let place = match Place::make(store, &row.id, Duration::ZERO) {
        Ok(place) => place,
        Err(SpawnError::Alive(_)) => return Ok(Some(client(store, &row.id))),
        Err(error) => return Err(error.into()),
    };
    let sandbox = create::new_sandbox(&row.id, row.mode);
    let uid = match store.db().begin_sandbox(&sandbox, create::uids(row.mode), &[]) {
        Err(store::Error::SandboxExists(_)) => return Ok(None),
        begun => begun?.uid,
    };
    let wanted = Wanted {
        mode: row.mode,
        uid,
        resources: config.resources,
        kernel: config.kernel,
        boot_log: config.boot_log,
        pod: Some(PodConfig { hostname: config.hostname, domainname: config.network.domainname.clone() }),
        network: config.network,
        positions: network::positions(store, &row.id)?,
        needs: Needs::of_pod(row.mode),
        container: None,
    };
    Ok(Some(place.spawn(context, wanted)?))
}

/// Until the lock of a sandbox that ends is free, or soon; what it came to the next try tells.
pub fn wait_for_end(store: &Store, id: &str) {
    let _ = SandboxLock::wait(&store.paths().sandbox(id), END_LIMIT, || ());
}

pub fn client(store: &Store, id: &str) -> Client {
    Client::new(control_path(&store.paths().run_sandbox(id)), None)
}

/// Asks its containers to end, and ends the sandbox with the last. One that does not live has.
pub fn stop(store: &Store, row: &PodRow, timeout_seconds: Option<i64>) -> Result<()> {
    if store.db().sandbox(&row.id)?.is_none() {
        return Ok(());
    }
    client(store, &row.id).wait_for_end(&Call::End(EndArgs { timeout_seconds }));
    let _ = store.db().record_event(EventKind::Pod, "stop", &row.id, &[("name", &row.name)]);
    Ok(())
}

/// Removes a pod without containers; `force`: with all that are in it.
pub fn remove(store: &Store, row: &PodRow, force: bool) -> Result<()> {
    // Nobody brings it up again meanwhile.
    let _alone = FileLock::wait(&store.paths().pods_lock(), FlockArg::LockExclusive)?;
    let containers = store.db().containers_of_pod(&row.id)?;
    if let (false, Ok(containers @ 1..)) = (force, u32::try_from(containers.len())) {
        return Err(store::Error::PodInUse { name: row.name.clone(), containers }.into());
    }
    client(store, &row.id).wait_for_end(&Call::End(EndArgs { timeout_seconds: Some(0) }));
    let lock = remove::end(store, &row.id)?;
    for container in containers {
        remove::ended(store, &container.id)?;
    }
    let paths = store.paths();
    for folder in [paths.run_sandbox(&row.id), paths.sandbox(&row.id)] {
        sandbox::remove::tree(&folder).map_err(|source| store::Error::io("remove", &folder, source))?;
    }
    remove::unplug(store, &row.id);
    store.db().end_sandbox(&row.id)?;
    store.db().remove_pod(&row.id)?;
    drop(lock);
    Ok(())
}

/// A pod with what is in it.
#[derive(Debug)]
pub struct View {
    pub row: PodRow,
    pub config: Config,
    /// Whether its sandbox lives.
    pub up: bool,
    pub containers: Vec<ContainerRow>,
}

impl View {
    /// Podman's words by its rules, which count a pod's own process, here the sandbox, as one that runs.
    pub fn status(&self) -> &'static str {
        let count = |wanted: &[ContainerState]| {
            self.containers.iter().filter(|row| wanted.contains(&row.state)).count()
        };
        let running = count(&[ContainerState::Running]);
        let paused = count(&[ContainerState::Paused]);
        let exited = count(&[ContainerState::Exited]);
        let failed = count(&[ContainerState::Dead, ContainerState::Removing, ContainerState::Restarting]);
        match self.containers.len() {
            all if self.up && running == all => "Running",
            all if self.up && all > 0 && paused == all => "Paused",
            _ if self.up => "Degraded",
            all if exited == all => "Exited",
            _ if exited > 0 => "Stopped",
            _ if failed > 0 => "Error",
            _ => "Created",
        }
    }
}

/// All pods, newest first.
pub fn views(store: &Store) -> Result<Vec<View>, store::Error> {
    let alive: Vec<String> = store.db().sandboxes()?.into_iter().map(|sandbox| sandbox.id).collect();
    let mut containers = store.db().containers()?;
    let pods = store.db().pods()?.into_iter().rev();
    Ok(pods
        .map(|row| {
            let (own, others): (Vec<_>, Vec<_>) =
                std::mem::take(&mut containers).into_iter().partition(|c| c.pod.as_ref() == Some(&row.id));
            containers = others;
            view_of(row, &alive, own)
        })
        .collect())
}

pub fn view(store: &Store, row: PodRow) -> Result<View, store::Error> {
    let alive: Vec<String> = store.db().sandbox(&row.id)?.into_iter().map(|sandbox| sandbox.id).collect();
    let containers = store.db().containers_of_pod(&row.id)?;
    Ok(view_of(row, &alive, containers))
}

fn view_of(row: PodRow, alive: &[String], containers: Vec<ContainerRow>) -> View {
    // One of another release is still listed.
    let config = Config::from_row(&row).unwrap_or_else(|_| Config {
        hostname: String::new(),
        labels: BTreeMap::new(),
        resources: Resources::default(),
        network: Networking::default(),
        kernel: None,
        boot_log: false,
    });
    View { up: alive.contains(&row.id), config, row, containers }
}

/// Whether an error says that the pod, or its sandbox, went while one was about to join it.
pub fn has_ended(error: &StartError) -> bool {
    match error {
        StartError::Client(error) => error.is_gone(),
        StartError::Store(store::Error::NotFound { what: "sandbox", .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
#[path = "pod_tests.rs"]
mod tests;
