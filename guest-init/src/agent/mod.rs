//! The agent: one thread, one epoll loop, one connection a call. It forks for whatever blocks.

mod calls;
mod dns;
mod events;
mod helpers;
pub mod listener;
mod session;
mod slab;
mod streams;
mod token;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use self::dns::Dns;
use self::helpers::Helper;
use self::listener::Listener;
use self::session::{Pending, Progress, Session, Then};
pub use self::slab::Key;
use self::slab::Slab;
use self::streams::Stream;
use self::token::Token;
use crate::container::Surroundings;
use crate::container::shared::Pod;
use crate::container::spec::Place;
use crate::container::task::Task;
use crate::error::{Step, StepError};
use crate::network::Network;
use crate::process::pump::CHUNK;
use crate::process::reaper::Reaper;
use crate::protocol::{CallError, ErrorKind, Outcome};

/// Connections held at a time, streams among them; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1024;
/// Of those, kept for calls that are answered at once.
const KEPT_FOR_CONTROL: usize = 32;
/// Events taken from the kernel at a time.
const MAX_EVENTS: usize = 64;

pub struct Agent {
    place: Place,
    epoll: OwnedFd,
    listener: Listener,
    /// Whether epoll watches the listener: not while there are too many connections.
    listening: bool,
    /// Host: the socket whose end is the agent's.
    life: Option<OwnedFd>,
    reaper: Reaper,
    surroundings: Surroundings,
    sessions: Slab<Session>,
    streams: Slab<Stream>,
    /// Containers and the execs in them.
    tasks: Slab<Task>,
    helpers: Vec<Helper>,
    configured: bool,
    pod: Option<Pod>,
    /// Host: a network namespace for `ConfigureSandbox` to take.
    handed: Option<OwnedFd>,
    network: Option<Network>,
    dns: Option<Dns>,
    /// A `Shutdown` has been answered.
    finished: bool,
    scratch: Vec<u8>,
}

/// Why the agent's loop ended. In each case no container is left.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// By `Shutdown`.
    Asked,
    /// The supervisor is gone, or SIGTERM came.
    Abandoned,
}

/// What a call comes to.
enum Answer {
    Now(Outcome),
    Later(Pending),
    Stream(session::StreamPlan),
    Questions,
}

impl Agent {
    /// `handed` and `mounts`: a host's, the network namespace for its containers and its mount namespace.
    pub fn new(
        place: Place,
        listener: Listener,
        life: Option<OwnedFd>,
        handed: Option<OwnedFd>,
        mounts: Option<OwnedFd>,
    ) -> Result<Self, StepError> {
        let reaper = Reaper::new().step("watch for signals")?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).step("make an epoll instance")?;
        let agent = Agent {
            place,
            epoll,
            listener,
            listening: true,
            life,
            reaper,
            surroundings: Surroundings::discover(mounts)?,
            sessions: Slab::new(),
            streams: Slab::new(),
            tasks: Slab::new(),
            helpers: Vec::new(),
            configured: false,
            pod: None,
            handed,
            network: None,
            dns: None,
            finished: false,
            scratch: vec![0; CHUNK],
        };
        agent
            .watch(agent.listener.descriptor(), Token::Listener, EventFlags::IN)
            .step("watch the listener")?;
        agent.watch(agent.reaper.descriptor(), Token::Signals, EventFlags::IN).step("watch for signals")?;
        if let Some(life) = &agent.life {
            agent
                .watch(life.as_fd(), Token::Life, EventFlags::IN | EventFlags::RDHUP)
                .step("watch the supervisor's socket")?;
        }
        Ok(agent)
    }

    /// Serves until there is nobody to serve.
    pub fn run(mut self) -> Result<Ended, StepError> {
        let mut events = Vec::with_capacity(MAX_EVENTS);
        while !self.finished {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(cause) => return Err(cause).step("wait for events"),
            }
            for event in &events {
                let epoll::Event { flags, data } = *event;
                let Some(token) = Token::unpack(data.u64()) else { continue };
                if let Some(ended) = self.on_event(token, flags) {
                    self.end_all();
                    return Ok(ended);
                }
            }
        }
        Ok(Ended::Asked)
    }

    fn on_event(&mut self, token: Token, flags: EventFlags) -> Option<Ended> {
        match token {
            Token::Listener => self.on_connection(),
            Token::Life => return self.life_has_ended().then_some(Ended::Abandoned),
            Token::Signals => {
                if self.on_signals() {
                    return Some(Ended::Abandoned);
                }
            }
            Token::Session(key) => {
                self.advance_session(key, flags);
            }
            Token::Stream(key) => self.advance_stream(key),
            Token::Control(key) => self.on_control(key),
            Token::CgroupEvents(key) => self.on_cgroup_events(key),
            Token::Devices => {
                if let Some(network) = &mut self.network {
                    network.on_news();
                }
            }
            Token::DnsLink | Token::DnsDatagrams | Token::DnsListener | Token::DnsClient(_) => {
                self.on_dns(token)
            }
        }
        None
    }

    /// Bytes on that socket mean nothing; its end does.
    fn life_has_ended(&mut self) -> bool {
        let Some(life) = &self.life else { return false };
        let mut ignored = [0u8; 64];
        match rustix::net::recv(life, &mut ignored, rustix::net::RecvFlags::DONTWAIT) {
            Ok((len, _)) => len == 0,
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        }
    }

    fn on_connection(&mut self) {
        if let Some(socket) = self.listener.accept() {
            let key = self.sessions.insert(Session::new(socket));
            self.advance_session(key, EventFlags::empty());
        }
        self.heed_connection_limit();
    }

    fn connections(&self) -> usize {
        self.sessions.len() + self.streams.len()
    }

    fn heed_connection_limit(&mut self) {
        let room = self.connections() < MAX_CONNECTIONS;
        if room == self.listening {
            return;
        }
        let listener = self.listener.descriptor();
        let changed = if room {
            self.watch(listener, Token::Listener, EventFlags::IN)
        } else {
            epoll::delete(&self.epoll, listener)
        };
        if changed.is_ok() {
            self.listening = room;
        }
    }

    /// Refuses what would hold a connection for long when those left are kept for control.
    fn check_room(&self) -> Result<(), CallError> {
        if self.connections() < MAX_CONNECTIONS - KEPT_FOR_CONTROL {
            return Ok(());
        }
        Err(CallError { kind: ErrorKind::State, message: "The agent has too many connections".to_owned() })
    }

    /// False if the peer turned out to be gone.
    fn advance_session(&mut self, key: Key, events: EventFlags) -> bool {
        let mut events = events;
        loop {
            let Some(session) = self.sessions.get_mut(key) else { return false };
            match session.advance(events) {
                Progress::Watch(flags) => {
                    self.watch_session(key, flags);
                    return true;
                }
                Progress::Request(request) => self.dispatch(key, *request),
                Progress::Gone(pending) => {
                    self.close_session(key);
                    self.cancel(key, pending);
                    return false;
                }
                Progress::Replied => {
                    self.finish_session(key);
                    return true;
                }
            }
            events = EventFlags::empty();
        }
    }

    fn dispatch(&mut self, key: Key, request: Result<crate::protocol::Request, CallError>) {
        let answer = request.and_then(|request| self.call(key, request));
        let Some(session) = self.sessions.get_mut(key) else { return };
        match answer {
            Ok(Answer::Now(outcome)) => session.reply(Ok(outcome), Then::Close),
            Ok(Answer::Later(pending)) => session.wait_for(pending),
            Ok(Answer::Questions) => session.reply(Ok(Outcome::Done), Then::Questions),
            Ok(Answer::Stream(plan)) => session.reply(Ok(Outcome::Done), Then::Stream(plan)),
            Err(error) => session.reply(Err(error), Then::Close),
        }
    }

    /// Answers a pending call. False if its connection is gone.
    fn reply(&mut self, key: Key, result: Result<Outcome, CallError>) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        session.reply(result, Then::Close);
        self.advance_session(key, EventFlags::empty())
    }

    fn watch_session(&mut self, key: Key, flags: EventFlags) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.watched == Some(flags) {
            return;
        }
        let data = EventData::new_u64(Token::Session(key).pack());
        let changed = match session.watched {
            None => epoll::add(&self.epoll, session.socket(), data, flags),
            Some(_) => epoll::modify(&self.epoll, session.socket(), data, flags),
        };
        match changed {
            Ok(()) => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.watched = Some(flags);
                }
            }
            // A session nobody watches would never end.
            Err(_) => self.close_session(key),
        }
    }

    fn finish_session(&mut self, key: Key) {
        let Some(session) = self.sessions.remove(key) else { return };
        if session.watched.is_some() {
            let _ = epoll::delete(&self.epoll, session.socket());
        }
        match session.into_parts() {
            (_, Then::Close) => (),
            (socket, Then::Questions) => self.connect_dns(socket),
            (socket, Then::Stream(plan)) => self.open_stream(socket, plan),
        }
        self.heed_connection_limit();
    }

    fn close_session(&mut self, key: Key) {
        // Closing the descriptor takes it out of epoll: a child that still has a copy closes it first
        // thing, and until then its events name a key that is no more.
        self.sessions.remove(key);
        self.heed_connection_limit();
    }

    fn watch(&self, fd: BorrowedFd<'_>, token: Token, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token.pack()), flags)
    }

    fn find(&self, id: &str) -> Result<Key, CallError> {
        let found = self.tasks.iter().find(|(_, task)| task.id == id);
        found.map(|(key, _)| key).ok_or_else(|| CallError {
            kind: ErrorKind::NoContainer,
            message: format!("No container or exec {} here", crate::error::shown(id.as_bytes())),
        })
    }
}
