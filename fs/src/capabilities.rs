//! Which capabilities a process keeps, for good. They count in hull-fs' own user namespace only: towards what
//! belongs to ids mapped there, which is how owners and modes of shared files come out right.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// move_mount(2), mount_setattr(2), umount2(2).
pub const STAGER: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// To act for each user of the guest, whose kernel has checked what that user may. Neither MKNOD nor
/// DAC_READ_SEARCH, with which files can be opened by handle, past the shared folders.
pub const SERVER: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP);

#[derive(Debug, thiserror::Error)]
#[error("Failed to {action}")]
pub struct CapabilityError {
    action: &'static str,
    source: Errno,
}

/// Keeps these and cannot gain any; nobody may look into the process.
pub fn keep(kept: CapabilitySet) -> Result<(), CapabilityError> {
    let failed = |action| move |source| CapabilityError { action, source };
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // Behind the last one that this kernel knows (capabilities(7)).
            Err(Errno::INVAL) => break,
            result => result.map_err(failed("limit the capability bounding set"))?,
        }
    }
    clear_ambient_capability_set().map_err(failed("clear ambient capabilities"))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed("drop capabilities"))?;
    set_no_new_privs(true).map_err(failed("forbid new privileges"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("close /proc and ptrace to its user"))
}
