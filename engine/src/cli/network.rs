//! `hull network ...`, with docker's words.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

use super::confirm::confirmed;
use super::{Exit, for_each, inspect, network_list, network_words as words, output, swept};
use crate::container::create::labels;
use crate::context::Context;
use crate::network::catalog::{self, PRUNE_FILTERS};
use crate::network::model::EndpointSettings;
use crate::network::options::Wish;
use crate::network::{NetworkError, create, host_prefixes, membership};
use crate::text::escape;

#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Make a network
    Create(Box<CreateArgs>),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(network_list::ListArgs),
    /// Show everything about networks
    Inspect(InspectArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
    /// Remove networks that nothing that is up is on
    Prune(PruneArgs),
    /// Connect a container or pod to a network
    Connect(ConnectArgs),
    /// Take a container or pod from a network
    Disconnect(DisconnectArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// How it is made: bridge, macvlan
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// Addresses it has, as 172.20.0.0/16; one of IPv4 and one of IPv6 [default: a free one of docker's]
    #[arg(long, value_name = "PREFIX")]
    subnet: Vec<String>,
    /// The host's own address in a subnet [default: its first]
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Part of a subnet to choose addresses from
    #[arg(long, value_name = "PREFIX")]
    ip_range: Vec<String>,
    /// Address that is somebody else's
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// Reaches nothing but itself
    #[arg(long)]
    internal: bool,
    /// Addresses of IPv6, too
    #[arg(long)]
    ipv6: bool,
    /// Attach a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Option of the driver: com.docker.network.driver.mtu=, of macvlan parent=
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Its name
    #[arg(value_name = "NETWORK")]
    name: String,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A template, for each network
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// What is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only those that match: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Another name on the network
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// Most that it carries in a second: rx-bps=, tx-bps= (bytes: b, k, m, g), rx-pps=, tx-pps= (packets)
    #[arg(long, value_name = "KEY=VALUE")]
    driver_opt: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<String>,
    /// Call another container by a name of one's own
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    link: Vec<String>,
    /// Name, id or start of an id
    network: String,
    /// Name, id or start of an id
    #[arg(value_name = "CONTAINER|POD")]
    container: String,
}

#[derive(Debug, Args)]
pub struct DisconnectArgs {
    /// Even if its supervisor cannot do it
    #[arg(short, long)]
    force: bool,
    /// Name, id or start of an id
    network: String,
    /// Name, id or start of an id
    #[arg(value_name = "CONTAINER|POD")]
    container: String,
}

pub fn network(context: &Context, command: NetworkCommand) -> Exit {
    match command {
        NetworkCommand::Create(args) => create(context, *args),
        NetworkCommand::Ls(args) => network_list::list(context, &args),
        NetworkCommand::Inspect(args) => inspect::networks(context, args.format.as_deref(), &args.networks),
        NetworkCommand::Rm(args) => remove(context, &args),
        NetworkCommand::Prune(args) => prune(context, &args),
        NetworkCommand::Connect(args) => connect(context, &args),
        NetworkCommand::Disconnect(args) => {
            let store = swept(context)?;
            membership::disconnect(&store, &args.network, &args.container, args.force)?;
            Ok(0)
        }
    }
}

fn create(context: &Context, args: CreateArgs) -> Exit {
    let asked = create::Asked {
        name: args.name,
        driver: args.driver,
        subnets: args.subnet,
        gateways: args.gateway,
        ranges: args.ip_range,
        reserved: args.aux_address,
        internal: args.internal,
        ipv6: args.ipv6,
        labels: labels(&args.label),
        options: options(&args.opt)?,
    };
    let row = create::create(&swept(context)?, asked, host_prefixes)?;
    println!("{}", row.id);
    Ok(0)
}

fn options(words: &[String]) -> Result<BTreeMap<String, String>, anyhow::Error> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => anyhow::bail!("-o \"{word}\" is not KEY=VALUE"),
    };
    words.iter().map(pair).collect()
}

fn remove(context: &Context, args: &RemoveArgs) -> Exit {
    let store = swept(context)?;
    catalog::ensure_defaults(&store, host_prefixes)?;
    let is_missing = |name: &String| {
        let found = store.db().network(name);
        args.force && found.is_err_and(|error| error.kind() == crate::store::Kind::NotFound)
    };
    // As docker's: by force, what is not there is gone.
    let networks: Vec<String> = args.networks.iter().filter(|name| !is_missing(name)).cloned().collect();
    for_each(&networks, |name| {
        catalog::remove(&store, name)?;
        Ok::<_, NetworkError>(name.to_owned())
    })
}

fn prune(context: &Context, args: &PruneArgs) -> Exit {
    let filters = output::filters(&args.filter, &PRUNE_FILTERS)?;
    let warning = "This will remove all custom networks not used by at least one container.";
    if !args.force && !confirmed(warning)? {
        return Ok(0);
    }
    let store = swept(context)?;
    output::print(&removed(&catalog::prune(&store, &filters)?))
}

/// The networks that went, as docker lists them, and an empty line; nothing if none did.
pub fn removed(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = names.iter().map(|name| escape(name).to_string()).collect();
    format!("Deleted Networks:\n{}\n\n", lines.join("\n"))
}

fn connect(context: &Context, args: &ConnectArgs) -> Exit {
    let mut settings = EndpointSettings {
        aliases: args.alias.iter().map(|name| words::alias(name)).collect::<Result<_, _>>()?,
        ipv4: args.ip.as_deref().map(words::ipv4).transpose()?,
        ipv6: args.ip6.as_deref().map(words::ipv6).transpose()?,
        ..EndpointSettings::default()
    };
    for word in &args.driver_opt {
        words::rate(&mut settings.rates, "--driver-opt", word)?;
    }
    let links: Vec<_> = args.link.iter().map(|word| words::link(word)).collect::<Result<_, _>>()?;
    let store = swept(context)?;
    let wish = Wish { network: args.network.clone(), settings };
    membership::connect(&store, &args.container, wish, &links)?;
    Ok(0)
}
