//! `hull start`, `stop`, `restart`, `kill`, `wait`, `pause`, `unpause`, `rename`, `rm`.

use clap::Args;
use hull_guest::protocol::Stream;

use super::{Exit, for_each, swept};
use crate::container::life::{self, LifeError, Removal};
use crate::container::{config::Config, signals, start as starting};
use crate::context::Context;
use crate::session::{self, Attachment, Signals, detach};
use crate::store::Store;
use crate::text::escape;

#[derive(Debug, Args)]
pub struct Names {
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StartArgs {
    /// Stay with its output until it ends, and exit with its code
    #[arg(short, long)]
    attach: bool,
    /// Pass stdin on
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave the container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Seconds before it is killed, -1 to wait for ever [default: the container's, else 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Signal to send [default: the container's, else TERM]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
pub struct KillArgs {
    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
pub struct RenameArgs {
    /// Name, id or start of an id
    container: String,
    /// Its name from now on
    name: String,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Kill containers that run
    #[arg(short, long)]
    force: bool,
    /// Remove the volumes that they did not name, too
    #[arg(short, long)]
    volumes: bool,
    #[command(flatten)]
    names: Names,
}

pub fn start(context: &Context, args: &StartArgs) -> Exit {
    let names = &args.names.containers;
    if !args.attach && !args.interactive {
        let store = swept(context)?;
        return for_each(names, |name| {
            life::start(context, &store, &store.db().container(name)?)?;
            Ok::<_, LifeError>(name.to_string())
        });
    }
    let [name] = names.as_slice() else {
        return Err(anyhow::anyhow!("-a and -i are for one container at a time").into());
    };
    let signals = Signals::block(true)?;
    let store = swept(context)?;
    let row = store.db().container(name)?;
    let config = Config::from_row(&row)?;
    let detach_keys = detach::parse(args.detach_keys.as_deref().unwrap_or(detach::DEFAULT))?;
    let wanted = |stream| stream != Stream::Stdin || args.interactive;
    let attachment = Attachment::of(&config, wanted, true, &detach_keys);
    let client = starting::client(&store, &row);
    let ended = if life::is_up(&row) {
        session::join(&client, &row.id, &attachment, &signals)
    } else {
        session::run(starting::existing(context, &store, &row)?, &attachment, &signals)
    };
    Ok(ended?)
}

pub fn stop(context: &Context, args: &StopArgs) -> Exit {
    let signal = args.signal.as_deref().map(signals::parse).transpose()?;
    on_each(context, &args.names, |store, name| {
        life::stop(store, &store.db().container(name)?, signal, args.time)
    })
}

pub fn restart(context: &Context, args: &StopArgs) -> Exit {
    let signal = args.signal.as_deref().map(signals::parse).transpose()?;
    on_each(context, &args.names, |store, name| {
        life::restart(context, store, &store.db().container(name)?, signal, args.time)
    })
}

pub fn kill(context: &Context, args: &KillArgs) -> Exit {
    let signal = signals::parse(&args.signal)?;
    on_each(context, &args.names, |store, name| life::kill(store, &store.db().container(name)?, signal))
}

pub fn wait(context: &Context, args: &Names) -> Exit {
    let store = swept(context)?;
    for_each(&args.containers, |name| {
        Ok::<_, LifeError>(life::wait(context, &store, &store.db().container(name)?)?.to_string())
    })
}

pub fn pause(context: &Context, args: &Names) -> Exit {
    on_each(context, args, |store, name| life::pause(store, &store.db().container(name)?))
}

pub fn unpause(context: &Context, args: &Names) -> Exit {
    on_each(context, args, |store, name| life::unpause(store, &store.db().container(name)?))
}

pub fn rename(context: &Context, args: &RenameArgs) -> Exit {
    let store = swept(context)?;
    life::rename(&store, &store.db().container(&args.container)?, &args.name)?;
    Ok(0)
}

pub fn remove(context: &Context, args: &RmArgs) -> Exit {
    let store = swept(context)?;
    let (missing, names): (Vec<_>, Vec<_>) = args.names.containers.iter().cloned().partition(|name| {
        let found = store.db().container(name);
        args.force && found.is_err_and(|error| error.kind() == crate::store::Kind::NotFound)
    });
    // With -f that is no failure, as with rm(1); it is told all the same.
    for name in missing {
        eprintln!("hull: No such container: {}", escape(&name));
    }
    let how = Removal { force: args.force, volumes: args.volumes };
    for_each(&names, |name| {
        life::remove(&store, &store.db().container(name)?, how)?;
        Ok::<_, LifeError>(name.to_string())
    })
}

fn on_each(context: &Context, names: &Names, act: impl Fn(&Store, &str) -> Result<(), LifeError>) -> Exit {
    let store = swept(context)?;
    for_each(&names.containers, |name| act(&store, name).map(|()| name.to_string()))
}
