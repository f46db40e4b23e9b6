//! Questions for names, from the containers to the host and back: what arrives at 127.0.0.11:53 goes out on the
//! connection that `Dns` has opened, and the answers return to who asked.
//!
//! Nothing piles up here. While the host does not take what it was sent, or is not there, no question is read:
//! they wait in the sockets' own buffers, and are lost where those are full, as datagrams may be. Of those
//! that are under way the oldest gives way, and of the connections the one that has been still for longest.

mod client;
mod link;

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrV4, SocketFlags, accept_with, recvfrom, sendto};

use self::client::{Client, Step};
use self::link::Link;
use super::slab::{Key, Slab};
use super::token::Token;
use super::{Agent, Answer};
use crate::network::ResolverSockets;
use crate::protocol::{
    CallError, DnsAnswer, DnsQuestion, DnsTransport, ErrorKind, MAX_DNS_DATAGRAM, MIN_DNS_MESSAGE,
};

/// Questions that have no answer yet.
const MAX_ASKED: usize = 256;
const MAX_CLIENTS: usize = 32;
/// Datagrams, connections or answers taken before others get their turn.
const TURNS: usize = 32;

pub struct Dns {
    datagrams: Watched,
    listener: Watched,
    /// Whether the listener has been ended from outside: who may administer the sandbox's network can do that.
    deaf: bool,
    /// The connection to the host.
    link: Option<Link>,
    clients: Slab<Client>,
    /// The oldest first.
    asked: VecDeque<Asked>,
    next_id: u32,
    /// Grows with everything that a client does.
    clock: u64,
    scratch: Vec<u8>,
}

struct Asked {
    id: u32,
    by: Asker,
}

enum Asker {
    Datagram(SocketAddrV4),
    Connection(Key),
}

/// A descriptor, and what epoll watches it for.
struct Watched {
    fd: OwnedFd,
    flags: EventFlags,
}

impl Watched {
    fn new(fd: OwnedFd) -> Self {
        Watched { fd, flags: EventFlags::empty() }
    }

    /// No flags: not at all, not for errors either. False if that cannot be.
    fn watch(&mut self, epoll: &OwnedFd, token: Token, flags: EventFlags) -> bool {
        if self.flags == flags {
            return true;
        }
        let data = EventData::new_u64(token.pack());
        let changed = match (self.flags.is_empty(), flags.is_empty()) {
            (true, _) => epoll::add(epoll, &self.fd, data, flags),
            (false, true) => epoll::delete(epoll, &self.fd),
            (false, false) => epoll::modify(epoll, &self.fd, data, flags),
        };
        if changed.is_ok() {
            self.flags = flags;
        }
        changed.is_ok()
    }
}

impl Dns {
    pub fn new(sockets: ResolverSockets) -> Self {
        Dns {
            datagrams: Watched::new(sockets.datagrams),
            listener: Watched::new(sockets.listener),
            deaf: false,
            link: None,
            clients: Slab::new(),
            asked: VecDeque::new(),
            next_id: 0,
            clock: 0,
            // One more than the longest, to tell those that are longer.
            scratch: vec![0; MAX_DNS_DATAGRAM + 1],
        }
    }

    /// Another connection to the host takes the place of the one there was.
    fn connect(&mut self, epoll: &OwnedFd, socket: OwnedFd) {
        self.disconnect(epoll);
        self.link = Some(Link::new(socket));
        self.settle(epoll);
    }

    /// What was asked on it will not be answered.
    fn disconnect(&mut self, epoll: &OwnedFd) {
        if let Some(mut link) = self.link.take() {
            link.socket.watch(epoll, Token::DnsLink, EventFlags::empty());
        }
        self.asked.clear();
        let clients: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        clients.into_iter().for_each(|key| self.close(epoll, key));
    }

    fn on_link(&mut self, epoll: &OwnedFd) {
        for _ in 0..TURNS {
            match self.link.as_mut().and_then(Link::receive) {
                Some(answer) => self.deliver(epoll, answer),
                None => break,
            }
        }
        if let Some(link) = &mut self.link {
            link.flush();
        }
        self.settle(epoll);
    }

    fn on_datagrams(&mut self, epoll: &OwnedFd) {
        for _ in 0..TURNS {
            if !self.flows() {
                break;
            }
            let received = recvfrom(&self.datagrams.fd, self.scratch.as_mut_slice(), RecvFlags::DONTWAIT);
            let Ok((length, _, Some(sender))) = received else { break };
            let Ok(sender) = SocketAddrV4::try_from(sender) else { continue };
            if (MIN_DNS_MESSAGE..=MAX_DNS_DATAGRAM).contains(&length) {
                let message = self.scratch.get(..length).unwrap_or_default().to_vec();
                self.ask(epoll, Asker::Datagram(sender), DnsTransport::Udp, &message);
            }
        }
        self.settle(epoll);
    }

    fn on_listener(&mut self, epoll: &OwnedFd) {
        for _ in 0..TURNS {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(&self.listener.fd, flags) {
                Ok(socket) => socket,
                Err(error) => {
                    self.deaf |= error == Errno::INVAL;
                    break;
                }
            };
            if self.clients.len() >= MAX_CLIENTS {
                let stillest = self.clients.iter().min_by_key(|(_, client)| client.used);
                if let Some(key) = stillest.map(|(key, _)| key) {
                    self.close(epoll, key);
                }
            }
            self.clock += 1;
            self.clients.insert(Client::new(socket, self.clock));
        }
        self.settle(epoll);
    }

    fn on_client(&mut self, epoll: &OwnedFd, key: Key) {
        let flows = self.flows();
        self.clock += 1;
        let Some(client) = self.clients.get_mut(key) else { return };
        client.used = self.clock;
        match client.advance(flows) {
            Step::Wait => (),
            Step::Ask(message) => self.ask(epoll, Asker::Connection(key), DnsTransport::Tcp, &message),
            Step::End => self.close(epoll, key),
        }
        self.settle(epoll);
    }

    /// Whether the host takes another question.
    fn flows(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_idle)
    }

    fn ask(&mut self, epoll: &OwnedFd, by: Asker, transport: DnsTransport, message: &[u8]) {
        if self.asked.len() >= MAX_ASKED
            && let Some(Asked { by: Asker::Connection(key), .. }) = self.asked.pop_front()
        {
            self.close(epoll, key);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.asked.push_back(Asked { id, by });
        if let Some(link) = &mut self.link {
            link.send(DnsQuestion::encode(id, transport, message));
        }
    }

    fn deliver(&mut self, epoll: &OwnedFd, answer: DnsAnswer) {
        let Some(at) = self.asked.iter().position(|asked| asked.id == answer.id) else { return };
        match self.asked.remove(at).map(|asked| asked.by) {
            Some(Asker::Datagram(address)) if !answer.message.is_empty() => {
                // Who asked may be gone, or have no room: it is a datagram.
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                let _ = sendto(&self.datagrams.fd, &answer.message, flags, &address);
            }
            Some(Asker::Connection(key)) if answer.message.is_empty() => self.close(epoll, key),
            Some(Asker::Connection(key)) => {
                if let Some(client) = self.clients.get_mut(key) {
                    client.answer(&answer.message);
                    self.on_client(epoll, key);
                }
            }
            Some(Asker::Datagram(_)) | None => (),
        }
    }

    fn close(&mut self, epoll: &OwnedFd, key: Key) {
        if let Some(mut client) = self.clients.remove(key) {
            client.socket.watch(epoll, Token::DnsClient(key), EventFlags::empty());
        }
    }

    /// Has epoll watch what can go on.
    fn settle(&mut self, epoll: &OwnedFd) {
        let broken = |link: &mut Link| !link.settle(epoll);
        if self.link.as_mut().is_some_and(broken) {
            self.disconnect(epoll);
        }
        let flows = self.flows();
        let flags = if flows { EventFlags::IN } else { EventFlags::empty() };
        // If that fails for want of memory, the next event tries again.
        self.datagrams.watch(epoll, Token::DnsDatagrams, flags);
        let listener = if self.deaf { EventFlags::empty() } else { flags };
        self.listener.watch(epoll, Token::DnsListener, listener);
        let clients: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for key in clients {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let flags = client.waits_for(flows);
            if !client.socket.watch(epoll, Token::DnsClient(key), flags) {
                self.close(epoll, key);
            }
        }
    }
}

impl Agent {
    pub(super) fn pass_questions_on(&self) -> Result<Answer, CallError> {
        if self.dns.is_some() {
            return Ok(Answer::Questions);
        }
        let message = "The sandbox's questions for names are not to be passed on".to_owned();
        Err(CallError { kind: ErrorKind::State, message })
    }

    pub(super) fn connect_dns(&mut self, socket: OwnedFd) {
        if let Some(dns) = &mut self.dns {
            dns.connect(&self.epoll, socket);
        }
    }

    pub(super) fn on_dns(&mut self, token: Token) {
        let Some(dns) = &mut self.dns else { return };
        match token {
            Token::DnsLink => dns.on_link(&self.epoll),
            Token::DnsDatagrams => dns.on_datagrams(&self.epoll),
            Token::DnsListener => dns.on_listener(&self.epoll),
            Token::DnsClient(key) => dns.on_client(&self.epoll, key),
            Token::Listener
            | Token::Life
            | Token::Signals
            | Token::Session(_)
            | Token::Stream(_)
            | Token::Control(_)
            | Token::CgroupEvents(_)
            | Token::Devices => (),
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
