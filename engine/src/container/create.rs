//! Making a container: from what was asked for to its row and its folder.

mod rows;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use hull_guest::protocol::{Resources, Share, Text};

pub use rows::{Creating, NAME_ATTEMPTS, VMM_UIDS, add, new_sandbox, uids};

use super::config::{Config, Stop, UnreadableConfig};
use super::env::EnvError;
use super::health::{HealthCheck, HealthError, HealthOptions};
use super::restart::RestartPolicy;
use super::secrets::{self, SecretError};
use super::spec::{self, ImageDefaults, Options};
use super::{names, signals};
use crate::context::Context;
use crate::image::{self, Image, pull::Wanted};
use crate::logs::LogConfig;
use crate::network::model::{EndpointRow, Mode, Networking};
use crate::network::ports::parse::exposed_by_image;
use crate::network::{self, NetworkError, options};
use crate::pod;
use crate::rootless::{facts, in_user_namespace};
use crate::sandbox::cgroup;
use crate::sandbox::mode::{self, Isolation, IsolationRequest, ModeError};
use crate::sandbox::probe;
use crate::store::{self, PodRow, Store};
use crate::volume;

/// Everything `hull run` and `hull create` were asked for, checked.
#[derive(Debug)]
pub struct Asked {
    pub image: Wanted,
    pub name: Option<String>,
    pub remove: bool,
    pub isolation: Option<IsolationRequest>,
    pub kernel: Option<PathBuf>,
    pub env: Vec<OsString>,
    pub env_files: Vec<PathBuf>,
    pub labels: BTreeMap<String, String>,
    pub options: Options,
    pub restart: RestartPolicy,
    pub stop_signal: Option<u8>,
    pub stop_timeout: Option<i64>,
    pub health: HealthOptions,
    pub log: LogConfig,
    pub storage_bytes: Option<u64>,
    /// Whether the client that starts it feeds its stdin, and ends it.
    pub stdin_once: bool,
    pub pod: Option<String>,
    /// Nothing in a pod.
    pub network: options::Asked,
    /// `--network`, `--ipc`, `--pid container:NAME`: the names.
    pub share: Share,
    pub volumes: volume::parse::Asked,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error(
        "There is no image \"{0}\" here; `hull pull` fetches one, `hull load` brings in an archive of one, `hull import` a root file system"
    )]
    NoImage(String),
    #[error(transparent)]
    Mode(#[from] ModeError),
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Spec(#[from] spec::NoCommand),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error("The image's stop signal cannot be used")]
    StopSignal(#[from] signals::BadSignal),
    #[error("Failed to read /dev/urandom")]
    Random(#[source] io::Error),
    #[error("Failed to make the container's folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("--kernel is for virtual machines, and this container would run in host namespaces")]
    KernelNeedsVm,
    #[error("--storage-opt size= is for virtual machines, and this container would run in host namespaces")]
    StorageNeedsVm,
    #[error(
        "{0} needs cgroups, and this user was given none (systemd-run --user --scope -p Delegate=yes hull ... \
         gives some); a virtual machine has its own"
    )]
    NoCgroups(&'static str),
    #[error("{what} is for a virtual machine of the container's own, and a pod has one already")]
    PodHas { what: &'static str },
    #[error("-h conflicts with a pod: its containers have the pod's host name")]
    PodHostname,
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("The image exposes a port that is none")]
    Exposed(#[from] network::ports::parse::ParseError),
    #[error(transparent)]
    PodConfig(#[from] UnreadableConfig),
    #[error(
        "{option} container:{name}: only containers of one pod share namespaces, and {name} is in none; \
         make a pod (hull pod create) and run both in it (--pod)"
    )]
    NotInPod { option: &'static str, name: String },
    #[error("{option} container:{name}: {name} is in another pod, and a container can be in one only")]
    OtherPod { option: &'static str, name: String },
    #[error(transparent)]
    Volumes(#[from] volume::options::OptionsError),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// A container that has no row yet.
#[derive(Debug)]
pub struct New {
    pub id: String,
    pub image: Image,
    pub mode: Isolation,
    pub config: Config,
    name: Option<String>,
    pub pod: Option<PodRow>,
    /// Its places on networks; none in a pod, which has them.
    pub endpoints: Vec<EndpointRow>,
    /// What is to be mounted; its config has it once it is added.
    volumes: volume::options::Plan,
    /// To be told to the user once it is made.
    pub warnings: Vec<String>,
}

/// Checks what was asked for against the image and the machine. Nothing is changed yet.
pub fn plan(context: &Context, store: &Store, mut asked: Asked) -> Result<New, CreateError> {
    let image = asked.image.find(context, store).map_err(|error| match error {
        image::Error::NotFound(name) => CreateError::NoImage(name),
        other => other.into(),
    })?;
    let pod = asked.pod.as_deref().map(|name| store.db().pod(name)).transpose()?;
    let pod = resolve_share(store, &mut asked.share, pod)?;
    if let Some(pod) = &pod {
        if asked.options.hostname.is_some() {
            return Err(CreateError::PodHostname);
        }
        let config = pod::Config::from_row(pod)?;
        asked.options.hostname = Some(config.hostname);
    }
    let (mode, warning) = decide_mode(context, &asked, pod.as_ref())?;
    let single = facts::single()
        .filter(|_| mode == Isolation::Namespace)
        .map(|why| format!("this container has no user but root, to whom all its files belong: {why}"));
    let warning = [warning, single].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"));
    check_limits(mode, &asked.options.resources)?;
    secrets::check(&asked.options.secrets)?;
    let id = names::new_id().map_err(CreateError::Random)?;
    let mut planned = options::Plan::default();
    if pod.is_none() {
        let exposed = exposed_by_image(image.config.config.exposed_ports.keys().map(String::as_str))?;
        let wanted = std::mem::take(&mut asked.network);
        planned = options::plan(store, &id, mode, wanted, exposed, network::host_prefixes)?;
    }
    if planned.networking.mode == Mode::Host && asked.options.hostname.is_none() {
        // As docker: who has the host's network has its name.
        asked.options.hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    }
    let mut config = config(context, &id, &image, &asked, planned.networking)?;
    let of_image = image.config.config.volumes.keys().map(String::as_str);
    let place = volume::options::Place { mode, in_pod: pod.is_some() };
    let volumes = volume::options::plan(store, place, &asked.volumes, of_image.clone())?;
    config.shown_mounts.targets.extend(of_image.map(str::to_string));
    let warnings = warning.into_iter().chain(planned.warnings).collect();
    let (name, endpoints) = (asked.name, planned.endpoints);
    Ok(New { id, image, mode, config, name, pod, endpoints, volumes, warnings })
}

/// Turns the names into ids. Whose namespaces it shares, their pod it is in.
fn resolve_share(
    store: &Store,
    share: &mut Share,
    mut pod: Option<PodRow>,
) -> Result<Option<PodRow>, CreateError> {
    for (option, wanted) in
        [("--network", &mut share.network), ("--ipc", &mut share.ipc), ("--pid", &mut share.pid)]
    {
        let Some(name) = wanted else { continue };
        let row = store.db().container(name)?;
        match (&row.pod, &pod) {
            (None, _) => return Err(CreateError::NotInPod { option, name: name.clone() }),
            (Some(its), Some(pod)) if *its != pod.id => {
                return Err(CreateError::OtherPod { option, name: name.clone() });
            }
            (Some(its), None) => pod = Some(store.db().pod(its)?),
            (Some(_), Some(_)) => {}
        }
        *name = row.id;
    }
    Ok(pod)
}

fn decide_mode(
    context: &Context,
    asked: &Asked,
    pod: Option<&PodRow>,
) -> Result<(Isolation, Option<String>), CreateError> {
    if let Some(pod) = pod {
        let what = match (&asked.kernel, asked.isolation) {
            (Some(_), _) => Some("--kernel"),
            (None, Some(_)) => Some("--isolation"),
            (None, None) => None,
        };
        if let Some(what) = what {
            return Err(CreateError::PodHas { what });
        }
        return Ok((pod.mode, None));
    }
    let request = asked.isolation.unwrap_or(context.config.isolation);
    let (mode, warning) = mode::decide(request, context.config.require_vm, || probe::verdict(&context.run))?;
    if mode == Isolation::Namespace && asked.kernel.is_some() {
        return Err(CreateError::KernelNeedsVm);
    }
    if mode == Isolation::Namespace && asked.storage_bytes.is_some() {
        return Err(CreateError::StorageNeedsVm);
    }
    Ok((mode, warning))
}

/// What a cgroup is needed for, where there is none.
fn check_limits(mode: Isolation, resources: &Resources) -> Result<(), CreateError> {
    if mode == Isolation::Vm || !in_user_namespace() || cgroup::supervisors_path().is_some() {
        return Ok(());
    }
    let r = resources;
    let memory = [r.memory_bytes, r.memory_reservation_bytes, r.memory_swap_bytes];
    let cpu = [r.cpu_millis, r.cpu_shares, r.cpu_period_us, r.cpu_quota_us];
    let asked = [
        ("A limit of memory", memory.iter().any(Option::is_some)),
        ("A limit of CPU time", cpu.iter().any(Option::is_some) || r.cpuset_cpus.is_some()),
        ("A limit of processes", r.pids.is_some()),
        ("A limit of a device's rate", !r.io.is_empty()),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(CreateError::NoCgroups(what)),
        None => Ok(()),
    }
}

fn config(
    context: &Context,
    id: &str,
    image: &Image,
    asked: &Asked,
    network: Networking,
) -> Result<Config, CreateError> {
    let run = &image.config.config;
    let defaults = defaults(image);
    let hostname = asked.options.hostname.clone().unwrap_or_else(|| spec::default_hostname(id));
    let process = spec::process(&defaults, &asked.options, environment(asked, &defaults, &hostname)?)?;
    let mut labels = run.labels.clone();
    labels.extend(asked.labels.clone());
    let image_signal = match run.stop_signal.as_str() {
        "" => None,
        word => Some(signals::parse(word)?),
    };
    let usual = Stop::default();
    Ok(Config {
        image: asked.image.image.clone(),
        labels,
        remove: asked.remove,
        hostname,
        entrypoint_words: spec::entrypoint_words(&defaults, &asked.options),
        process,
        stdin_once: asked.stdin_once,
        mounts: asked.volumes.tmpfs.clone(),
        volumes: Vec::new(),
        shown_mounts: asked.volumes.shown.clone(),
        secrets: asked.options.secrets.clone(),
        read_only: asked.options.read_only,
        resources: asked.options.resources.clone(),
        storage_bytes: asked.storage_bytes,
        network,
        share: asked.share.clone(),
        restart: asked.restart,
        stop: Stop {
            signal: asked.stop_signal.or(image_signal).unwrap_or(usual.signal),
            timeout_seconds: asked.stop_timeout.unwrap_or(usual.timeout_seconds),
        },
        health: HealthCheck::resolve(run.healthcheck.as_ref(), &asked.health)?,
        log: asked.log.clone(),
        kernel: asked.kernel.clone().or_else(|| context.config.kernel.clone()),
        boot_log: context.config.boot_log,
    })
}

fn environment(asked: &Asked, defaults: &ImageDefaults, hostname: &str) -> Result<Vec<Text>, EnvError> {
    let mut env = spec::environment(defaults, hostname, asked.options.terminal.is_some());
    for file in &asked.env_files {
        env.apply_file(file)?;
    }
    for word in &asked.env {
        env.apply(word)?;
    }
    Ok(env.into_words())
}

fn defaults(image: &Image) -> ImageDefaults {
    let config = image.config.config.clone();
    ImageDefaults {
        env: config.env,
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        working_dir: config.working_dir,
        user: config.user,
    }
}

/// `KEY=VALUE` words; a key alone has an empty value.
pub fn labels(words: &[String]) -> BTreeMap<String, String> {
    words
        .iter()
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}
