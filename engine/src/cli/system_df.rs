//! `hull system df`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::images::{Line, created, lines};
use super::output::{self, ago, human_size, short, size};
use super::ps::status;
use super::{Exit, Failure, swept};
use crate::container::config::Config;
use crate::container::list::{self as containers, Listed, Selection};
use crate::container::{life, written};
use crate::context::Context;
use crate::format::rows::{Headings, Row, RowFormat, ellipsis};
use crate::format::{filter::Filters, quote};
use crate::image::list;
use crate::image::usage::Usage;
use crate::store::Store;
use crate::store::db::inventory::Kept;
use crate::time::{SECOND, go_local, now_ns};

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct DfArgs {
    /// Each image and container
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
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];
const CONTAINER_COLUMNS: &str =
    r"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";

/// What is in the store now.
struct Disk {
    images: Vec<Kept>,
    usage: Usage,
    containers: Vec<Container>,
}

struct Container {
    listed: Listed,
    /// What it has written, as far as that is known.
    bytes: u64,
}

impl Disk {
    fn read(context: &Context, store: &Store) -> Result<Self, Failure> {
        let images = store.db().inventory()?;
        let naming = context.config.short_names.clone();
        let all = Selection { all: true, naming, ..Selection::default() };
        let containers = containers::list(store, &all, &store.db().images()?)?.into_iter().map(|listed| {
            let config = listed.config.as_ref();
            let written = config.and_then(|config| written::bytes(store, &listed.row, config).ok().flatten());
            Container { bytes: written.unwrap_or(0), listed }
        });
        Ok(Self { usage: Usage::of(&images), containers: containers.collect(), images })
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

fn summary(disk: &Disk) -> [Row; 2] {
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
    [row(images), row(containers)]
}

/// `1.983MB (100%)`; without a share where there is nothing.
fn reclaimable(bytes: u64, total: u64) -> String {
    match bytes.saturating_mul(100).checked_div(total) {
        Some(percent) => format!("{} ({percent}%)", human_size(bytes)),
        None => human_size(bytes),
    }
}

fn row(fields: Value) -> Row {
    match fields {
        Value::Object(fields) => Row::new(fields),
        _ => Row::new(Map::new()),
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
    if let Some(format) = args.format.as_deref().filter(|format| !matches!(*format, "" | "table")) {
        return output::print_formatted(format, &json!({"Images": images, "Containers": containers}));
    }
    let table = |headings, columns, rows: Vec<Value>| {
        let rows: Vec<Row> = rows.into_iter().map(shortened).map(row).collect();
        RowFormat::parse(None, columns)?.render(headings, &rows)
    };
    let images = table(IMAGES, IMAGE_COLUMNS, images)?;
    let containers = table(CONTAINERS, CONTAINER_COLUMNS, containers)?;
    output::print(&format!("Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}"))
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
    let Container { listed: Listed { row, config, image, health }, bytes } = container;
    let command = config.as_ref().map(Config::command_line).unwrap_or_default();
    json!({
        "ID": row.id,
        "Image": if image.starts_with("sha256:") { short(image) } else { image },
        "Command": quote(&ellipsis(&command, 20)),
        "Size": size(*bytes),
        "RunningFor": ago((now_ns() - row.created) / SECOND),
        "CreatedAt": go_local(row.created),
        "State": row.state.as_str(),
        "Status": status(row, health.as_deref()).to_string(),
        "Names": row.name,
    })
}
