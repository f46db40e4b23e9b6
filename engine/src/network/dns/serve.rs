//! The one thread that answers a sandbox's questions.
//!
//! ```text
//!   agent ──► question ──► directory ── known ──────────────────────► answer ──► agent
//!                             └─ unknown ──► policy ──► server outside ──┘
//! ```
//!
//! All of it comes from containers, who may ask as much as they like: the thread takes so many questions a
//! second and leaves the others with the agent, keeps so many on their way outside, and waits for nobody but
//! the database and the policy.

use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hull_guest::protocol::DnsQuestion;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::directory::{Directory, Found};
use super::forward::{Forward, Step};
use super::frames::{Frames, StreamError};
use super::policy::{self, Policy};
use super::question::{Question, Refused};
use super::rate::Rate;
use super::upstream::Upstream;
use super::wants::{Wants, address_data, pointer_data};

/// Questions on their way outside at one time. Each has a socket.
pub const MAX_FORWARDS: usize = 128;

/// Where the sandbox's local names are found.
pub trait Names: Send {
    /// As they are now. None: that cannot be told.
    fn directory(&mut self) -> Option<Arc<Directory>>;
}

impl<F: FnMut() -> Option<Arc<Directory>> + Send> Names for F {
    fn directory(&mut self) -> Option<Arc<Directory>> {
        self()
    }
}

/// What questions are answered from.
pub struct DnsContext {
    pub names: Box<dyn Names>,
    pub upstream: Upstream,
    /// None: everything may be asked.
    pub policy: Option<Box<dyn Policy>>,
}

/// Answers until the stream ends. For a thread without privileges of its own.
pub fn serve(stream: UnixStream, context: DnsContext) -> Result<(), StreamError> {
    let frames = Frames::new(stream)?;
    Server { frames, context, forwards: Vec::new(), rate: Rate::new(Instant::now()), turn: 0 }.run()
}

struct Server {
    frames: Frames,
    context: DnsContext,
    forwards: Vec<Forward>,
    rate: Rate,
    /// How far the addresses of a name are turned in the next answer.
    turn: usize,
}

enum Token {
    Agent,
    Forward(usize),
}

impl Server {
    fn run(mut self) -> Result<(), StreamError> {
        loop {
            self.take_questions()?;
            let (agent, ready) = self.wait()?;
            if agent.contains(PollFlags::POLLOUT) {
                self.frames.flush()?;
            }
            let has_input = agent.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR);
            self.step_forwards(&ready)?;
            if has_input && !self.frames.fill()? {
                return Ok(());
            }
        }
    }

    /// As many as are there and allowed.
    fn take_questions(&mut self) -> Result<(), StreamError> {
        while !self.frames.is_behind() && self.rate.has_one(Instant::now()) {
            let Some(question) = self.frames.next()? else { return Ok(()) };
            self.rate.take();
            let id = question.id;
            if let Some(answer) = self.handle(question) {
                self.frames.answer(id, &answer)?;
            }
        }
        Ok(())
    }

    /// What happened to the agent's stream, and the forwards that something came for.
    fn wait(&self) -> Result<(PollFlags, Vec<bool>), StreamError> {
        let now = Instant::now();
        let may_ask = self.rate.wait(now).is_zero();
        let mut tokens = vec![Token::Agent];
        let mut fds = vec![PollFd::new(self.frames.as_fd(), self.frames.interest(may_ask))];
        for (index, forward) in self.forwards.iter().enumerate() {
            let (fd, flags) = forward.poll();
            tokens.push(Token::Forward(index));
            fds.push(PollFd::new(fd, flags));
        }
        let mut happened = (PollFlags::empty(), vec![false; self.forwards.len()]);
        match poll(&mut fds, self.timeout(now)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(StreamError::Wait(error.into())),
        }
        for (token, fd) in tokens.iter().zip(&fds) {
            let flags = fd.revents().unwrap_or(PollFlags::empty());
            match token {
                Token::Agent => happened.0 = flags,
                Token::Forward(index) => {
                    if let Some(ready) = happened.1.get_mut(*index) {
                        *ready = !flags.is_empty();
                    }
                }
            }
        }
        Ok(happened)
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        let forwards = self.forwards.iter().map(|forward| forward.until().saturating_duration_since(now));
        let rate = Some(self.rate.wait(now)).filter(|wait| !wait.is_zero());
        match forwards.chain(rate).min() {
            // Rounded up, so that it is not woken before its time.
            Some(wait) => {
                let ms = wait.as_millis().saturating_add(1);
                PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        }
    }

    fn step_forwards(&mut self, ready: &[bool]) -> Result<(), StreamError> {
        let now = Instant::now();
        let mut ready = ready.iter();
        let mut ended = Vec::new();
        self.forwards.retain_mut(|forward| {
            let has_come = ready.next().is_some_and(|ready| *ready);
            let mut step = if has_come { forward.ready(now) } else { Step::Waiting };
            if let Step::Waiting = step {
                step = forward.timed_out(now);
            }
            let answer = match step {
                Step::Waiting => return true,
                Step::Answered(answer) => Some(answer),
                Step::Failed => None,
            };
            ended.push((forward.id, forward.question.clone(), answer));
            false
        });
        for (id, question, answer) in ended {
            let answer = match answer {
                Some(answer) => self.let_in(&question, answer),
                None => question.failure(ResponseCode::ServFail),
            };
            self.frames.answer(id, &answer)?;
        }
        Ok(())
    }

    /// None: the answer comes later. An empty one: it gets none.
    fn handle(&mut self, asked: DnsQuestion) -> Option<Vec<u8>> {
        let question = match Question::parse(&asked.message, asked.transport) {
            Ok(question) => question,
            Err(Refused(answer)) => return Some(answer.unwrap_or_default()),
        };
        let Some(directory) = self.context.names.directory() else {
            return Some(question.failure(ResponseCode::ServFail));
        };
        match directory.find(question.name(), Wants::of(question.kind())) {
            Found::Addresses(addresses) => Some(self.local(&question, addresses)),
            Found::Name(name) => Some(question.answer(pointer_data(&name).into_iter())),
            Found::Unknown if !directory.external => Some(question.failure(ResponseCode::ServFail)),
            Found::Unknown => self.forward(asked.id, question),
        }
    }

    /// Neighbours have names that a policy may know, and addresses that are others' soon after they are gone.
    fn local(&mut self, question: &Question, addresses: Vec<IpAddr>) -> Vec<u8> {
        if let Some(policy) = &mut self.context.policy
            && let Some(name) = policy::name_of(question)
            && !addresses.is_empty()
            && !policy.resolved(&name, &addresses, Duration::ZERO)
        {
            return question.failure(ResponseCode::ServFail);
        }
        self.addresses(question, addresses)
    }

    /// Each in its turn is first: who takes the first finds another one each time.
    fn addresses(&mut self, question: &Question, mut addresses: Vec<IpAddr>) -> Vec<u8> {
        if !addresses.is_empty() {
            let turn = self.turn % addresses.len();
            addresses.rotate_left(turn);
            self.turn = self.turn.wrapping_add(1);
        }
        question.answer(addresses.into_iter().map(address_data))
    }

    fn forward(&mut self, id: u32, question: Question) -> Option<Vec<u8>> {
        if let Some(policy) = &mut self.context.policy {
            let is_permitted = policy::name_of(&question).is_some_and(|name| policy.permits(&name));
            if !is_permitted {
                return Some(question.failure(ResponseCode::Refused));
            }
        }
        let failure = question.failure(ResponseCode::ServFail);
        if self.forwards.len() >= MAX_FORWARDS {
            return Some(failure);
        }
        match Forward::begin(id, question, self.context.upstream.servers(), Instant::now()) {
            Some(forward) => {
                self.forwards.push(forward);
                None
            }
            None => Some(failure),
        }
    }

    /// An answer from outside, as the container gets it.
    fn let_in(&mut self, question: &Question, answer: Vec<u8>) -> Vec<u8> {
        let Some(policy) = &mut self.context.policy else { return question.pass_on(answer) };
        let (Some(name), Some((addresses, ttl))) =
            (policy::name_of(question), policy::addresses(question, &answer))
        else {
            return question.failure(ResponseCode::ServFail);
        };
        if !addresses.is_empty() && !policy.resolved(&name, &addresses, ttl) {
            return question.failure(ResponseCode::ServFail);
        }
        question.pass_on(answer)
    }
}
