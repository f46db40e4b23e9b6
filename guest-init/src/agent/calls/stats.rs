use rustix::time::{ClockId, clock_gettime};

use super::super::slab::Key;
use super::super::{Agent, Answer};
use crate::container::{network, top};
use crate::protocol::{CallError, ContainerArgs, Outcome};

impl Agent {
    pub(super) fn stats(&self, args: &ContainerArgs) -> Result<Answer, CallError> {
        let key = self.find_container(&args.container)?;
        let memory = rustix::system::sysinfo();
        let mut stats = self.cgroup_of(key)?.usage(memory.totalram.saturating_mul(memory.mem_unit.into()));
        stats.online_cpus = online_cpus();
        let now = clock_gettime(ClockId::Monotonic);
        let nanoseconds = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
        stats.system_ns = u64::try_from(nanoseconds).unwrap_or(0);
        // The host's devices carry more than the container's.
        let hosts = self.network.as_ref().is_some_and(crate::network::Network::is_hosts);
        if let Some(process) = self.tasks.get(key).and_then(|task| task.process).filter(|_| !hosts) {
            stats.network = network::stats(process);
        }
        Ok(Answer::Now(Outcome::Stats(stats)))
    }

    pub(super) fn top(&mut self, session: Key, args: &ContainerArgs) -> Result<Answer, CallError> {
        let key = self.find_container(&args.container)?;
        let first = self.running(key)?.process;
        self.help(session, Vec::new(), |agent| {
            let processes = first.map(|first| Ok(top::list(agent.cgroup_of(key)?, first)));
            Ok(Outcome::Processes(processes.unwrap_or_else(|| Ok::<_, CallError>(Vec::new()))?))
        })
    }
}

fn online_cpus() -> u32 {
    // SAFETY: takes no pointers.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    u32::try_from(count).unwrap_or(1)
}
