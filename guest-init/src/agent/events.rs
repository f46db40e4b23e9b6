//! What happens to containers without a call: news from their set-up, their ends.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use super::Agent;
use super::session::Pending;
use super::slab::Key;
use super::token::Token;
use crate::container::cgroup::{Cgroup, Removal};
use crate::container::control::{self, News};
use crate::container::task::{self, Stage, Task};
use crate::protocol::{CallError, Created, ErrorKind, Outcome};

impl Agent {
    /// Everything the first process has said so far.
    pub(super) fn on_control(&mut self, key: Key) {
        while let Some(control) = self.tasks.get(key).and_then(|container| container.control.as_ref()) {
            match control::receive(control) {
                None => return,
                Some(News::Ready(terminal)) => self.on_ready(key, terminal),
                Some(News::Failed(error)) => self.on_failure(key, error),
                Some(News::Closed) => self.on_control_closed(key),
            }
        }
    }

    fn on_ready(&mut self, key: Key, terminal: Option<OwnedFd>) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let Stage::Creating { session, failure: None } = task.stage else { return };
        let adopted = match terminal {
            Some(terminal) => task.adopt_terminal(terminal),
            None => Ok(()),
        };
        // The image's block devices are open by now, and none of the container's code has run.
        match adopted.and_then(|()| task.restrict_devices()) {
            Ok(()) => {
                task.stage = Stage::Created;
                let created = Created { pid: task::number(task.process) };
                if !self.reply(session, Ok(Outcome::Created(created))) {
                    self.discard(key);
                }
            }
            Err(error) => {
                task.stage = Stage::Creating { session, failure: Some(error.into()) };
                task.kill();
            }
        }
    }

    fn on_failure(&mut self, key: Key, error: CallError) {
        let Some(container) = self.tasks.get_mut(key) else { return };
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
        let Some(container) = self.tasks.get_mut(key) else { return };
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
        if self.on_helper_exit(pid) {
            return;
        }
        let found = self.tasks.iter().find(|(_, task)| task.process == Some(pid));
        // In a guest, orphans of anything end up here too.
        let Some(key) = found.map(|(key, _)| key) else { return };
        // What it said last counts before its end does.
        self.on_control(key);
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.process = None;
        if let Some(stdin) = task.stdin.take() {
            self.close_stream(stdin);
        }
        self.settle(key, status);
    }

    fn settle(&mut self, key: Key, status: WaitStatus) {
        let oom_killed = self.oom_killed(key);
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.kill_remains();
        let container = task.exec_of();
        if let Stage::Creating { session, failure } = &mut task.stage {
            let (session, failure) = (*session, failure.take());
            let error = failure.unwrap_or_else(|| died_early(status));
            self.try_remove(key);
            self.reply(session, Err(error));
        } else {
            let status = task.exited(status, oom_killed);
            for session in std::mem::take(&mut task.waiters) {
                self.reply(session, Ok(Outcome::Exited(status)));
            }
            self.forget_freeze(key);
            self.kill_execs_of(key);
            self.finish_delete(key);
        }
        if let Some(container) = container {
            self.finish_delete(container);
        }
    }

    /// An exec's end for want of memory is its container's.
    fn oom_killed(&self, key: Key) -> bool {
        let task = self.tasks.get(key);
        let holder = task.and_then(Task::exec_of).map_or(task, |container| self.tasks.get(container));
        holder.and_then(|task| task.cgroup.as_ref()).is_some_and(Cgroup::oom_killed)
    }

    fn kill_execs_of(&self, key: Key) {
        self.tasks.iter().filter(|(_, task)| task.exec_of() == Some(key)).for_each(|(_, task)| task.kill());
    }

    /// Forgets what is to be deleted as soon as its processes are gone and its cgroup can go; a
    /// container together with its execs.
    pub(super) fn finish_delete(&mut self, key: Key) {
        let is_due = |task: &Task| task.being_deleted && task.process.is_none();
        let Some(task) = self.tasks.get(key).filter(|task| is_due(task)) else { return };
        let container = task.exec_of();
        let execs: Vec<Key> =
            self.tasks.iter().filter(|(_, task)| task.exec_of() == Some(key)).map(|(exec, _)| exec).collect();
        let mut all_gone = true;
        for exec in execs {
            all_gone &= self.try_remove(exec);
        }
        if all_gone
            && self.try_remove(key)
            && let Some(container) = container
        {
            // It may have waited for this one.
            self.finish_delete(container);
        }
    }

    /// False while there is something to wait for: its process, or what is in its cgroup.
    fn try_remove(&mut self, key: Key) -> bool {
        let Some(task) = self.tasks.get_mut(key) else { return true };
        if task.process.is_some() {
            return false;
        }
        match task.cgroup.as_mut().map_or(Removal::Gone, Cgroup::remove) {
            Removal::Gone => {
                let deleters = std::mem::take(&mut task.deleters);
                self.tasks.remove(key);
                for session in deleters {
                    self.reply(session, Ok(Outcome::Done));
                }
                return true;
            }
            Removal::Busy(events) => {
                task.being_deleted = true;
                if !self.watch_cgroup(key, events, EventFlags::PRI) {
                    self.give_up_delete(key);
                }
            }
            Removal::Holds(process) => {
                task.being_deleted = true;
                task.cgroup_events = None;
                if !self.watch_cgroup(key, process, EventFlags::IN) {
                    self.give_up_delete(key);
                }
            }
            Removal::Stuck => self.give_up_delete(key),
        }
        false
    }

    /// Waits for changes of a task's `cgroup.events`, or the end of a process in it. False if that cannot be.
    pub(super) fn watch_cgroup(&mut self, key: Key, events: OwnedFd, flags: EventFlags) -> bool {
        let Some(task) = self.tasks.get_mut(key) else { return false };
        if task.cgroup_events.is_some() {
            return true;
        }
        let data = epoll::EventData::new_u64(Token::CgroupEvents(key).pack());
        let watched = epoll::add(&self.epoll, &events, data, flags);
        task.cgroup_events = Some(events);
        watched.is_ok()
    }

    /// It stays, dead, for another try.
    fn give_up_delete(&mut self, key: Key) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.being_deleted = false;
        task.cgroup_events = None;
        let message = "Failed to remove the container's cgroup: a process is still in it".to_owned();
        for session in std::mem::take(&mut task.deleters) {
            self.reply(session, Err(CallError { kind: ErrorKind::Setup, message: message.clone() }));
        }
    }

    pub(super) fn on_cgroup_events(&mut self, key: Key) {
        let Some(task) = self.tasks.get(key) else { return };
        if let Some(events) = &task.cgroup_events {
            // Reading is what makes the next change an event.
            let _ = rustix::io::pread(events.as_fd(), &mut [0u8; 64], 0);
        }
        let container = task.exec_of();
        self.check_freeze(key);
        self.finish_delete(key);
        if let Some(container) = container {
            self.finish_delete(container);
        }
    }

    /// The connection of a pending call is gone.
    pub(super) fn cancel(&mut self, session: Key, pending: Option<Pending>) {
        match pending {
            Some(Pending::Create(key)) => {
                if let Some(Task { stage: Stage::Creating { failure, .. }, .. }) = self.tasks.get_mut(key) {
                    let message = "The call was cancelled".to_owned();
                    *failure = Some(CallError { kind: ErrorKind::State, message });
                }
                self.discard(key);
            }
            Some(Pending::Wait(key)) => {
                if let Some(container) = self.tasks.get_mut(key) {
                    container.waiters.retain(|waiter| *waiter != session);
                }
            }
            Some(Pending::Pause(key)) => {
                // If even that fails, Resume is there.
                let _ = self.thaw(key);
            }
            Some(Pending::Helper(process)) => self.cancel_helper(process),
            Some(Pending::Start(_) | Pending::Delete(_)) | None => (),
        }
    }

    /// Removes a container or exec that nobody knows of.
    fn discard(&mut self, key: Key) {
        if let Some(task) = self.tasks.get_mut(key) {
            task.being_deleted = true;
            task.kill();
        }
    }

    /// Kills and removes everything, waiting for each.
    pub(super) fn end_all(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.kill());
        // In whatever order they end: the first process of a PID namespace cannot before all others in
        // it are reaped, which may be children of ours (pid_namespaces(7)).
        let mut left = self.tasks.iter().filter(|(_, task)| task.process.is_some()).count();
        while left > 0 {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, _))) if self.tasks.iter().any(|(_, task)| task.process == Some(pid)) => {
                    left -= 1
                }
                Ok(_) | Err(Errno::INTR) => (),
                Err(_) => break,
            }
        }
        let keys: Vec<Key> = self.tasks.iter().map(|(key, _)| key).collect();
        for mut cgroup in keys.into_iter().filter_map(|key| self.tasks.remove(key)?.cgroup) {
            end(&mut cgroup);
        }
    }
}

fn end(cgroup: &mut Cgroup) {
    loop {
        match cgroup.remove() {
            Removal::Gone | Removal::Stuck => return,
            Removal::Busy(events) => {
                // Only changes after a read are events, so what changed before it is looked at once more.
                let _ = rustix::io::pread(&events, &mut [0u8; 64], 0);
                if matches!(cgroup.remove(), Removal::Busy(_)) {
                    let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], None);
                }
            }
            Removal::Holds(process) => {
                let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], None);
            }
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
