//! Pods: several containers in one sandbox, which lives until it is told to end.

use hull_guest::protocol::{PodConfig, Resources};
use serde::{Deserialize, Serialize};

use crate::container::create::{self, Creating};
use crate::container::start::{StartError, absolute};
use crate::context::Context;
use crate::sandbox;
use crate::sandbox::mode::Isolation;
use crate::store::{PodRow, Store};
use crate::supervisor::Plan;
use crate::supervisor::client::Client;
use crate::supervisor::control::Call;
use crate::supervisor::launch::{Place, SpawnError, control_path};

/// What a pod's row keeps as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    pub hostname: String,
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// What its machine has for all of its containers.
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub kernel: Option<std::path::PathBuf>,
    #[serde(default)]
    pub boot_log: bool,
}

impl Config {
    pub fn from_row(row: &PodRow) -> Result<Config, StartError> {
        serde_json::from_str(&row.config).map_err(|_| StartError::Config(row.name.clone()))
    }
}

/// The pod's supervisor, started where it does not live.
pub fn up(context: &Context, store: &Store, id: &str) -> Result<Client, StartError> {
    let row = store.db().pod(id)?;
    let config = Config::from_row(&row)?;
    let _creating = Creating::begin(store)?;
    let place = match Place::make(store, &row.id) {
        Ok(place) => place,
        Err(SpawnError::Alive(_)) => return Ok(client(store, &row.id)),
        Err(error) => return Err(error.into()),
    };
    let mode = if row.mode == Isolation::Vm.to_string() { Isolation::Vm } else { Isolation::Namespace };
    let sandbox = create::new_sandbox(&row.id, mode);
    let uid = store.db().begin_sandbox::<&str>(&sandbox, create::uids(mode), &[])?.uid;
    let plan = Plan {
        root: absolute(&context.root),
        run: absolute(&context.run),
        sandbox: sandbox::Plan {
            id: row.id.clone(),
            mode,
            dir: absolute(&place.dir),
            run_dir: absolute(&place.run_dir),
            uid,
            root: None,
            resources: config.resources,
            kernel: config.kernel.as_deref().map(absolute),
            boot_log: config.boot_log,
            pod: Some(PodConfig { hostname: config.hostname }),
        },
        container: None,
    };
    let mut client = place.spawn(&plan)?;
    client.start(&Call::Up)?;
    Ok(client)
}

pub fn client(store: &Store, id: &str) -> Client {
    Client::new(control_path(&store.paths().run_sandbox(id)), None)
}
