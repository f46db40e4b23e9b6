//! `hull ps`.

use std::collections::HashMap;

use clap::Args;
use serde_json::json;

use super::output::{self, Health, Status, ago, short, size};
use super::{Exit, swept};
use crate::container::config::Config;
use crate::container::list::{self, FILTERS, Listed, Selection};
use crate::container::{life, mounts, written};
use crate::context::Context;
use crate::format::quote;
use crate::format::rows::{Headings, Row, RowFormat, ellipsis};
use crate::image::digest::Digest;
use crate::network::model::PublishedRow;
use crate::network::ports::show;
use crate::store::{self, ContainerRow, ContainerState, Store};
use crate::time::{SECOND, go_local, now_ns};
use crate::volume::model::LOCAL;
use crate::volume::{Kind, MountPoint};

/// Characters of a mount in the table.
const MOUNT_WIDTH: usize = 15;

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct PsArgs {
    /// Ended containers too
    #[arg(short, long)]
    all: bool,
    /// The N containers made last, running or not
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,
    /// The container made last, running or not
    #[arg(short, long)]
    latest: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// How much each has written, and its image's size on top
    #[arg(short, long)]
    size: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Columns, as a Go template: table, json, 'table {{.ID}}\t{{.Names}}', '{{.Names}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only those that match: id, name, label, status, exited, before, since, ancestor, health, isolation,
    /// volume
    #[arg(short, long, value_name = "KEY=VALUE")]
    #[arg(action = clap::ArgAction::Append)]
    filter: Vec<String>,
}

const HEADINGS: Headings = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Isolation", "ISOLATION"),
    ("Pod", "POD"),
];
const COLUMNS: &str = r"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Isolation}}\t{{.Names}}";

pub fn list(context: &Context, args: &PsArgs) -> Exit {
    let filters = output::filters(&args.filter, &FILTERS)?;
    let columns = if args.size { format!(r"{COLUMNS}\t{{{{.Size}}}}") } else { COLUMNS.to_string() };
    let format = match (args.quiet, &args.format) {
        (true, format) => {
            if format.is_some() {
                eprintln!("WARNING: Ignoring custom format, because both --format and --quiet are set.");
            }
            RowFormat::parse(Some("{{.ID}}"), &columns)?
        }
        (false, format) => RowFormat::parse(format.as_deref(), &columns)?,
    };
    let latest = if args.latest { Some(1) } else { args.last.and_then(|n| usize::try_from(n).ok()) };
    let latest = latest.filter(|most| *most > 0);
    let selection = Selection { all: args.all, latest, filters, naming: context.config.short_names.clone() };
    let store = swept(context)?;
    let images = store.db().images()?;
    let listed = list::list(&store, &selection, &images)?;
    let with_size = args.size || format.mentions("Size");
    let sizes = if with_size { list::image_sizes(&store, &images, &listed)? } else { HashMap::new() };
    let published = show::by_owner(&store)?;
    let networks = networks_by_owner(&store)?;
    let volumes = store.db().volumes()?.into_iter();
    let drivers: HashMap<String, String> = volumes.map(|volume| (volume.name, volume.driver)).collect();
    let rows: Vec<Row> = listed
        .into_iter()
        .map(|item| {
            let written = if with_size { shown_size(&store, &item, &sizes) } else { size(0) };
            let ports = shown_ports(&item, &published);
            let networks = shown_networks(&item, &networks);
            let local = local_volumes(&item, &drivers);
            fields(item, written, [ports, networks], local, args.no_trunc)
        })
        .collect();
    output::print(&format.render(HEADINGS, &rows)?)
}

/// `3.15MB (virtual 5.13MB)`. Where the host cannot see what a container has written, only the image's.
fn shown_size(store: &Store, item: &Listed, sizes: &HashMap<Digest, u64>) -> String {
    let image = sizes.get(&item.row.image).copied().unwrap_or(0);
    let written = item.config.as_ref().map(|config| written::bytes(store, &item.row, config));
    match written {
        Some(Ok(Some(bytes))) => format!("{} (virtual {})", size(bytes), size(bytes.saturating_add(image))),
        _ => format!("unknown (image {})", size(image)),
    }
}

/// What its sandbox publishes, and what it exposes besides, while it is up.
fn shown_ports(item: &Listed, published: &HashMap<String, Vec<PublishedRow>>) -> String {
    if !life::is_up(&item.row) {
        return String::new();
    }
    let exposed = item.config.as_ref().map_or(&[][..], |config| &config.network.expose);
    let published = published.get(show::owner(&item.row)).map_or(&[][..], Vec::as_slice);
    show::column(published, exposed)
}

/// The names of networks that each sandbox is to be on.
fn networks_by_owner(store: &Store) -> Result<HashMap<String, Vec<String>>, store::Error> {
    let mut all: HashMap<String, Vec<String>> = HashMap::new();
    for endpoint in store.db().endpoints()? {
        all.entry(endpoint.owner).or_default().push(endpoint.settings.network);
    }
    Ok(all)
}

fn shown_networks(item: &Listed, networks: &HashMap<String, Vec<String>>) -> String {
    if let Some(names) = networks.get(show::owner(&item.row)) {
        return names.join(",");
    }
    let own = item.config.as_ref().filter(|_| item.row.pod.is_none());
    own.and_then(|config| config.network.mode.name()).unwrap_or_default().to_string()
}

/// How many of its volumes hull keeps itself.
fn local_volumes(item: &Listed, drivers: &HashMap<String, String>) -> usize {
    let is_local = |point: &&MountPoint| match &point.kind {
        Kind::Volume { name, .. } => drivers.get(name).is_some_and(|driver| driver == LOCAL),
        Kind::Bind { .. } => false,
    };
    item.config.as_ref().map_or(0, |config| config.volumes.iter().filter(is_local).count())
}

/// As docker's client, each cut to its column's width.
fn shown_mounts(config: &Config, whole: bool) -> String {
    let cut = |source: String| if whole { source } else { ellipsis(&source, MOUNT_WIDTH).to_string() };
    config.volumes.iter().map(|point| cut(mounts::source(point))).collect::<Vec<_>>().join(",")
}

fn fields(item: Listed, size: String, [ports, networks]: [String; 2], local: usize, whole: bool) -> Row {
    let Listed { row, config, image, health } = item;
    let command = config.as_ref().map(Config::command_line).unwrap_or_default();
    let mounts = config.as_ref().map(|config| shown_mounts(config, whole)).unwrap_or_default();
    let labels = config.map(|config| config.labels).unwrap_or_default();
    let fields = json!({
        "ID": if whole { &row.id } else { short(&row.id) },
        "Names": row.name,
        "Image": if whole || !image.starts_with("sha256:") { &image } else { short(&image) },
        "Command": quote(&if whole { command.into() } else { ellipsis(&command, 20) }),
        "CreatedAt": go_local(row.created),
        "RunningFor": ago((now_ns() - row.created) / SECOND),
        "Ports": ports,
        "State": row.state.as_str(),
        "Status": status(&row, health.as_deref()).to_string(),
        "Size": size,
        "Labels": output::pairs(&labels),
        "Mounts": mounts,
        "LocalVolumes": local.to_string(),
        "Networks": networks,
        "Isolation": row.mode,
        "Pod": row.pod.unwrap_or_default(),
    });
    Row::new(fields).with_labels(labels)
}

pub fn status(row: &ContainerRow, health: Option<&str>) -> Status {
    let since = |then: i64| (now_ns() - then) / SECOND;
    let (started, ended, code) = (since(row.started), since(row.finished), row.exit_code);
    match row.state {
        ContainerState::Created => Status::Created,
        ContainerState::Running => Status::Up { started, health: health.and_then(Health::from_word) },
        ContainerState::Paused => Status::Paused { started },
        ContainerState::Restarting => Status::Restarting { code, ended },
        ContainerState::Removing => Status::Removing,
        ContainerState::Exited => Status::Exited { code, ended },
        ContainerState::Dead => Status::Dead,
    }
}
