//! Model-specific registers that a PC's firmware sets and KVM's reset state does not have.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;
use vmm_sys_util::errno;

/// Intel SDM 4, table 2-2.
const IA32_MISC_ENABLE: u32 = 0x1a0;
/// Without it Linux on Intel takes `rep movs` and `rep stos` for slow.
const FAST_STRINGS: u64 = 1 << 0;
/// There is no performance monitoring by branch traces or samples.
const BTS_UNAVAILABLE: u64 = 1 << 11;
const PEBS_UNAVAILABLE: u64 = 1 << 12;

/// Memory type where no range says otherwise: write-back; MTRRs are on (Intel SDM 3A, 12.11.2.1).
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
const WRITE_BACK: u64 = 6;
const MTRRS_ENABLED: u64 = 1 << 11;

/// Sets them on one vCPU.
pub fn set(vcpu: &VcpuFd) -> Result<(), errno::Error> {
    let entries = [
        entry(IA32_MISC_ENABLE, FAST_STRINGS | BTS_UNAVAILABLE | PEBS_UNAVAILABLE),
        entry(IA32_MTRR_DEF_TYPE, WRITE_BACK | MTRRS_ENABLED),
    ];
    let invalid = |_| errno::Error::new(libc::EINVAL);
    let count = vcpu.set_msrs(&Msrs::from_entries(&entries).map_err(invalid)?)?;
    if count == entries.len() { Ok(()) } else { Err(errno::Error::new(libc::EINVAL)) }
}

fn entry(index: u32, data: u64) -> kvm_msr_entry {
    kvm_msr_entry { index, data, ..Default::default() }
}
