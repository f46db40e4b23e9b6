//! `hull ps`, `hull rm`.

use clap::Args;

use super::output::{ago, short, table};
use super::{Exit, Failure};
use crate::container::record::{self, Config};
use crate::context::Context;
use crate::sandbox;
use crate::store::{ContainerRow, ContainerState, Store};
use crate::text::escape;
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

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Kill containers that run
    #[arg(short, long)]
    force: bool,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
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
    let config = serde_json::from_str::<Config>(&row.config).ok();
    let (image, command) = config.map_or_else(Default::default, |c| (c.image, c.command.join(" ")));
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

pub fn remove(context: &Context, args: &RmArgs) -> Exit {
    let store = swept(context)?;
    let mut code = 0;
    for name in &args.containers {
        match remove_one(&store, name, args.force) {
            Ok(()) => println!("{}", escape(name)),
            Err(failure) => {
                eprintln!("hull: {}", escape(&format!("{:#}", failure.error)));
                code = 1;
            }
        }
    }
    Ok(code)
}

fn remove_one(store: &Store, name: &str, force: bool) -> Result<(), Failure> {
    let row = store.db().container(name)?;
    if matches!(row.state, ContainerState::Created | ContainerState::Running) && !force {
        return Err(
            anyhow::anyhow!("Container {name} is running; end it first, or kill it with rm -f").into()
        );
    }
    match record::remove(store, &row) {
        // Its owner was faster, with --rm.
        Err(error) if error.kind() == crate::store::Kind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

/// The store, after what killed supervisors left is cleared away.
fn swept(context: &Context) -> Result<Store, Failure> {
    let store = Store::open(&context.root, &context.run)?;
    sandbox::sweep::dead(&store);
    sandbox::sweep::orphans(&store);
    Ok(store)
}
