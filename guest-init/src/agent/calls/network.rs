use super::super::{Agent, Answer};
use super::state_error;
use crate::network;
use crate::protocol::{CallError, DisconnectArgs, Interface, Outcome};

impl Agent {
    pub(super) fn connect_interface(&mut self, interface: &Interface) -> Result<Answer, CallError> {
        network::check_interface(interface)?;
        let network = self.network.as_mut().ok_or_else(|| state_error("The sandbox has no network"))?;
        network.connect(interface)?;
        Ok(Answer::Now(Outcome::Done))
    }

    pub(super) fn disconnect_interface(&mut self, args: &DisconnectArgs) -> Result<Answer, CallError> {
        network::check_routes(&args.routes)?;
        let network = self.network.as_mut().ok_or_else(|| state_error("The sandbox has no network"))?;
        network.disconnect(args)?;
        Ok(Answer::Now(Outcome::Done))
    }
}
