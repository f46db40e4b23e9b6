//! `hull ps`.

use clap::Args;

use super::output::{ago, short, table};
use super::{Exit, swept};
use crate::container::config::Config;
use crate::context::Context;
use crate::store::{ContainerRow, ContainerState};
use crate::time::{SECOND, now_ns};

#[derive(Debug, Args)]
pub struct PsArgs {
    /// Ended containers too
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
}

pub fn list(context: &Context, args: &PsArgs) -> Exit {
    let store = swept(context)?;
    let rows = store.db().containers()?;
    // Newest first, as docker.
    let shown = rows.iter().rev().filter(|row| args.all || row.state == ContainerState::Running);
    if args.quiet {
        shown.for_each(|row| println!("{}", short(&row.id)));
        return Ok(0);
    }
    let headings = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "ISOLATION", "NAMES"];
    table(&headings, &shown.map(cells).collect::<Vec<_>>());
    Ok(0)
}

fn cells(row: &ContainerRow) -> Vec<String> {
    let config = Config::from_row(&row.config).ok();
    let (image, command) = config.map_or_else(Default::default, |c| (c.image.clone(), c.command_line()));
    let command: String = match command.char_indices().nth(20) {
        Some((end, _)) => format!("\"{}…\"", command.get(..end - 1).unwrap_or_default()),
        None => format!("\"{command}\""),
    };
    let status = match row.state {
        ContainerState::Created => "Created".to_string(),
        ContainerState::Running => "Up".to_string(),
        ContainerState::Paused => "Up (Paused)".to_string(),
        ContainerState::Restarting => format!("Restarting ({})", row.exit_code),
        ContainerState::Dead => "Dead".to_string(),
        ContainerState::Removing => "Removal In Progress".to_string(),
        ContainerState::Exited => format!("Exited ({})", row.exit_code),
    };
    let created = ago((now_ns() - row.created) / SECOND);
    vec![short(&row.id).into(), image, command, created, status, row.mode.clone(), row.name.clone()]
}
