//! The machine's side of containers: what runs again after a reboot, and who sees to it that what is killed
//! does.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::container::config::Config;
use crate::container::life::{self, LifeError};
use crate::context::Context;
use crate::network;
use crate::pod;
use crate::rootless;
use crate::sandbox::{cgroup, sweep};
use crate::store::{self, ContainerRow, ContainerState, Store};
use crate::supervisor::chain;

#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("Failed to {what}")]
    System { what: &'static str, source: io::Error },
}

fn system(what: &'static str) -> impl FnOnce(Errno) -> SystemError {
    move |errno| SystemError::System { what, source: errno.into() }
}

/// A container that was to start, and why it did not.
pub type Outcome = (ContainerRow, Result<(), LifeError>);

/// Clears away what a reboot or a crash left, and starts every container whose policy asks for it.
pub fn start(context: &Context, store: &Store) -> Result<Vec<Outcome>, SystemError> {
    let mut outcomes: Vec<Outcome> =
        sweep::dead(context, store).into_iter().map(|row| (row, Ok(()))).collect();
    sweep::orphans(store);
    // A user's own network is gone with the last sandbox, and is not to be made for this.
    if !rootless::in_user_namespace()
        && let Err(error) = network::sweep(store)
    {
        eprintln!("Failed to clear the network away: {}", chain(&error));
    }
    let mut rows: Vec<ContainerRow> = store.db().containers()?.into_iter().filter(is_to_run).collect();
    sweep::in_order(&mut rows);
    outcomes.extend(rows.into_iter().map(|row| {
        let started = life::start(context, store, &row);
        (row, started)
    }));
    Ok(outcomes)
}

/// Docker's rules at the start of its daemon, but for one: what a user stopped failed for no reason that
/// `on-failure` is there for.
fn is_to_run(row: &ContainerRow) -> bool {
    let Ok(config) = Config::from_row(row) else { return false };
    row.state == ContainerState::Exited
        && config.restart.wants(row.exit_code, row.restarts)
        && (!row.stopped || config.restart.outlives_a_stop())
}

/// SIGTERM and SIGINT, kept from ending the process: for [`watch`].
pub fn hold_signals() -> Result<SignalFd, SystemError> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block().map_err(system("block signals"))?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(system("wait for signals"))
}

/// The places of the signals and of the timer among the watched; a pod's or container's is below.
const SIGNALS: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// Until a supervisor is looked at again that does not answer and is not dead: one that is being killed answers no more
/// a moment before it lets go of what tells the dead.
const AGAIN: Duration = Duration::from_secs(1);

/// Stays until a signal comes, and sweeps after every supervisor that is killed. `tell` hears of the
/// containers that run again.
pub fn watch(
    context: &Context,
    store: &Store,
    signals: &SignalFd,
    tell: impl Fn(&ContainerRow),
) -> Result<(), SystemError> {
    let mut watch = Watch::new(store)?;
    watch
        .epoll
        .add(signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))
        .map_err(system("wait for signals"))?;
    let writes = store.db().watch_writes()?;
    loop {
        if watch.meet()? {
            sweep::dead(context, store).iter().for_each(&tell);
            watch.ask_again()?;
        }
        reap();
        // A new sandbox is written down; the end of a known one makes the set readable.
        if !writes.wait(watch.epoll.0.as_fd())? {
            match watch.ended()? {
                Ended::Signal => return Ok(()),
                Ended::Supervisors => sweep::dead(context, store).iter().for_each(&tell),
            }
        }
    }
}

enum Ended {
    Signal,
    Supervisors,
}

struct Watch<'a> {
    store: &'a Store,
    epoll: Epoll,
    timer: TimerFd,
    /// A descriptor of the supervisor's process (pidfd_open(2)) and its number in the set.
    known: HashMap<String, (OwnedFd, u64)>,
    next: u64,
}

impl<'a> Watch<'a> {
    fn new(store: &'a Store) -> Result<Watch<'a>, SystemError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system("make an epoll set"))?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
                .map_err(system("make a timer"))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER)).map_err(system("wait for a timer"))?;
        Ok(Watch { store, epoll, timer, known: HashMap::new(), next: 0 })
    }

    /// Has the set be readable once more, in a moment.
    fn ask_again(&self) -> Result<(), SystemError> {
        let once = Expiration::OneShot(AGAIN.into());
        self.timer.set(once, TimerSetTimeFlags::empty()).map_err(system("set a timer"))
    }

    /// Takes up sandboxes that are new. True: there are some without a supervisor.
    fn meet(&mut self) -> Result<bool, SystemError> {
        let mut dead = false;
        for sandbox in self.store.db().sandboxes()? {
            if self.known.contains_key(&sandbox.id) {
                continue;
            }
            match supervisor_of(self.store, &sandbox.id) {
                Some(process) => self.add(sandbox.id, process)?,
                None => dead = true,
            }
        }
        Ok(dead)
    }

    fn add(&mut self, id: String, process: OwnedFd) -> Result<(), SystemError> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.next);
        self.epoll.add(&process, event).map_err(system("wait for a supervisor"))?;
        self.known.insert(id, (process, self.next));
        self.next += 1;
        Ok(())
    }

    /// What has made the set readable. Supervisors that have ended are forgotten.
    fn ended(&mut self) -> Result<Ended, SystemError> {
        let mut events = [EpollEvent::empty(); 32];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Err(Errno::EINTR) => 0,
            other => other.map_err(system("wait for supervisors"))?,
        };
        for event in events.iter().take(count) {
            if event.data() == SIGNALS {
                return Ok(Ended::Signal);
            }
            if event.data() == TIMER {
                self.timer.unset().map_err(system("stop a timer"))?;
            }
            // Closing its descriptor takes it out of the set.
            self.known.retain(|_, (_, number)| *number != event.data());
        }
        Ok(Ended::Supervisors)
    }
}

/// The supervisor's process. It has answered after the descriptor was opened, so that is nobody else's.
fn supervisor_of(store: &Store, sandbox: &str) -> Option<OwnedFd> {
    let client = pod::client(store, sandbox);
    let pid = client.hello().ok()?.pid;
    let process = cgroup::pidfd(i32::try_from(pid).ok()?)?;
    (client.hello().ok()?.pid == pid).then_some(process)
}

/// Supervisors that were started here are this process' children.
fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::remove::tests::Fixture;
    use crate::store::Change;

    fn row(restart: &str, exit_code: i32, stopped: bool) -> ContainerRow {
        let fixture = Fixture::new();
        fixture.running("a", false);
        let row = fixture.store.db().container("a").unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&row.config).unwrap();
        config["restart"] = serde_json::from_str(restart).unwrap();
        fixture.store.db().change("a", &Change::Config { json: config.to_string() }).unwrap();
        if stopped {
            fixture.store.db().change("a", &Change::StoppedByUser).unwrap();
        }
        let change = Change::Exited { exit_code, oom_killed: false, error: String::new() };
        fixture.store.db().change("a", &change).unwrap()
    }

    #[test]
    fn what_a_user_stopped_starts_only_with_always_and_what_succeeded_not_for_its_failures() {
        let failures = r#"{"on_failure":{"most":0}}"#;
        for (policy, exit_code, stopped, starts) in [
            (r#""no""#, 1, false, false),
            (r#""always""#, 0, false, true),
            (r#""always""#, 0, true, true),
            (r#""unless_stopped""#, 0, false, true),
            (r#""unless_stopped""#, 137, true, false),
            (failures, 1, false, true),
            (failures, 0, false, false),
            (failures, 1, true, false),
        ] {
            assert_eq!(is_to_run(&row(policy, exit_code, stopped)), starts, "{policy} {exit_code} {stopped}");
        }
    }

    #[test]
    fn what_never_ran_does_not_start_by_itself() {
        let mut created = ContainerRow { state: ContainerState::Created, ..row(r#""always""#, 0, false) };
        assert!(!is_to_run(&created));
        created.state = ContainerState::Removing;
        assert!(!is_to_run(&created));
    }
}
