//! `hull pod ...`, with podman's words.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hull_guest::protocol::Resources;
use serde_json::{Map, Value, json};

use super::container_args::check_hostname;
use super::network_args::{Network, NetworkArgs};
use super::output::{ago, short};
use super::{Exit, for_each, inspect, output, swept};
use crate::container::create;
use crate::container::limits;
use crate::context::Context;
use crate::format::filter::Filters;
use crate::format::rows::{Headings, Row, RowFormat};
use crate::network::inspect::{self as network_inspect, Sandbox};
use crate::pod::{self, PodError, View};
use crate::sandbox::mode::IsolationRequest;
use crate::store::Store;
use crate::text::escape;
use crate::time::{SECOND, now_ns, rfc3339_nano};

#[derive(Debug, Subcommand)]
pub enum PodCommand {
    /// Make a pod: one sandbox for several containers
    Create(Box<CreateArgs>),
    /// List pods
    #[command(visible_alias = "ps", alias = "list")]
    Ls(ListArgs),
    /// Show everything about pods
    Inspect(InspectArgs),
    /// Stop pods and the containers in them
    Stop(StopArgs),
    /// Remove pods
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true)]
pub struct CreateArgs {
    /// Name of the pod [default: two random words]
    #[arg(long)]
    name: Option<String>,
    /// Host name of all its containers [default: the pod's name]
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Attach a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Memory of the pod's virtual machine
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// CPUs of the pod's virtual machine
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Where its containers run [default: the config file's, else auto]
    #[arg(long, value_enum, value_name = "MODE")]
    isolation: Option<IsolationRequest>,
    /// Guest kernel for this pod, ELF or bzImage
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only pods with: id=, name=, label=, status=
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, table ..., or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A template, for each pod
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Seconds before containers are killed, -1 to wait for ever [default: each container's, else 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Remove what is in them, too, whether it runs or not
    #[arg(short, long)]
    force: bool,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

pub fn pod(context: &Context, command: PodCommand) -> Exit {
    match command {
        PodCommand::Create(args) => create(context, *args),
        PodCommand::Ls(args) => list(context, &args),
        PodCommand::Inspect(args) => inspect::pods(context, args.format.as_deref(), &args.pods),
        PodCommand::Stop(args) => stop(context, &args),
        PodCommand::Rm(args) => remove(context, &args),
    }
}

fn create(context: &Context, args: CreateArgs) -> Exit {
    if let Some(hostname) = &args.hostname {
        check_hostname(hostname)?;
    }
    let network = match args.network.read(args.hostname.is_some())? {
        Network::Own(asked) => *asked,
        Network::Joined(_) => {
            return Err(
                anyhow::anyhow!("--network container:NAME is for containers: a pod has its own").into()
            );
        }
    };
    let online = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let asked = pod::Asked {
        network,
        name: args.name,
        hostname: args.hostname,
        labels: create::labels(&args.label),
        resources: Resources {
            memory_bytes: args.memory.as_deref().map(limits::memory).transpose()?.flatten(),
            cpu_millis: args.cpus.as_deref().map(|cpus| limits::cpus(cpus, online)).transpose()?.flatten(),
            ..Resources::default()
        },
        isolation: args.isolation,
        kernel: args.kernel,
    };
    let store = swept(context)?;
    let (row, warnings) = pod::create(context, &store, asked)?;
    for warning in warnings {
        eprintln!("hull: warning: {}", escape(&warning));
    }
    println!("{}", row.id);
    Ok(0)
}

const HEADINGS: Headings = &[
    ("ID", "POD ID"),
    ("Name", "NAME"),
    ("Status", "STATUS"),
    ("Created", "CREATED"),
    ("NumberOfContainers", "# OF CONTAINERS"),
    ("Isolation", "ISOLATION"),
    ("Hostname", "HOSTNAME"),
    ("Labels", "LABELS"),
];
const COLUMNS: &str =
    r"{{.ID}}\t{{.Name}}\t{{.Status}}\t{{.Created}}\t{{.NumberOfContainers}}\t{{.Isolation}}";

fn list(context: &Context, args: &ListArgs) -> Exit {
    let filters = Filters::parse(&args.filter, &["id", "name", "label", "status"])?;
    let format = match (&args.format, args.quiet) {
        (None, true) => RowFormat::parse(Some("{{.ID}}"), COLUMNS)?,
        (format, _) => RowFormat::parse(format.as_deref(), COLUMNS)?,
    };
    let store = swept(context)?;
    let views = pod::views(&store)?;
    let shown = views.iter().filter(|view| {
        filters.prefix("id", &view.row.id)
            && filters.pattern("name", &view.row.name)
            && filters.labels("label", &view.config.labels)
            && filters.exact("status", &view.status().to_lowercase())
    });
    let rows: Vec<Row> = shown.map(|view| cells(view, args.no_trunc)).collect();
    output::print(&format.render(HEADINGS, &rows)?)
}

fn cells(view: &View, whole: bool) -> Row {
    let row = &view.row;
    let fields = [
        ("ID", Value::from(if whole { &row.id } else { short(&row.id) })),
        ("Name", Value::from(row.name.as_str())),
        ("Status", Value::from(view.status())),
        ("Created", Value::from(ago((now_ns() - row.created) / SECOND))),
        ("NumberOfContainers", Value::from(view.containers.len())),
        ("Isolation", Value::from(row.mode.as_str())),
        ("Hostname", Value::from(view.config.hostname.as_str())),
        ("Labels", Value::from(output::pairs(&view.config.labels))),
    ];
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    Row::new(fields).with_labels(view.config.labels.clone())
}

/// In the shape of podman's.
pub fn description(store: &Store, view: &View) -> Result<Value, crate::store::Error> {
    let View { row, config, up, containers } = view;
    let containers: Vec<Value> = containers
        .iter()
        .map(|row| json!({"Id": row.id, "Name": row.name, "State": row.state.as_str()}))
        .collect();
    let sandbox = Sandbox { id: &row.id, networking: &config.network, up: *up, namespace: None };
    let mut fields = json!({
        "Id": row.id,
        "Name": row.name,
        "Created": rfc3339_nano(row.created),
        "State": view.status(),
        "Up": up,
        "Isolation": row.mode,
        "Hostname": config.hostname,
        "Labels": config.labels,
        "Memory": config.resources.memory_bytes.unwrap_or(0),
        "NanoCpus": config.resources.cpu_millis.unwrap_or(0).saturating_mul(1_000_000),
        "NumContainers": containers.len(),
        "Containers": containers,
        "HostConfig": network_inspect::host_config(store, &row.id, &config.network)?,
        "NetworkSettings": sandbox.settings(store)?,
    });
    if !config.network.domainname.is_empty() {
        fields["Domainname"] = json!(config.network.domainname);
    }
    Ok(fields)
}

fn stop(context: &Context, args: &StopArgs) -> Exit {
    let store = swept(context)?;
    for_each(&args.pods, |name| {
        pod::stop(&store, &store.db().pod(name)?, args.time)?;
        Ok::<_, PodError>(name.to_string())
    })
}

fn remove(context: &Context, args: &RemoveArgs) -> Exit {
    let store = swept(context)?;
    for_each(&args.pods, |name| {
        match store.db().pod(name) {
            // With -f, what is not there is removed, as with rm(1).
            Err(error) if args.force && error.kind() == crate::store::Kind::NotFound => {}
            row => pod::remove(&store, &row?, args.force)?,
        }
        Ok::<_, PodError>(name.to_string())
    })
}
