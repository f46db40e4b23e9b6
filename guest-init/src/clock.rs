//! What a fresh guest lacks and the host has: the time, and randomness.

use std::ffi::c_ulong;
use std::os::fd::AsRawFd;

use rustix::fs::{Mode, OFlags};
use rustix::time::{ClockId, Timespec, clock_settime};

use crate::error::{Step, StepError};
use crate::protocol::ErrorKind;
use crate::sys;

/// `_IOW('R', 0x03, int[2])` of linux/random.h.
const RNDADDENTROPY: c_ulong = 0x4008_5203;
/// More at once is of no use: the pool is smaller.
const MAX_ENTROPY: usize = 512;

/// Sets the wall clock, in nanoseconds since 1970.
pub fn set(nanoseconds: u64) -> Result<(), StepError> {
    let out_of_range = |_| StepError::new(ErrorKind::Invalid, "clock_ns: out of range");
    let time = Timespec {
        tv_sec: i64::try_from(nanoseconds / 1_000_000_000).map_err(out_of_range)?,
        tv_nsec: i64::try_from(nanoseconds % 1_000_000_000).map_err(out_of_range)?,
    };
    clock_settime(ClockId::Realtime, time).step("set the clock")
}

/// `struct rand_pool_info` of linux/random.h with its bytes.
#[repr(C)]
struct PoolInfo {
    entropy_bits: libc::c_int,
    size: libc::c_int,
    bytes: [u8; MAX_ENTROPY],
}

/// Feeds the random pool and credits all of it. random(4)
pub fn add_entropy(bytes: &[u8]) -> Result<(), StepError> {
    let too_long = || StepError::new(ErrorKind::Invalid, format!("entropy: more than {MAX_ENTROPY} bytes"));
    let size = libc::c_int::try_from(bytes.len())
        .ok()
        .filter(|_| bytes.len() <= MAX_ENTROPY)
        .ok_or_else(too_long)?;
    let mut info = PoolInfo { entropy_bits: size * 8, size, bytes: [0; MAX_ENTROPY] };
    info.bytes.iter_mut().zip(bytes).for_each(|(slot, &byte)| *slot = byte);
    let random = rustix::fs::open("/dev/urandom", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .step("open /dev/urandom")?;
    // SAFETY: the kernel reads `size` bytes behind the two numbers, which `info` has.
    let result = unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY, &raw const info) };
    if result < 0 { Err(sys::last_errno()) } else { Ok(()) }.step("add entropy to the random pool")
}
