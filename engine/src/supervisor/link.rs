//! The sandbox's network. The keeper makes it and takes it back, which takes privileges; what is known of it
//! is here for everybody.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hull_guest::protocol::{CallError, DisconnectArgs, Interface, NetworkConfig, NetworkNamespace, Request};

use super::caller::{chain, failure, state_error};
use super::guard::Guard;
use super::keeper::{Keeper, Promise};
use super::shared::{held, start_thread, start_thread_in};
use crate::network::dns::{self, Directory, DnsContext, Remembered, Upstream};
use crate::network::model::Mode;
use crate::network::ports::Work;
use crate::network::{self, Attached, Endpoint, NetworkError, Place, Plug, Side};
use crate::sandbox::mode::Isolation;
use crate::sandbox::{self, LaunchError, Sandbox};

type Made = Result<Attached, NetworkError>;

pub struct Link {
    keeper: Keeper,
    /// There while the sandbox is up.
    attached: Mutex<Option<Attached>>,
    /// There while one with an egress policy is up.
    guard: Mutex<Option<Guard>>,
}

impl Link {
    pub fn new(keeper: Keeper) -> Link {
        Link { keeper, attached: Mutex::new(None), guard: Mutex::new(None) }
    }

    /// Begins to connect a sandbox that has been launched.
    pub fn begin(&self, plan: &sandbox::Plan, sandbox: &Arc<Sandbox>) -> Option<Promise<Made>> {
        if plan.network.mode != Mode::Networks {
            return None;
        }
        let (id, networking) = (plan.id.clone(), plan.network.clone());
        let before = held(&self.attached).take();
        let sandbox = sandbox.clone();
        Some(self.keeper.begin(move |kept| {
            network::up(kept.store()?, &id, &networking, side(&sandbox), before, start_relay)
        }))
    }

    /// What the agent is told, once all that is made. A machine's taps are plugged in.
    pub fn made(
        &self,
        plan: &sandbox::Plan,
        making: Option<Promise<Made>>,
        sandbox: &Sandbox,
    ) -> Result<Option<NetworkConfig>, LaunchError> {
        let Some(making) = making else { return Ok(unconnected(plan.network.mode)) };
        let ending = || LaunchError::Died("The supervisor is ending".to_string());
        let mut attached = making.wait().ok_or_else(ending)??;
        for plug in attached.plugs.drain(..) {
            plug_in(sandbox, &plug)?;
        }
        *held(&self.guard) = Guard::post(&self.keeper, plan, attached.log.take())?;
        let config = NetworkConfig {
            namespace: match sandbox.mode() {
                Isolation::Vm => NetworkNamespace::New,
                Isolation::Namespace => NetworkNamespace::Handed,
            },
            interfaces: attached.endpoints.iter().map(|endpoint| endpoint.interface.clone()).collect(),
            dns: true,
        };
        *held(&self.attached) = Some(attached);
        Ok(Some(config))
    }

    /// Answers the sandbox's questions for names, from now on.
    pub fn answer_names(&self, plan: &sandbox::Plan, sandbox: &Sandbox) -> Result<(), LaunchError> {
        if plan.network.mode != Mode::Networks {
            return Ok(());
        }
        let stream = sandbox.agent().names()?;
        let context = DnsContext {
            names: Box::new(self.names(&plan.id)),
            upstream: Upstream::new(&plan.network.dns.servers),
            policy: held(&self.guard).as_ref().map(|guard| guard.names(&self.keeper, &plan.id)),
        };
        let answering = start_thread("names", move || {
            if let Err(error) = dns::serve(stream, context) {
                eprintln!("Questions for names are answered no longer: {}", chain(&error));
            }
        });
        answering.map(drop).ok_or_else(|| LaunchError::Died("There is no thread to be had for it".into()))
    }

    /// As the database has them at the moment of the question.
    fn names(&self, owner: &str) -> impl FnMut() -> Option<Arc<Directory>> + Send + use<> {
        let (keeper, remembered) =
            (self.keeper.clone(), Arc::new(Mutex::new(Remembered::new(owner.to_string()))));
        // A container may ask as often as it likes: the log hears of it once.
        let mut told = false;
        move || {
            let remembered = remembered.clone();
            let looked = keeper.run(move |kept| held(&remembered).look(kept.store()?.db()));
            looked?
                .inspect_err(|error| {
                    if !std::mem::replace(&mut told, true) {
                        eprintln!("Failed to look names up: {}", chain(error));
                    }
                })
                .ok()
        }
    }
}

/// In the network namespace of the sandboxes' networks, without privileges.
fn start_relay(place: Place, work: Work) -> Option<JoinHandle<()>> {
    start_thread_in(place, "ports", work)
}

impl Link {
    /// Connects a sandbox that is up to one more network.
    pub fn connect(
        &self,
        plan: &sandbox::Plan,
        sandbox: &Arc<Sandbox>,
        endpoint: &str,
    ) -> Result<(), CallError> {
        let mut attached = held(&self.attached);
        let Some(mut known) = attached.take() else {
            return Err(state_error(
                "The sandbox was started without a network, or is ending; start it again to connect it",
            ));
        };
        if known.endpoints.iter().any(|present| present.row.id == endpoint) {
            // Its row came in time for the start.
            *attached = Some(known);
            return Ok(());
        }
        let (id, at, of) = (endpoint.to_string(), sandbox.clone(), plan.id.clone());
        let networking = plan.network.clone();
        let made = self.keeper.run(move |kept| {
            let made = match kept.store() {
                Ok(store) => {
                    network::connect(store, &of, &networking, &mut known, &id, side(&at), start_relay)
                }
                Err(error) => Err(error.into()),
            };
            (known, made)
        });
        let (known, made) = made.ok_or_else(|| state_error("The supervisor is ending"))?;
        let known = attached.insert(known);
        let (endpoint, plug) = made.map_err(|error| failure(&error))?;
        let told = match &plug {
            Some(plug) if plug.device >= plan.nets => Err(state_error(format!(
                "The virtual machine was started with {} network devices; start it again to connect it to more",
                plan.nets
            ))),
            plug => self.tell(sandbox, &endpoint.interface, plug.as_ref()),
        };
        match told {
            Ok(()) => {
                known.add(endpoint);
                self.reopen(&plan.id);
            }
            Err(_) => {
                let heir = known.carrier().filter(|_| !endpoint.interface.routes.is_empty()).cloned();
                let _ = self
                    .keeper
                    .run(move |kept| network::disconnect(kept.store()?, &endpoint.row, heir.as_ref()));
            }
        }
        told
    }

    /// The sandbox ends: its ports are free for whoever comes next, and nobody connects it any more.
    pub fn close(&self) {
        held(&self.attached).take();
        held(&self.guard).take();
    }

    /// What names have opened, in rules that were made anew.
    fn reopen(&self, owner: &str) {
        if let Some(guard) = held(&self.guard).as_ref() {
            guard.reopen(&self.keeper, owner);
        }
    }

    fn tell(&self, sandbox: &Sandbox, interface: &Interface, plug: Option<&Plug>) -> Result<(), CallError> {
        if let Some(plug) = plug {
            plug_in(sandbox, plug).map_err(|error| failure(&error))?;
        }
        let told = sandbox.agent().done(&Request::ConnectInterface(interface.clone()));
        told.map_err(|error| {
            if let Some(plug) = plug {
                let _ = sandbox.unplug(plug.device);
            }
            failure(&error)
        })
    }

    /// Takes a sandbox that is up from a network.
    pub fn disconnect(&self, sandbox: &Sandbox, endpoint: &str) -> Result<(), CallError> {
        let mut attached = held(&self.attached);
        let known = attached.as_mut();
        let found = known.and_then(|known| {
            let place = known.endpoints.iter().position(|one| one.row.id == endpoint)?;
            Some((known, place))
        });
        let Some((known, place)) = found else {
            return Err(state_error("The sandbox is not connected to that network"));
        };
        let gone = known.endpoints.remove(place);
        // What it carried, the next one does.
        let carried = !gone.interface.routes.is_empty();
        let heir = known.carrier().filter(|_| carried).cloned();
        let routes = heir.as_ref().map_or_else(Vec::new, Endpoint::default_routes);
        let args = DisconnectArgs { name: gone.interface.name.clone(), routes: routes.clone() };
        let told = sandbox.agent().done(&Request::DisconnectInterface(args));
        // Whatever the guest makes of it, and its VMM: without a port nothing passes any more.
        let unplugged = match sandbox.mode() {
            Isolation::Vm => sandbox.unplug(gone.row.position),
            Isolation::Namespace => Ok(()),
        };
        let (row, carrier) = (gone.row.clone(), heir.clone());
        let removed = self.keeper.run(move |kept| network::disconnect(kept.store()?, &row, carrier.as_ref()));
        let removed = removed.ok_or_else(|| state_error("The supervisor is ending"));
        if let Err(error) = removed.and_then(|removed| removed.map_err(|error| failure(&error))) {
            known.add(gone);
            return Err(error);
        }
        let heir = heir.map(|heir| heir.row.id);
        for endpoint in known.endpoints.iter_mut().filter(|one| heir.as_ref() == Some(&one.row.id)) {
            endpoint.interface.routes = routes.clone();
        }
        known.aim();
        self.reopen(&gone.row.owner);
        if let Err(error) = told {
            eprintln!("The agent did not take {} back: {}", gone.interface.name, chain(&error));
        }
        if let Err(error) = unplugged {
            eprintln!("The machine did not unplug {}: {}", gone.interface.name, chain(&error));
        }
        Ok(())
    }
}

fn side(sandbox: &Sandbox) -> Side<'_> {
    sandbox.network_namespace().map_or(Side::Machine, Side::Namespace)
}

/// Without a network of its own a sandbox may be in the host's.
fn unconnected(mode: Mode) -> Option<NetworkConfig> {
    let namespace = NetworkNamespace::Host;
    (mode == Mode::Host).then(|| NetworkConfig { namespace, ..NetworkConfig::default() })
}

fn plug_in(sandbox: &Sandbox, plug: &Plug) -> Result<(), LaunchError> {
    sandbox.plug(plug.device, plug.tap.as_fd(), plug.rates)
}
