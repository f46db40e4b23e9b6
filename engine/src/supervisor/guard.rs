//! A sandbox's egress policy while the sandbox is up: what names open is for the keeper to put into the
//! host's rules, and what is refused for it to record.

use std::sync::Arc;

use super::keeper::Keeper;
use super::shared::start_thread;
use crate::network::dns;
use crate::network::egress::{Denied, Enforcer, Log, NamePolicy, Watch};
use crate::network::firewall::Allow;
use crate::network::host::HostError;
use crate::network::{self, NetworkError};
use crate::sandbox::{self, LaunchError};
use crate::store::EventKind;

/// What events call it.
const DENIED: &str = "egress-denied";

pub struct Guard {
    enforcer: Arc<Enforcer>,
    _watch: Watch,
}

impl Guard {
    /// None: there is no policy.
    pub fn post(
        keeper: &Keeper,
        plan: &sandbox::Plan,
        log: Option<Log>,
    ) -> Result<Option<Guard>, LaunchError> {
        let (Some(egress), Some(log)) = (&plan.network.egress, log) else { return Ok(None) };
        let kind = if plan.pod.is_some() { EventKind::Pod } else { EventKind::Container };
        let enforcer = Arc::new(Enforcer::new(egress.clone(), recorder(keeper, kind, &plan.id)));
        let watch = log.watch(Arc::clone(&enforcer), |work| start_thread("egress", work));
        let watch = watch.map_err(|error| NetworkError::from(HostError::from(error)))?;
        Ok(Some(Guard { enforcer, _watch: watch }))
    }

    /// For the server of the sandbox's names.
    pub fn names(&self, keeper: &Keeper, owner: &str) -> Box<dyn dns::Policy> {
        let (keeper, owner) = (keeper.clone(), owner.to_string());
        let open = move |destinations| open(&keeper, &owner, destinations);
        Box::new(NamePolicy::new(Arc::clone(&self.enforcer), Box::new(open)))
    }

    /// Opens what names have opened once more: endpoints' rules were made anew.
    pub fn reopen(&self, keeper: &Keeper, owner: &str) {
        let destinations = self.enforcer.open();
        if !destinations.is_empty() {
            open(keeper, owner, destinations);
        }
    }
}

fn recorder(keeper: &Keeper, kind: EventKind, id: &str) -> impl Fn(Denied) + Send + Sync + use<> {
    let (keeper, id) = (keeper.clone(), id.to_string());
    move |denied| {
        let id = id.clone();
        let recorded = move |kept: &super::record::Kept| {
            let attributes = denied.attributes();
            let attributes: Vec<(&str, &str)> =
                attributes.iter().map(|(key, value)| (*key, value.as_str())).collect();
            kept.event_of(kind, &id, DENIED, &attributes);
        };
        // Nobody waits for it.
        drop(keeper.begin(recorded));
    }
}

/// False: it was told in the supervisor's log why not.
fn open(keeper: &Keeper, owner: &str, destinations: Vec<Allow>) -> bool {
    let owner = owner.to_string();
    let opened = keeper
        .run(move |kept| -> Result<(), NetworkError> { network::open(kept.store()?, &owner, &destinations) });
    match opened {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            eprintln!("Failed to open what a name led to: {}", super::caller::chain(&error));
            false
        }
        None => false,
    }
}
