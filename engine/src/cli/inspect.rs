//! `hull inspect`.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Exit, Failure, output, swept};
use crate::container::inspect as container;
use crate::context::Context;
use crate::format::{Template, to_json, to_json_pretty};
use crate::image::{self, inspect as image_inspect};
use crate::network::{catalog, host_prefixes, inspect as network_inspect};
use crate::pod;
use crate::store::{self, Kind, NetworkRow, Store};
use crate::text::escape;
use crate::volume::{VolumeError, seen};

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct InspectArgs {
    /// What to show, as a Go template: '{{.State.Status}}', '{{json .Config}}', json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// How much containers have written, too
    #[arg(short, long)]
    size: bool,
    /// Only things of this kind
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<ThingKind>,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// In the order in which a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ThingKind {
    Container,
    Image,
    Network,
    Pod,
    Volume,
}

impl ThingKind {
    fn word(self) -> &'static str {
        match self {
            ThingKind::Container => "container",
            ThingKind::Image => "image",
            ThingKind::Network => "network",
            ThingKind::Pod => "pod",
            ThingKind::Volume => "volume",
        }
    }
}

/// Docker's way: what was found is printed, then what went wrong is told, each in a line.
pub fn inspect(context: &Context, args: &InspectArgs) -> Exit {
    let template = match args.format.as_deref() {
        None | Some("") | Some("json") => None,
        Some(text) => match Template::parse(text) {
            Ok(template) => Some(template),
            Err(error) => return Err(Failure { code: error.inspect_exit_code(), error: error.into() }),
        },
    };
    let store = swept(context)?;
    let (mut found, mut text, mut errors) = (Vec::new(), String::new(), Vec::new());
    for name in &args.names {
        match (look_up(context, &store, name, args), &template) {
            (Ok(Some(thing)), None) => found.push(thing),
            (Ok(Some(thing)), Some(template)) => match output::render(template, &thing) {
                Ok(line) => drop(writeln!(text, "{line}")),
                Err(error) => errors.push(format!("hull: {error}")),
            },
            (Ok(None), _) => errors.push(match args.kind {
                // The daemon's words, in docker.
                Some(ThingKind::Volume) => format!("hull: {}", VolumeError::NotFound { name: name.clone() }),
                kind => format!("Error: No such {}: {name}", kind.map_or("object", ThingKind::word)),
            }),
            (Err(error), _) => errors.push(format!("hull: {error:#}")),
        }
    }
    let text = match (&template, args.format.as_deref()) {
        (None, Some("json")) => to_json(&Value::Array(found)) + "\n",
        (None, _) => to_json_pretty(&Value::Array(found)) + "\n",
        // As docker, where a template has nothing to show.
        (Some(_), _) if text.is_empty() => "\n".to_string(),
        (Some(_), _) => text,
    };
    output::print(&text)?;
    errors.iter().for_each(|error| eprintln!("{}", escape(error)));
    Ok(u8::from(!errors.is_empty()))
}

/// `hull pod inspect`.
pub fn pods(context: &Context, format: Option<&str>, names: &[String]) -> Exit {
    of_kind(context, ThingKind::Pod, format, names)
}

/// `hull volume inspect`.
pub fn volumes(context: &Context, format: Option<&str>, names: &[String]) -> Exit {
    of_kind(context, ThingKind::Volume, format, names)
}

/// `hull image inspect`.
pub fn images(context: &Context, format: Option<&str>, names: &[String]) -> Exit {
    of_kind(context, ThingKind::Image, format, names)
}

/// `hull network inspect`.
pub fn networks(context: &Context, format: Option<&str>, names: &[String]) -> Exit {
    of_kind(context, ThingKind::Network, format, names)
}

fn of_kind(context: &Context, kind: ThingKind, format: Option<&str>, names: &[String]) -> Exit {
    let kind = Some(kind);
    let args = InspectArgs { format: format.map(str::to_string), size: false, kind, names: names.to_vec() };
    inspect(context, &args)
}

/// Those too that are always there, where nobody has asked for them yet.
fn network(store: &Store, name: &str) -> Result<NetworkRow, store::Error> {
    if catalog::is_predefined(name) {
        // What stands against them is told where they are needed.
        let _ = catalog::ensure_defaults(store, host_prefixes);
    }
    store.db().network(name)
}

fn look_up(
    context: &Context,
    store: &Store,
    name: &str,
    args: &InspectArgs,
) -> Result<Option<Value>, anyhow::Error> {
    for kind in ThingKind::value_variants().iter().filter(|kind| args.kind.is_none_or(|only| only == **kind))
    {
        let found = match kind {
            ThingKind::Container => match store.db().container(name) {
                Err(error) if error.kind() == Kind::NotFound => None,
                row => Some(container::inspect(store, &row?, args.size)?),
            },
            ThingKind::Image => match image_inspect::inspect(store, &context.config.short_names, name) {
                Err(image::Error::NotFound(_) | image::Error::Reference(_)) => None,
                image => Some(serde_json::to_value(image?)?),
            },
            ThingKind::Network => match network(store, name) {
                Err(error) if error.kind() == Kind::NotFound => None,
                row => Some(network_inspect::network(store, &row?)?),
            },
            ThingKind::Pod => match store.db().pod(name) {
                Err(error) if error.kind() == Kind::NotFound => None,
                row => Some(super::pod::description(store, &pod::view(store, row?)?)?),
            },
            ThingKind::Volume => match seen::find(store, name) {
                Err(error) if error.is_not_found() => None,
                seen => Some(seen?.description()),
            },
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
