//! What happens to containers without a call: news from their set-up, their ends.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

use super::Agent;
use super::session::Pending;
use super::slab::Key;
use super::token::Token;
use crate::container::cgroup::Removal;
use crate::container::control::{self, News};
use crate::container::{Container, Stage};
use crate::protocol::{CallError, Created, ErrorKind, Outcome};

impl Agent {
    /// Everything the first process has said so far.
    pub(super) fn on_control(&mut self, key: Key) {
        while let Some(control) = self.containers.get(key).and_then(|container| container.control.as_ref()) {
            match control::receive(control) {
                None => return,
                Some(News::Ready(terminal)) => self.on_ready(key, terminal),
                Some(News::Failed(error)) => self.on_failure(key, error),
                Some(News::Closed) => self.on_control_closed(key),
            }
        }
    }

    fn on_ready(&mut self, key: Key, terminal: Option<OwnedFd>) {
        let Some(container) = self.containers.get_mut(key) else { return };
        let Stage::Creating { session, failure: None } = container.stage else { return };
        let adopted = match terminal {
            Some(terminal) => container.adopt_terminal(terminal),
            None => Ok(()),
        };
        // The image's block devices are open by now, and none of the container's code has run.
        match adopted.and_then(|()| container.cgroup.restrict_devices()) {
            Ok(()) => {
                container.stage = Stage::Created;
                let pid = container.process.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
                let created = Created { pid: pid.unwrap_or(0) };
                if !self.reply(session, Ok(Outcome::Created(created))) {
                    self.discard(key);
                }
            }
            Err(error) => {
                container.stage = Stage::Creating { session, failure: Some(error.into()) };
                container.kill();
            }
        }
    }

    fn on_failure(&mut self, key: Key, error: CallError) {
        let Some(container) = self.containers.get_mut(key) else { return };
        match &mut container.stage {
            // Told once the process is reaped and nothing is left of it.
            Stage::Creating { failure, .. } => *failure = Some(error),
            Stage::Starting { session } => {
                let session = *session;
                container.stage = Stage::Running;
                self.reply(session, Err(error));
            }
            Stage::Created | Stage::Running | Stage::Exited(_) => (),
        }
    }

    fn on_control_closed(&mut self, key: Key) {
        let Some(container) = self.containers.get_mut(key) else { return };
        container.control = None;
        if let Stage::Starting { session } = container.stage {
            container.stage = Stage::Running;
            self.reply(session, Ok(Outcome::Done));
        }
    }

    /// True if the agent was asked to end.
    pub(super) fn on_signals(&mut self) -> bool {
        let terminated = self.reaper.acknowledge();
        while let Some((pid, status)) = self.reaper.next() {
            self.on_exit(pid, status);
        }
        terminated
    }

    fn on_exit(&mut self, pid: Pid, status: WaitStatus) {
        if let Some(at) = self.helpers.iter().position(|(helper, _)| *helper == pid) {
            let (_, session) = self.helpers.swap_remove(at);
            return self.on_helper_exit(session, status);
        }
        let found = self.containers.iter().find(|(_, container)| container.process == Some(pid));
        // In a guest, orphans of anything end up here too.
        let Some(key) = found.map(|(key, _)| key) else { return };
        // What it said last counts before its end does.
        self.on_control(key);
        let Some(container) = self.containers.get_mut(key) else { return };
        container.process = None;
        if let Some(stdin) = container.stdin.take() {
            self.close_stream(stdin);
        }
        self.settle(key, status);
    }

    fn settle(&mut self, key: Key, status: WaitStatus) {
        let Some(container) = self.containers.get_mut(key) else { return };
        if let Stage::Creating { session, failure } = &mut container.stage {
            let (session, failure) = (*session, failure.take());
            let error = failure.unwrap_or_else(|| died_early(status));
            container.cgroup.remove();
            self.containers.remove(key);
            self.reply(session, Err(error));
            return;
        }
        let status = container.exited(status);
        let waiters = std::mem::take(&mut container.waiters);
        let being_deleted = container.being_deleted;
        for session in waiters {
            self.reply(session, Ok(Outcome::Exited(status)));
        }
        if being_deleted {
            self.finish_delete(key);
        }
    }

    fn on_helper_exit(&mut self, session: Key, status: WaitStatus) {
        let result = match status.exit_status() {
            Some(0) => Ok(Outcome::Done),
            _ => Err(CallError {
                kind: ErrorKind::Setup,
                message: "Failed to write everything to disk".to_owned(),
            }),
        };
        self.reply(session, result);
    }

    /// Forgets a container whose process is gone, as soon as its cgroup can go.
    pub(super) fn finish_delete(&mut self, key: Key) {
        let Some(container) = self.containers.get_mut(key) else { return };
        match container.cgroup.remove() {
            Removal::Gone => {
                let deleters = std::mem::take(&mut container.deleters);
                self.containers.remove(key);
                for session in deleters {
                    self.reply(session, Ok(Outcome::Done));
                }
            }
            Removal::Busy(Some(events)) if container.cgroup_events.is_none() => {
                let watched = epoll::add(
                    &self.epoll,
                    &events,
                    epoll::EventData::new_u64(Token::CgroupEvents(key).pack()),
                    EventFlags::PRI,
                );
                container.cgroup_events = Some(events);
                if watched.is_err() {
                    self.give_up_delete(key);
                }
            }
            Removal::Busy(Some(_)) => (),
            Removal::Busy(None) => self.give_up_delete(key),
        }
    }

    /// The container stays, dead, for another try.
    fn give_up_delete(&mut self, key: Key) {
        let Some(container) = self.containers.get_mut(key) else { return };
        container.being_deleted = false;
        let message = "Failed to remove the container's cgroup: a process is still in it".to_owned();
        for session in std::mem::take(&mut container.deleters) {
            self.reply(session, Err(CallError { kind: ErrorKind::Setup, message: message.clone() }));
        }
    }

    pub(super) fn on_cgroup_events(&mut self, key: Key) {
        let Some(container) = self.containers.get(key) else { return };
        if let Some(events) = &container.cgroup_events {
            // Reading is what makes the next change an event.
            let _ = rustix::io::pread(events.as_fd(), &mut [0u8; 64], 0);
        }
        self.finish_delete(key);
    }

    /// The connection of a pending call is gone.
    pub(super) fn cancel(&mut self, session: Key, pending: Option<Pending>) {
        match pending {
            Some(Pending::Create(key)) => {
                if let Some(Container { stage: Stage::Creating { failure, .. }, .. }) =
                    self.containers.get_mut(key)
                {
                    let message = "The call was cancelled".to_owned();
                    *failure = Some(CallError { kind: ErrorKind::State, message });
                }
                self.discard(key);
            }
            Some(Pending::Wait(key)) => {
                if let Some(container) = self.containers.get_mut(key) {
                    container.waiters.retain(|waiter| *waiter != session);
                }
            }
            Some(Pending::Start(_) | Pending::Delete(_) | Pending::Sync) | None => (),
        }
    }

    /// Removes a container that nobody knows of.
    fn discard(&mut self, key: Key) {
        if let Some(container) = self.containers.get_mut(key) {
            container.being_deleted = true;
            container.kill();
        }
    }

    /// Kills and removes every container, waiting for each.
    pub(super) fn end_all(&mut self) {
        let keys: Vec<Key> = self.containers.iter().map(|(key, _)| key).collect();
        for container in keys.iter().filter_map(|&key| self.containers.get(key)) {
            container.kill();
        }
        for key in keys {
            if let Some(mut container) = self.containers.remove(key) {
                end(&mut container);
            }
        }
    }
}

fn end(container: &mut Container) {
    if let Some(process) = container.process.take() {
        // Killed with SIGKILL, together with its PID namespace.
        let _ = waitpid(Some(process), WaitOptions::empty());
    }
    while let Removal::Busy(Some(events)) = container.cgroup.remove() {
        // Only changes after a read are events, so what changed before it is looked at once more.
        let _ = rustix::io::pread(&events, &mut [0u8; 64], 0);
        if matches!(container.cgroup.remove(), Removal::Busy(Some(_))) {
            let mut change = [PollFd::new(&events, PollFlags::PRI)];
            let _ = poll(&mut change, None);
        }
    }
}

fn died_early(status: WaitStatus) -> CallError {
    let how = match (status.terminating_signal(), status.exit_status()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, code) => format!("ended with code {}", code.unwrap_or(-1)),
    };
    CallError { kind: ErrorKind::Setup, message: format!("The container's set-up {how} before it was done") }
}
