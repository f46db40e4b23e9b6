//! `hull history`.

use clap::Args;
use serde_json::json;

use super::Exit;
use super::output::{self, ago, short, size};
use crate::context::Context;
use crate::format::rows::{Headings, Row, RowFormat, ellipsis};
use crate::image::history::{self, Step};
use crate::store::Store;
use crate::time::{SECOND, now_ns, rfc3339_seconds_local};

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct HistoryArgs {
    /// Sizes and times for people; without it, bytes and dates
    #[arg(short = 'H', long, value_name = "BOOL", default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, hide_default_value = true, action = clap::ArgAction::Set)]
    human: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Columns, as a Go template: table, json, 'table {{.ID}}\t{{.CreatedBy}}', '{{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Name, id or start of an id
    #[arg(value_name = "IMAGE")]
    image: String,
}

const HEADINGS: Headings = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
const SINCE: &str = r"{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const AT: &str = r"{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
/// Characters of a command, unless all of it is asked for.
const COMMAND: usize = 45;

pub fn history(context: &Context, args: &HistoryArgs) -> Exit {
    let columns = if args.human { SINCE } else { AT };
    let wanted = args.format.as_deref().filter(|format| !matches!(*format, "" | "table"));
    let format = match wanted {
        None if args.quiet => RowFormat::parse(Some("{{.ID}}"), columns)?,
        wanted => RowFormat::parse(wanted, columns)?,
    };
    let store = Store::open(&context.root, &context.run)?;
    let steps = history::history(&store, &context.config.short_names, &args.image)?;
    let rows: Vec<Row> = steps.into_iter().map(|step| fields(step, args)).collect();
    output::print(&format.render(HEADINGS, &rows)?)
}

fn fields(step: Step, args: &HistoryArgs) -> Row {
    let id = step.id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string());
    let command = step.created_by.replace('\t', " ");
    let fields = json!({
        "ID": if args.no_trunc || step.id.is_none() { &id } else { short(&id) },
        "CreatedSince": step.created.map(|ns| ago((now_ns() - ns) / SECOND)).unwrap_or_default(),
        "CreatedAt": step.created.map(rfc3339_seconds_local).unwrap_or_default(),
        "CreatedBy": if args.no_trunc { command.into() } else { ellipsis(&command, COMMAND) },
        "Size": if args.human { size(step.bytes) } else { step.bytes.to_string() },
        "Comment": step.comment,
    });
    Row::new(fields)
}
