use std::os::fd::AsFd;

use rustix::event::epoll::EventFlags;

use super::super::dns::Dns;
use super::super::session::invalid;
use super::super::token::Token;
use super::super::{Agent, Answer};
use super::state_error;
use crate::clock;
use crate::container::shared::Pod;
use crate::container::spec::{self, Place};
use crate::error::Step;
use crate::network::{self, Network};
use crate::protocol::{CallError, Outcome, SandboxConfig};

impl Agent {
    pub(super) fn configure(&mut self, config: &SandboxConfig) -> Result<Answer, CallError> {
        if self.configured || self.tasks.len() > 0 {
            return Err(state_error("The sandbox is configured already, or has containers"));
        }
        if self.place == Place::Host && (config.clock_ns.is_some() || config.entropy.is_some()) {
            return Err(invalid("clock_ns and entropy: a host has its own".to_owned()));
        }
        if let Some(pod) = &config.pod {
            spec::check_hostname(&pod.hostname)?;
            spec::check_domainname(&pod.domainname)?;
        }
        if let Some(network) = &config.network {
            network::check(network, self.place, self.handed.is_some())?;
        }
        // The steps from here on cannot be repeated.
        self.configured = true;
        if let Some(network) = &config.network {
            let mut network = Network::set_up(network, self.place, self.handed.take())?;
            if let Some(news) = network.news() {
                self.watch(news.as_fd(), Token::Devices, EventFlags::IN)
                    .step("watch the network's devices")?;
            }
            self.dns = network.resolver.take().map(Dns::new);
            self.network = Some(network);
        }
        if let Some(pod) = &config.pod {
            self.pod = Some(Pod::create((&pod.hostname, &pod.domainname), self.network.is_none())?);
        }
        if let Some(nanoseconds) = config.clock_ns {
            clock::set(nanoseconds)?;
        }
        if let Some(entropy) = &config.entropy {
            clock::add_entropy(entropy.as_bytes())?;
        }
        Ok(Answer::Now(Outcome::Done))
    }
}
