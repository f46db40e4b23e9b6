//! The system call filter: the profile compiled to one BPF program.
//!
//! The program searches for the call's number in a balanced tree of ranges, some ten steps deep. When
//! a filter is loaded the kernel runs it once for each number to learn which are always allowed
//! (seccomp_cache_prepare); with a list of comparisons that alone would take longer than the mounts.

mod compile;
mod profile;

use std::ffi::c_ulong;

use rustix::thread::CapabilitySet;

use self::compile::{Rule, compile};
use self::profile::{ALWAYS, LAST, WITH_CAPABILITY};
use crate::error::{Step, StepError};

/// Docker's default list, for a container with these capabilities.
pub fn default_program(capabilities: CapabilitySet) -> Vec<libc::sock_filter> {
    compile(&rules(capabilities))
}

/// Puts the filter on this process, for good. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn load(program: &mut [libc::sock_filter]) -> Result<(), StepError> {
    let what = "load the seccomp filter";
    let len = u16::try_from(program.len()).map_err(|_| StepError::setup("The seccomp filter is too long"))?;
    let header = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    let no_flags: c_ulong = 0;
    // SAFETY: `header` describes `program`, and both live until the kernel has copied them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, no_flags, &raw const header)
    };
    if result < 0 { Err(crate::sys::last_errno()).step(what) } else { Ok(()) }
}

/// What happens to each call, by number.
fn rules(capabilities: CapabilitySet) -> Vec<Rule> {
    let mut rules = vec![Rule::Deny; usize::try_from(LAST).unwrap_or(0) + 1];
    let mut set = |number: libc::c_long, rule: Rule| {
        if let Some(slot) = usize::try_from(number).ok().and_then(|number| rules.get_mut(number)) {
            *slot = rule;
        }
    };
    ALWAYS.iter().for_each(|&number| set(number, Rule::Allow));
    set(libc::SYS_socket, Rule::NoVsock);
    set(libc::SYS_personality, Rule::Personality);
    set(libc::SYS_clone, Rule::NoNamespaces);
    // Its flags lie behind a pointer, where no filter can look: programs fall back to clone.
    set(libc::SYS_clone3, Rule::Absent);
    for (capability, numbers) in WITH_CAPABILITY {
        if capabilities.contains(*capability) {
            numbers.iter().for_each(|&number| set(number, Rule::Allow));
        }
    }
    rules
}

#[cfg(test)]
mod tests;
