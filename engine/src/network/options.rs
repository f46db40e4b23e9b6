//! From what a user asked of a new sandbox's network to its config and its endpoints, by docker's rules.

use hull_guest::protocol::Prefix;

use super::model::{
    BRIDGE, Driver, EndpointRow, EndpointSettings, HOST, Link, Mode, NONE, NetworkRow, Networking, Port,
};
use super::ports::show::owner;
use super::{NetworkError, catalog, ipam};
use crate::container::names;
use crate::sandbox::mode::Isolation;
use crate::store::Store;

/// Docker's word for the network that nobody chose.
const DEFAULT: &str = "default";
/// Network devices of a virtual machine.
const MACHINE_ENDPOINTS: u8 = 6;
/// Enough for anybody, and each is devices and rules on the host.
const NAMESPACE_ENDPOINTS: u8 = 64;

/// What `--network` and its like asked for, as far as their words go.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// None: the default.
    pub networks: Vec<Wish>,
    /// All but the mode, which the networks decide.
    pub networking: Networking,
    /// Other containers by name, and what they are called here: on the first network.
    pub links: Vec<(String, String)>,
}

/// A network by name or id, and how to be on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub network: String,
    pub settings: EndpointSettings,
}

/// A new sandbox's network.
#[derive(Debug, Default)]
pub struct Plan {
    pub networking: Networking,
    pub endpoints: Vec<EndpointRow>,
    /// To be told to the user once it is made.
    pub warnings: Vec<String>,
}

/// Networks that a sandbox can be on at once.
pub fn most_endpoints(mode: Isolation) -> u8 {
    match mode {
        Isolation::Vm => MACHINE_ENDPOINTS,
        Isolation::Namespace => NAMESPACE_ENDPOINTS,
    }
}

/// Checks what was asked for against the networks that there are. `exposed`: the image's ports.
pub fn plan(
    store: &Store,
    owner: &str,
    isolation: Isolation,
    asked: Asked,
    exposed: Vec<Port>,
    avoid: impl FnOnce() -> Vec<Prefix>,
) -> Result<Plan, NetworkError> {
    let mut networking = asked.networking;
    networking.expose.extend(exposed);
    networking.expose.sort_unstable();
    networking.expose.dedup();
    let mut wishes = asked.networks;
    if wishes.is_empty() {
        wishes.push(Wish { network: DEFAULT.to_owned(), ..Wish::default() });
    }
    let special = wishes.iter().position(|wish| [NONE, HOST].contains(&wish.network.as_str()));
    if let Some(special) = special {
        if wishes.len() > 1 {
            return Err(NetworkError::NotAlone(wishes.swap_remove(special).network));
        }
        return alone(&wishes.swap_remove(special), networking, isolation, !asked.links.is_empty());
    }
    catalog::ensure_defaults(store, avoid)?;
    let mut endpoints = Vec::new();
    for wish in wishes {
        let endpoint = endpoint(store, owner, isolation, &networking, wish)?;
        if endpoints.iter().any(|other: &EndpointRow| other.network == endpoint.network) {
            return Err(NetworkError::Twice(endpoint.settings.network));
        }
        let position = u8::try_from(endpoints.len()).ok().filter(|place| *place < most_endpoints(isolation));
        let position = position.ok_or(NetworkError::TooMany(most_endpoints(isolation)))?;
        endpoints.push(EndpointRow { position, ..endpoint });
    }
    if let Some(first) = endpoints.first_mut() {
        first.settings.links.extend(links(store, first, &asked.links)?);
    }
    networking.mode = Mode::Networks;
    Ok(Plan { networking, endpoints, warnings: Vec::new() })
}

/// The host's network, or none: nothing that needs a network of one's own goes with them.
fn alone(
    wish: &Wish,
    mut networking: Networking,
    isolation: Isolation,
    links: bool,
) -> Result<Plan, NetworkError> {
    let mode = if wish.network == HOST { Mode::Host } else { Mode::None };
    let settings = &wish.settings;
    if mode == Mode::Host && isolation == Isolation::Vm {
        return Err(NetworkError::HostNeedsNamespace);
    }
    if settings.ipv4.is_some() || settings.ipv6.is_some() {
        return Err(NetworkError::AddressNeedsUserNetwork);
    }
    if !settings.aliases.is_empty() {
        return Err(NetworkError::AliasNeedsUserNetwork);
    }
    let conflict = |what| Err(NetworkError::Conflict { what, network: wish.network.clone() });
    if settings.mac.is_some() {
        return conflict("--mac-address");
    }
    if !settings.rates.is_empty() {
        return conflict("--network-opt");
    }
    if links {
        return conflict("--link");
    }
    if mode == Mode::Host && networking.egress.is_some() {
        return conflict("--egress");
    }
    let mut warnings = Vec::new();
    if !networking.publish.is_empty() || networking.publish_all {
        let kind = if mode == Mode::Host { "host network mode" } else { "no network" };
        warnings.push(format!("Published ports are discarded when using {kind}"));
        (networking.publish, networking.publish_all) = (Vec::new(), false);
    }
    networking.mode = mode;
    Ok(Plan { networking, endpoints: Vec::new(), warnings })
}

/// A new endpoint, at no position yet.
pub fn endpoint(
    store: &Store,
    owner: &str,
    isolation: Isolation,
    networking: &Networking,
    wish: Wish,
) -> Result<EndpointRow, NetworkError> {
    let name = if wish.network == DEFAULT { BRIDGE } else { &wish.network };
    let network = store.db().network(name)?;
    let mut settings = wish.settings;
    if networking.egress.is_some() && network.driver == Driver::Macvlan {
        return Err(NetworkError::EgressNeedsBridge(network.name));
    }
    check(&network, &settings, isolation)?;
    settings.network.clone_from(&network.name);
    Ok(EndpointRow {
        id: names::new_id().map_err(NetworkError::Random)?,
        network: network.id,
        owner: owner.to_owned(),
        position: 0,
        settings,
        live: None,
    })
}

fn check(
    network: &NetworkRow,
    settings: &EndpointSettings,
    isolation: Isolation,
) -> Result<(), NetworkError> {
    match network.driver {
        Driver::Bridge => {}
        Driver::Macvlan if isolation == Isolation::Namespace => {}
        Driver::Macvlan => return Err(NetworkError::MacvlanNeedsNamespace(network.name.clone())),
        Driver::Host | Driver::Null => return Err(NetworkError::NotAlone(network.name.clone())),
    }
    let predefined = catalog::is_predefined(&network.name);
    if predefined && !settings.aliases.is_empty() {
        return Err(NetworkError::AliasNeedsUserNetwork);
    }
    let wanted = [settings.ipv4.is_some(), settings.ipv6.is_some()];
    if predefined && wanted.contains(&true) {
        return Err(NetworkError::AddressNeedsUserNetwork);
    }
    for (wanted, ipv4) in wanted.into_iter().zip([true, false]) {
        let mut pools = network.settings.pools.iter();
        if wanted && !pools.any(|pool| pool.subnet.is_ipv4() == ipv4 && pool.given) {
            return Err(NetworkError::AddressNeedsSubnet(network.name.clone()));
        }
    }
    if isolation == Isolation::Namespace && !settings.rates.is_empty() {
        return Err(NetworkError::RatesNeedVm);
    }
    // Who has it now says nothing: what is wrong by itself never gets better.
    ipam::choose(network, settings, &[])?;
    Ok(())
}

/// The other containers' ids. On the default network there is no other way to a name, so they must be on it.
pub(super) fn links(
    store: &Store,
    endpoint: &EndpointRow,
    asked: &[(String, String)],
) -> Result<Vec<Link>, NetworkError> {
    let link = |(name, alias): &(String, String)| {
        let row = store.db().container(name)?;
        let others = store.db().endpoints_of(owner(&row))?;
        let shared = others.iter().any(|other| other.network == endpoint.network);
        if endpoint.settings.network == BRIDGE && !shared {
            return Err(NetworkError::LinkElsewhere(row.name));
        }
        Ok(Link { container: row.id, alias: alias.clone() })
    };
    asked.iter().map(link).collect()
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
