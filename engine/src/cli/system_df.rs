//! `hull system df`.

use clap::Args;
use serde_json::{Value, json};

use super::images::{Line, created, lines};
use super::output::{self, ago, human_size, short, size};
use super::ps::status;
use super::{Exit, Failure, swept, volume_list};
use crate::container::config::Config;
use crate::container::list::{self as containers, Listed, Selection};
use crate::container::{life, written};
use crate::context::Context;
use crate::format::rows::{Headings, Row, RowFormat, ellipsis};
use crate::format::{filter::Filters, quote};
use crate::image::list;
use crate::image::usage::Usage;
use crate::store::db::inventory::Kept;
use crate::store::{self, Store};
use crate::time::{SECOND, go_local, now_ns};
use crate::volume::usage::Used;
use crate::volume::{self, seen};

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct DfArgs {
    /// Each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// Columns, as a Go template: table, json, 'table {{.Type}}\t{{.Size}}'; with -v over all of it
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const HEADINGS: Headings = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];
const COLUMNS: &str = r"{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

const IMAGES: Headings = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];
const IMAGE_COLUMNS: &str = r"{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";

const CONTAINERS: Headings = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];
const CONTAINER_COLUMNS: &str = r"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";

const VOLUME_COLUMNS: &str = r"{{.Name}}\t{{.Links}}\t{{.Size}}";

/// What is in the store now.
struct Disk {
    images: Vec<Kept>,
    usage: Usage,
    containers: Vec<Container>,
    volumes: Vec<Used>,
}

struct Container {
    listed: Listed,
    /// What it has written, as far as that is known.
    bytes: u64,
    volumes: usize,
}

impl Disk {
    fn read(context: &Context, store: &Store) -> Result<Self, Failure> {
        let images = store.db().inventory()?;
        let naming = context.config.short_names.clone();
        let all = Selection { all: true, naming, ..Selection::default() };
        let listed = containers::list(store, &all, &store.db().images()?)?;
        let containers = listed.into_iter().map(|listed| {
            let config = listed.config.as_ref();
            let written = config.and_then(|config| written::bytes(store, &listed.row, config).ok().flatten());
            let volumes = store.db().volumes_of(&listed.row.id)?.len();
            Ok(Container { bytes: written.unwrap_or(0), volumes, listed })
        });
        let containers = containers.collect::<Result<_, store::Error>>()?;
        Ok(Self { usage: Usage::of(&images), containers, images, volumes: volume::usage::all(store)? })
    }
}

pub fn df(context: &Context, args: &DfArgs) -> Exit {
    let store = swept(context)?;
    let disk = Disk::read(context, &store)?;
    match args.verbose {
        true => verbose(context, args, &store, &disk),
        false => {
            let format = RowFormat::parse(args.format.as_deref(), COLUMNS)?;
            output::print(&format.render(HEADINGS, &summary(&disk))?)
        }
    }
}

fn summary(disk: &Disk) -> [Row; 3] {
    let used = Usage::of(disk.images.iter().filter(|image| image.containers > 0));
    let total = disk.usage.total();
    let shown = disk.images.iter().filter(|image| !image.hidden);
    let images = json!({
        "Type": "Images",
        "TotalCount": shown.clone().count().to_string(),
        "Active": shown.filter(|image| image.containers > 0).count().to_string(),
        "Size": human_size(total),
        "Reclaimable": reclaimable(total.saturating_sub(used.total()), total),
    });
    let (up, down): (Vec<_>, Vec<_>) =
        disk.containers.iter().partition(|container| life::is_up(&container.listed.row));
    let bytes = |of: &[&Container]| of.iter().map(|container| container.bytes).sum::<u64>();
    let containers = json!({
        "Type": "Containers",
        "TotalCount": disk.containers.len().to_string(),
        "Active": up.len().to_string(),
        "Size": human_size(bytes(&up) + bytes(&down)),
        "Reclaimable": reclaimable(bytes(&down), bytes(&up) + bytes(&down)),
    });
    [images, containers, volumes(disk)].map(Row::new)
}

fn volumes(disk: &Disk) -> Value {
    let bytes =
        |of: &dyn Fn(&&Used) -> bool| disk.volumes.iter().filter(of).map(|used| used.bytes).sum::<u64>();
    let total = bytes(&|_| true);
    json!({
        "Type": "Local Volumes",
        "TotalCount": disk.volumes.len().to_string(),
        "Active": disk.volumes.iter().filter(|used| used.links > 0).count().to_string(),
        "Size": human_size(total),
        "Reclaimable": reclaimable(bytes(&|used| used.links == 0), total),
    })
}

/// `1.983MB (100%)`; without a share where there is nothing.
fn reclaimable(bytes: u64, total: u64) -> String {
    match bytes.saturating_mul(100).checked_div(total) {
        Some(percent) => format!("{} ({percent}%)", human_size(bytes)),
        None => human_size(bytes),
    }
}

fn verbose(context: &Context, args: &DfArgs, store: &Store, disk: &Disk) -> Exit {
    let naming = &context.config.short_names;
    let listed = list::list(store, naming, &Filters::default(), None)?;
    let images: Vec<Value> = listed
        .iter()
        .flat_map(|image| lines(image, naming, false).into_iter().map(|line| image_fields(disk, image, line)))
        .collect();
    let containers: Vec<Value> = disk.containers.iter().map(container_fields).collect();
    let volumes: Vec<Value> = disk.volumes.iter().map(|used| volume_fields(store, used)).collect();
    if let Some(format) = args.format.as_deref().filter(|format| !matches!(*format, "" | "table")) {
        return output::print_formatted(
            format,
            &json!({"Images": images, "Containers": containers, "Volumes": volumes}),
        );
    }
    let table = |headings, columns, rows: Vec<Value>| {
        let rows: Vec<Row> = rows.into_iter().map(shortened).map(Row::new).collect();
        RowFormat::parse(None, columns)?.render(headings, &rows)
    };
    let images = table(IMAGES, IMAGE_COLUMNS, images)?;
    let containers = table(CONTAINERS, CONTAINER_COLUMNS, containers)?;
    let volumes = table(volume_list::HEADINGS, VOLUME_COLUMNS, volumes)?;
    output::print(&format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\nLocal Volumes space usage:\n\n{volumes}"
    ))
}

fn volume_fields(store: &Store, used: &Used) -> Value {
    let (links, size) = (used.links.to_string(), human_size(used.bytes));
    volume_list::fields_of(&used.row, &seen::place(store, &used.row), "local", &links, &size)
}

fn image_fields(disk: &Disk, image: &list::Listed, line: Line) -> Value {
    let kept = disk.images.iter().find(|kept| kept.id == image.row.id);
    let usage = kept.map(|kept| disk.usage.image(kept)).unwrap_or_default();
    let (created_at, since) = created(image);
    json!({
        "Repository": line.repository,
        "Tag": line.tag,
        "ID": image.row.id.to_string(),
        "CreatedSince": since,
        "CreatedAt": created_at,
        "Size": size(usage.shared + usage.unique),
        "SharedSize": human_size(usage.shared),
        "UniqueSize": human_size(usage.unique),
        "Containers": kept.map_or(0, |kept| kept.containers).to_string(),
    })
}

/// The table has starts of ids.
fn shortened(mut fields: Value) -> Value {
    if let Some(id) = fields.get_mut("ID") {
        *id = Value::from(short(id.as_str().unwrap_or_default()));
    }
    fields
}

fn container_fields(container: &Container) -> Value {
    let Container { listed: Listed { row, config, image, health }, bytes, volumes } = container;
    let command = config.as_ref().map(Config::command_line).unwrap_or_default();
    json!({
        "ID": row.id,
        "Image": if image.starts_with("sha256:") { short(image) } else { image },
        "Command": quote(&ellipsis(&command, 20)),
        "LocalVolumes": volumes.to_string(),
        "Size": size(*bytes),
        "RunningFor": ago((now_ns() - row.created) / SECOND),
        "CreatedAt": go_local(row.created),
        "State": row.state.as_str(),
        "Status": status(row, health.as_deref()).to_string(),
        "Names": row.name,
    })
}
