//! `hull port`.

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{Exit, swept};
use crate::context::Context;
use crate::network::model::Port;
use crate::network::ports::{parse, show};

#[derive(Debug, Args)]
pub struct PortArgs {
    /// Name, id or start of an id
    container: String,
    /// Only this one of its ports; tcp, if it does not say
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

pub fn port(context: &Context, args: &PortArgs) -> Exit {
    let only = args.port.as_deref().map(wanted).transpose()?;
    let store = swept(context)?;
    let row = store.db().container(&args.container)?;
    let published = store.db().published_of(show::owner(&row))?;
    let lines = match only {
        None => show::lines(&published, None),
        Some(None) => Vec::new(),
        Some(only) => show::lines(&published, only),
    };
    if let Some(port) = args.port.as_ref().filter(|_| lines.is_empty()) {
        return Err(anyhow!("No public port '{port}' published for {}", args.container).into());
    }
    for line in lines {
        println!("{line}");
    }
    Ok(0)
}

/// None: there is no such port, so that nobody publishes it.
fn wanted(text: &str) -> anyhow::Result<Option<Port>> {
    let number = text.split_once('/').map_or(text, |(number, _)| number);
    number.parse::<u16>().with_context(|| format!("invalid port ({number})"))?;
    Ok(parse::one_port(text))
}
