//! Options that say what a container may use.

use clap::Args;
use hull_guest::protocol::Resources;

use crate::container::limits::{self, Bound, IoWord, LimitError};
use crate::container::size;
use crate::sandbox::disk;

/// Those of `run` and `create` that `update` has, too.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Most memory the container may use
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// Memory that is left to the container when the machine runs short
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Most memory and swap together (-1: no limit on swap) [default: no swap beside -m]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Most CPU time the container may use, in CPUs
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Weight against others where CPU time is short, 2 to 262144 [default: 1024]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_shares: Option<i64>,
    /// Microseconds over which --cpu-quota holds [default: 100000]
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    cpu_period: Option<i64>,
    /// Microseconds of CPU time in each period (-1: no limit)
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// CPUs to run on, as 0-2,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Most processes and threads the container may have (-1: no limit)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
}

impl LimitArgs {
    /// Whether not one of them is given.
    pub fn are_none(&self) -> bool {
        let words =
            [&self.memory, &self.memory_reservation, &self.memory_swap, &self.cpus, &self.cpuset_cpus];
        let numbers = [self.cpu_shares, self.cpu_period, self.cpu_quota, self.pids_limit];
        words.into_iter().all(Option::is_none) && numbers.iter().all(Option::is_none)
    }

    /// Each word by itself; how they go together is for [`limits::check`] and [`limits::check_update`].
    pub fn resources(&self) -> Result<Resources, LimitError> {
        let online = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cpuset = |list: &str| limits::cpuset(list, &limits::online());
        Ok(Resources {
            memory_bytes: read(self.memory.as_deref(), limits::memory)?,
            memory_reservation_bytes: read(self.memory_reservation.as_deref(), limits::reservation)?,
            memory_swap_bytes: read(self.memory_swap.as_deref(), limits::swap)?,
            cpu_millis: read(self.cpus.as_deref(), |cpus| limits::cpus(cpus, online))?,
            cpu_shares: read(self.cpu_shares, limits::shares)?,
            cpu_period_us: read(self.cpu_period, limits::period)?,
            cpu_quota_us: read(self.cpu_quota, limits::quota)?,
            cpuset_cpus: read(self.cpuset_cpus.as_deref(), cpuset)?,
            pids: read(self.pids_limit, limits::pids)?,
            ..Resources::default()
        })
    }
}

fn read<W, T>(
    word: Option<W>,
    parse: impl FnOnce(W) -> Result<Option<T>, LimitError>,
) -> Result<Option<T>, LimitError> {
    word.map(parse).transpose().map(Option::flatten)
}

/// Those that are settled when a container is made.
#[derive(Debug, Args)]
pub struct FixedArgs {
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// Most bytes a second read from a disk
    #[arg(long, value_name = "PATH:RATE")]
    device_read_bps: Vec<String>,
    /// Most bytes a second written to a disk
    #[arg(long, value_name = "PATH:RATE")]
    device_write_bps: Vec<String>,
    /// Most requests a second to read from a disk
    #[arg(long, value_name = "PATH:RATE")]
    device_read_iops: Vec<String>,
    /// Most requests a second to write to a disk
    #[arg(long, value_name = "PATH:RATE")]
    device_write_iops: Vec<String>,
    /// Size of the container's writable disk, as size=20g (virtual machines)
    #[arg(long, value_name = "KEY=VALUE")]
    storage_opt: Vec<String>,
}

impl FixedArgs {
    /// Adds what is said here.
    pub fn complete(&self, resources: &mut Resources) -> Result<(), LimitError> {
        let shm = self.shm_size.as_deref().map(size::parse).transpose()?;
        resources.shm_bytes = shm.filter(|bytes| *bytes > 0);
        let words = [
            (Bound::ReadBps, &self.device_read_bps),
            (Bound::WriteBps, &self.device_write_bps),
            (Bound::ReadIops, &self.device_read_iops),
            (Bound::WriteIops, &self.device_write_iops),
        ];
        let words = words.into_iter().flat_map(|(bound, words)| words.iter().map(move |word| (bound, word)));
        let words = words.map(|(bound, word)| IoWord::parse(bound, word)).collect::<Result<Vec<_>, _>>()?;
        resources.io = limits::merge(words);
        Ok(())
    }

    pub fn storage_bytes(&self) -> Result<Option<u64>, anyhow::Error> {
        let mut bytes = None;
        for word in &self.storage_opt {
            match word.split_once('=') {
                Some(("size", size)) => bytes = Some(size::parse(size)?),
                _ => anyhow::bail!("--storage-opt \"{word}\" is not known; there is size=SIZE"),
            }
        }
        if let Some(bytes) = bytes.filter(|bytes| !disk::SIZES.contains(bytes)) {
            anyhow::bail!("--storage-opt size={bytes}: a disk has between 64m and 16t");
        }
        Ok(bytes)
    }
}
