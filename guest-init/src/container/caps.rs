//! Capabilities: their names, and giving up those a container does not have. capabilities(7)

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities,
};

use super::spec::SpecError;
use crate::error::{Step, StepError};

/// By number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// All that the agent itself has: in a guest, every capability there is.
pub fn own() -> Result<CapabilitySet, StepError> {
    rustix::thread::capabilities(None).map(|sets| sets.permitted).step("read the capabilities")
}

/// Names like `CAP_CHOWN` to a set.
pub fn parse(names: &[String]) -> Result<CapabilitySet, SpecError> {
    names.iter().try_fold(CapabilitySet::empty(), |set, name| {
        let number = name.strip_prefix("CAP_").and_then(|bare| NAMES.iter().position(|known| *known == bare));
        let Some(number) = number else {
            return Err(SpecError::Word { field: "process.capabilities", word: name.clone() });
        };
        Ok(set | CapabilitySet::from_bits_retain(1 << number))
    })
}

/// Takes everything but `kept` out of the bounding set. Needs CAP_SETPCAP, so it comes first.
pub fn bound(kept: CapabilitySet) -> Result<(), StepError> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => (),
            // Past the last one this kernel knows.
            Err(Errno::INVAL) => break,
            Err(cause) => return Err(cause).step(format_args!("drop capability {number}")),
        }
    }
    Ok(())
}

/// Sets what the process holds after its user is set: for root the whole list, for others nothing.
/// Nothing is inheritable or ambient: an exec'd file gets what it has by itself, within the bounds.
pub fn hold(list: CapabilitySet, uid: u32) -> Result<(), StepError> {
    let held = if uid == 0 { list } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).step("set the capabilities")?;
    clear_ambient_capability_set().step("clear the ambient capabilities")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_names_have_their_kernel_numbers() {
        let parsed = parse(&["CAP_NET_RAW".into(), "CAP_CHECKPOINT_RESTORE".into()]).unwrap();
        assert_eq!(parsed, CapabilitySet::NET_RAW | CapabilitySet::CHECKPOINT_RESTORE);
        assert!(parse(&["NET_RAW".into()]).is_err());
    }
}
