//! `hull volume ls`.

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, output, swept};
use crate::context::Context;
use crate::format::rows::{Headings, Row, RowFormat};
use crate::text::escape;
use crate::volume::VolumeRow;
use crate::volume::seen::{self, FILTERS, Seen};

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ListArgs {
    /// Only those that match: dangling, driver, label, name
    #[arg(short, long, value_name = "KEY=VALUE")]
    #[arg(action = clap::ArgAction::Append)]
    filter: Vec<String>,
    /// Columns, as a Go template: table, json, 'table {{.Name}}\t{{.Mountpoint}}', '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names only
    #[arg(short, long)]
    quiet: bool,
}

pub const HEADINGS: Headings = &[
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
    ("Group", "GROUP"),
    ("Availability", "AVAILABILITY"),
];
const COLUMNS: &str = r"{{.Driver}}\t{{.Name}}";

pub fn list(context: &Context, args: &ListArgs) -> Exit {
    let filters = output::filters(&args.filter, &FILTERS)?;
    let format = if args.quiet && args.format.is_none() { Some("{{.Name}}") } else { args.format.as_deref() };
    let format = RowFormat::parse(format, COLUMNS)?;
    let (seen, silent) = seen::list(&swept(context)?, &filters)?;
    let rows: Vec<Row> = seen.iter().map(fields).collect();
    output::print(&format.render(HEADINGS, &rows)?)?;
    silent.iter().for_each(|error| eprintln!("hull: {}", escape(error)));
    Ok(0)
}

fn fields(seen: &Seen) -> Row {
    let unknown = "N/A";
    row(&seen.row, &seen.mountpoint, seen.scope.as_str(), unknown, unknown)
}

/// Docker's fields; of a swarm's there is nothing to tell.
pub fn row(row: &VolumeRow, mountpoint: &str, scope: &str, links: &str, size: &str) -> Row {
    let fields = fields_of(row, mountpoint, scope, links, size);
    Row::new(fields).with_labels(row.settings.labels.clone())
}

pub fn fields_of(row: &VolumeRow, mountpoint: &str, scope: &str, links: &str, size: &str) -> Value {
    json!({
        "Availability": "N/A",
        "Driver": row.driver,
        "Group": "N/A",
        "Labels": output::pairs(&row.settings.labels),
        "Links": links,
        "Mountpoint": mountpoint,
        "Name": row.name,
        "Scope": scope,
        "Size": size,
        "Status": "N/A",
    })
}
