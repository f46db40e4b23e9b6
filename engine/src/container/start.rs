//! From a container's row to its supervisor.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::config::{Config, UnreadableConfig};
use super::create::{self, CreateError, Creating, New};
use super::remove;
use crate::context::Context;
use crate::image::{self, Image, Root, catalog, unpack};
use crate::network;
use crate::pod;
use crate::rootless::in_user_namespace;
use crate::sandbox::mode::Isolation;
use crate::sandbox::{self, RootPlan};
use crate::store::{self, ContainerRow, ContainerState, Store};
use crate::supervisor::ContainerPlan;
use crate::supervisor::client::{Client, ClientError};
use crate::supervisor::control::{Call, StartArgs, WaitArgs};
use crate::supervisor::launch::{Place, SpawnError, Wanted, control_path};
use crate::volume::attach::Needs;

/// What a supervisor may take between the record of its container's end and its own.
const END_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Config(#[from] UnreadableConfig),
    #[error("Pod {0} ends again and again while it is to start")]
    Ending(String),
    #[error("You cannot start and attach to a container that is being removed")]
    Removing,
}

/// A container with its supervisor: not started yet, so that its streams can be attached to first.
#[derive(Debug)]
pub struct Supervised {
    pub id: String,
    pub client: Client,
}

impl Supervised {
    /// Runs the container's command.
    pub fn start(&mut self) -> Result<(), ClientError> {
        self.begin(None).map(drop)
    }

    /// The same; with `wait` the connection tells of the end to come.
    pub fn begin(&mut self, wait: Option<WaitArgs>) -> Result<UnixStream, ClientError> {
        self.client.start(&Call::Start(StartArgs { container: self.id.clone(), wait }))
    }
}

/// A new container that is started at once.
pub fn new(
    context: &Context,
    store: &Store,
    new: &mut New,
) -> Result<(ContainerRow, Supervised), StartError> {
    let root = root_for(store, &new.image, new.mode)?;
    let _creating = Creating::begin(store)?;
    if new.pod.is_some() {
        let (row, _) = create::add(store, new, false)?;
        let plan = container_plan(store, &new.id, new.config.clone(), root, true);
        let supervised = in_pod(context, store, &row, plan);
        if supervised.is_err() && new.config.remove {
            let _ = remove::ended(store, &row.id);
        }
        return Ok((row, supervised?));
    }
    let place = Place::make(store, &new.id, END_LIMIT)?;
    let (row, uid) = match create::add(store, new, true) {
        Ok(added) => added,
        Err(error) => {
            for folder in [&place.run_dir, &place.dir] {
                let _ = sandbox::remove::tree(folder);
            }
            return Err(error.into());
        }
    };
    let container = container_plan(store, &new.id, new.config.clone(), root, true);
    let client = supervise(context, store, place, new.mode, uid, container)?;
    Ok((row, Supervised { id: new.id.clone(), client }))
}

/// One that was created before, and does not run.
pub fn existing(context: &Context, store: &Store, row: &ContainerRow) -> Result<Supervised, StartError> {
    let config = Config::from_row(row)?;
    if matches!(row.state, ContainerState::Removing | ContainerState::Dead) {
        return Err(StartError::Removing);
    }
    let root = root_for(store, &catalog::of_container(store, &row.image)?, row.mode)?;
    let container = container_plan(store, &row.id, config, root, false);
    if row.pod.is_some() {
        return in_pod(context, store, row, container);
    }
    let place = Place::make(store, &row.id, END_LIMIT)?;
    let mode = row.mode;
    let sandbox = create::new_sandbox(&row.id, mode);
    let uid = store.db().begin_sandbox(&sandbox, create::uids(mode), &[&row.id])?.uid;
    let client = supervise(context, store, place, mode, uid, container)?;
    Ok(Supervised { id: row.id.clone(), client })
}

/// The supervisor of a container's sandbox.
pub fn client(store: &Store, row: &ContainerRow) -> Client {
    let sandbox = row.pod.as_deref().unwrap_or(&row.id);
    Client::new(control_path(&store.paths().run_sandbox(sandbox)), None)
}

/// What a container's root is made from.
struct Lower {
    image: Root,
    unpacked: Option<PathBuf>,
}

fn root_for(store: &Store, image: &Image, mode: Isolation) -> Result<Lower, image::Error> {
    // A guest mounts what it likes.
    let as_folder = mode == Isolation::Namespace && in_user_namespace();
    let unpacked = if as_folder { Some(unpack::ensure(store, &image.layers)?) } else { None };
    Ok(Lower { image: catalog::root_for(store, image)?, unpacked })
}

fn container_plan(store: &Store, id: &str, config: Config, lower: Lower, fresh: bool) -> ContainerPlan {
    let root = RootPlan {
        dir: store.paths().container(id),
        image: lower.image,
        unpacked: lower.unpacked,
        keep: !config.remove,
        bytes: config.storage_bytes,
    };
    ContainerPlan { id: id.to_string(), config, root, fresh }
}

fn supervise(
    context: &Context,
    store: &Store,
    place: Place,
    mode: Isolation,
    uid: Option<u32>,
    container: ContainerPlan,
) -> Result<Client, StartError> {
    let config = &container.config;
    let needs = Needs::of(store, mode, &config.volumes)?;
    let wanted = Wanted {
        mode,
        needs,
        uid,
        resources: config.resources.clone(),
        kernel: config.kernel.clone(),
        boot_log: config.boot_log,
        pod: None,
        network: config.network.clone(),
        positions: network::positions(store, &container.id)?,
        container: Some(container),
    };
    Ok(place.spawn(context, wanted)?)
}

/// A container of a pod joins the pod's sandbox, which is started where it does not live.
fn in_pod(
    context: &Context,
    store: &Store,
    row: &ContainerRow,
    container: ContainerPlan,
) -> Result<Supervised, StartError> {
    let pod = row.pod.as_deref().unwrap_or_default();
    let call = Call::Add(Box::new(container));
    for _ in 1..pod::ATTEMPTS {
        match join(context, store, pod, &row.id, &call) {
            Err(error) if pod::has_ended(&error) => pod::wait_for_end(store, pod),
            joined => return Ok(Supervised { id: row.id.clone(), client: joined? }),
        }
    }
    Ok(Supervised { id: row.id.clone(), client: join(context, store, pod, &row.id, &call)? })
}

fn join(
    context: &Context,
    store: &Store,
    pod: &str,
    container: &str,
    call: &Call,
) -> Result<Client, StartError> {
    let mut client = pod::up(context, store, pod)?;
    // Before it is there: who finds the pod dead finds all that were in it.
    store.db().join_sandbox(pod, container)?;
    match client.add(call) {
        // It runs already, which its start will find as well.
        Ok(()) | Err(ClientError::Refused(_)) => Ok(client),
        Err(error) => Err(error.into()),
    }
}
