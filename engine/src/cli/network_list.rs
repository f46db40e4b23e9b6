//! `hull network ls`.

use clap::Args;
use serde_json::json;

use super::output::{self, short};
use super::{Exit, swept};
use crate::context::Context;
use crate::format::rows::{Headings, Row, RowFormat};
use crate::network::catalog::{self, FILTERS};
use crate::network::inspect::has_ipv4;
use crate::network::model::NetworkRow;
use crate::time::rfc3339_nano;

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ListArgs {
    /// Only those that match: name, id, driver, label, scope, type (custom, builtin), dangling
    #[arg(short, long, value_name = "KEY=VALUE")]
    #[arg(action = clap::ArgAction::Append)]
    filter: Vec<String>,
    /// Columns, as a Go template: table, json, 'table {{.ID}}\t{{.Name}}', '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
}

const HEADINGS: Headings = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];
const COLUMNS: &str = r"{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

pub fn list(context: &Context, args: &ListArgs) -> Exit {
    let filters = output::filters(&args.filter, &FILTERS)?;
    let format = if args.quiet && args.format.is_none() { Some("{{.ID}}") } else { args.format.as_deref() };
    let format = RowFormat::parse(format, COLUMNS)?;
    let rows: Vec<Row> = catalog::list(&swept(context)?, &filters)?
        .into_iter()
        .map(|row| fields(row, args.no_trunc))
        .collect();
    output::print(&format.render(HEADINGS, &rows)?)
}

fn fields(row: NetworkRow, whole: bool) -> Row {
    let fields = json!({
        "ID": if whole { &row.id } else { short(&row.id) },
        "Name": row.name,
        "Driver": row.driver.as_str(),
        "Scope": "local",
        "IPv4": has_ipv4(&row).to_string(),
        "IPv6": row.settings.ipv6.to_string(),
        "Internal": row.settings.internal.to_string(),
        "Labels": output::pairs(&row.settings.labels),
        // As Go shows a time.
        "CreatedAt": rfc3339_nano(row.created).replace('T', " ").replace('Z', " +0000 UTC"),
    });
    Row::new(fields).with_labels(row.settings.labels)
}
