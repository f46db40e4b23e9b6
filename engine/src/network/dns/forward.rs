//! A question on its way through the servers outside, one after the other, without waiting for any.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use hull_guest::protocol::DnsTransport;
use nix::poll::PollFlags;

use super::question::{Asked, Question, Said};
use super::upstream::Servers;
use super::wire::Wire;

/// How long all servers together may take: what asks waits no longer (resolv.conf(5): 5 seconds, twice).
const OVERALL: Duration = Duration::from_secs(10);
/// How often the list of servers is gone through.
const ROUNDS: usize = 2;
/// What came without being an answer, before a server is given up: somebody guesses.
const MAX_STRAY: usize = 64;

pub struct Forward {
    /// The agent's number for it.
    pub id: u32,
    pub question: Question,
    servers: Servers,
    tried: usize,
    current: Current,
    overall: Instant,
}

/// The server that is asked now.
struct Current {
    address: SocketAddr,
    asked: Asked,
    wire: Wire,
    until: Instant,
    strays: usize,
}

pub enum Step {
    Waiting,
    Answered(Vec<u8>),
    /// Nobody can say.
    Failed,
}

impl Forward {
    /// None: no server can be asked at all.
    pub fn begin(id: u32, question: Question, servers: Servers, now: Instant) -> Option<Self> {
        let mut tried = 0;
        let overall = now + OVERALL;
        let current = next_server(&question, &servers, &mut tried, now, overall)?;
        Some(Self { id, question, servers, tried, current, overall })
    }

    pub fn poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        self.current.wire.poll()
    }

    /// When it has to be looked at even if nothing comes.
    pub fn until(&self) -> Instant {
        self.current.until
    }

    pub fn timed_out(&mut self, now: Instant) -> Step {
        if self.current.until <= now { self.go_on(now) } else { Step::Waiting }
    }

    /// The socket has something.
    pub fn ready(&mut self, now: Instant) -> Step {
        loop {
            let message = match self.current.wire.advance() {
                Ok(Some(message)) => message,
                Ok(None) => return Step::Waiting,
                Err(_) => return self.go_on(now),
            };
            match self.current.asked.judge(&self.question, &message) {
                Some(Said::Answer) => return Step::Answered(message),
                Some(Said::Truncated) => return self.ask_again_by_tcp(now),
                Some(Said::Failed) => return self.go_on(now),
                None => self.current.strays += 1,
            }
            if self.current.strays > MAX_STRAY || self.current.wire.is_tcp() {
                return self.go_on(now);
            }
        }
    }

    /// A truncated answer by TCP is none.
    fn ask_again_by_tcp(&mut self, now: Instant) -> Step {
        let server = self.current.address;
        if !self.current.wire.is_tcp()
            && let Some(current) = ask(&self.question, server, true, until(&self.servers, now, self.overall))
        {
            self.current = current;
            return Step::Waiting;
        }
        self.go_on(now)
    }

    fn go_on(&mut self, now: Instant) -> Step {
        match next_server(&self.question, &self.servers, &mut self.tried, now, self.overall) {
            Some(current) => {
                self.current = current;
                Step::Waiting
            }
            None => Step::Failed,
        }
    }
}

/// The next one that can be sent to.
fn next_server(
    question: &Question,
    servers: &Servers,
    tried: &mut usize,
    now: Instant,
    overall: Instant,
) -> Option<Current> {
    let tcp = servers.tcp || question.transport == DnsTransport::Tcp;
    let order = servers.addresses.iter().cycle().take(servers.addresses.len() * ROUNDS);
    for server in order.skip(*tried) {
        if now >= overall {
            return None;
        }
        *tried += 1;
        if let Some(current) = ask(question, *server, tcp, until(servers, now, overall)) {
            return Some(current);
        }
    }
    None
}

fn until(servers: &Servers, now: Instant, overall: Instant) -> Instant {
    (now + servers.timeout).min(overall)
}

fn ask(question: &Question, address: SocketAddr, tcp: bool, until: Instant) -> Option<Current> {
    let asked = question.to_ask()?;
    let wire = if tcp { Wire::tcp(address, &asked.bytes) } else { Wire::udp(address, &asked.bytes) };
    Some(Current { address, asked, wire: wire.ok()?, until, strays: 0 })
}
