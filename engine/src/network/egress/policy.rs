//! The policy as the server of names asks it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::enforcer::Enforcer;
use crate::network::dns;
use crate::network::firewall::Allow;

/// Opens addresses in the host's rules; false: that failed.
pub type Opening = Box<dyn FnMut(Vec<Allow>) -> bool + Send>;

pub struct NamePolicy {
    enforcer: Arc<Enforcer>,
    open: Opening,
}

impl NamePolicy {
    pub fn new(enforcer: Arc<Enforcer>, open: Opening) -> NamePolicy {
        NamePolicy { enforcer, open }
    }
}

impl dns::Policy for NamePolicy {
    fn permits(&mut self, name: &str) -> bool {
        self.enforcer.permits(name)
    }

    fn resolved(&mut self, name: &str, addresses: &[IpAddr], ttl: Duration) -> bool {
        let Some(wanted) = self.enforcer.to_open(name, addresses, ttl) else { return false };
        if !wanted.is_empty() {
            if !(self.open)(wanted.clone()) {
                return false;
            }
            self.enforcer.opened(name, &wanted);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::dns::Policy;

    #[test]
    fn what_could_not_be_opened_is_opened_at_the_next_question() {
        let egress = super::super::parse(&["allow=a.example".to_owned()]).unwrap().unwrap();
        let enforcer = Arc::new(Enforcer::new(egress, |_| ()));
        let (sender, opened) = std::sync::mpsc::channel();
        let mut fails = true;
        let open = move |wanted: Vec<Allow>| {
            sender.send(wanted).unwrap();
            !std::mem::replace(&mut fails, false)
        };
        let mut policy = NamePolicy::new(enforcer, Box::new(open));
        assert!(policy.permits("a.example") && !policy.permits("b.example"));
        let mut resolved = || policy.resolved("a.example", &["192.0.2.1".parse().unwrap()], Duration::ZERO);
        assert_eq!([resolved(), resolved(), resolved()], [false, true, true]);
        assert_eq!(opened.try_iter().count(), 2);
    }
}
