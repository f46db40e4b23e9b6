//! What CPUID tells the guest: what KVM can do on this host, minus what a container's machine has no
//! use for, plus the topology.
//!
//! Leaves after Intel SDM 2A (CPUID) and AMD APM 3, appendix E.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Leaf 1 ECX: nested VT-x, x2APIC, TSC-deadline timer, "there is a hypervisor".
const VMX: u32 = 1 << 5;
const X2APIC: u32 = 1 << 21;
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1 EDX: EBX\[23:16\] is valid.
const HTT: u32 = 1 << 28;
/// Leaf 0x8000_0001 ECX: cores are not threads, nested SVM, counters.
const CMP_LEGACY: u32 = 1 << 1;
const SVM: u32 = 1 << 2;
const PERFORMANCE_COUNTERS: u32 = 0b11 << 23 | 1 << 28;
/// Leaf 7 EBX: enclaves.
const SGX: u32 = 1 << 2;
/// Leaf 0xb ECX: kind of the level.
const LEVEL_SMT: u32 = 1 << 8;
const LEVEL_CORE: u32 = 2 << 8;

/// Filters what KVM supports, once for all vCPUs.
pub fn filter(cpuid: &mut CpuId, host_has_tsc_deadline: bool) {
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ecx = entry.ecx & !VMX | X2APIC | HYPERVISOR;
                // Not in KVM's answer on all hosts that have it; without it a guest spends 216
                // million instructions on calibrating the APIC timer.
                if host_has_tsc_deadline {
                    entry.ecx |= TSC_DEADLINE;
                }
            }
            7 if entry.index == 0 => entry.ebx &= !SGX,
            // Performance counters, enclaves, Intel's newer and AMD's newer topology leaf, counters.
            0xa | 0x12 | 0x1f | 0x8000_0022 | 0x8000_0026 => clear(entry),
            0x8000_0001 => entry.ecx &= !(SVM | PERFORMANCE_COUNTERS),
            // Nested SVM's details.
            0x8000_000a => clear(entry),
            _ => {}
        }
    }
}

/// Makes vCPU `id` one core of a socket of `count` cores without hyperthreads.
pub fn set_topology(cpuid: &mut CpuId, id: u8, count: u8) {
    let (apic_id, cores) = (u32::from(id), u32::from(count));
    let id_space = cores.next_power_of_two();
    let id_bits = id_space.trailing_zeros();
    let is_amd = cpuid.as_slice().iter().any(|entry| entry.function == 0x8000_001e);
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ebx = entry.ebx & 0x0000_ffff | apic_id << 24 | id_space << 16;
                set_bit(&mut entry.edx, HTT, cores > 1);
            }
            4 | 0x8000_001d if entry.eax & 0x1f != 0 => set_cache_sharing(entry, id_space),
            0xb => {
                let (bits, units, level) = match entry.index {
                    0 => (0, 1, LEVEL_SMT),
                    1 => (id_bits, cores, LEVEL_CORE),
                    _ => (0, 0, 0),
                };
                (entry.eax, entry.ebx, entry.edx) = (bits, units, apic_id);
                entry.ecx = level | entry.index & 0xff;
            }
            0x8000_0001 if is_amd => set_bit(&mut entry.ecx, CMP_LEGACY, cores > 1),
            0x8000_0008 if is_amd => entry.ecx = entry.ecx & !0xf0ff | (cores - 1) | id_bits << 12,
            0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (apic_id, apic_id, 0),
            _ => {}
        }
    }
    add_core_level(cpuid, apic_id, cores, id_bits);
}

/// KVM answers with one level of leaf 0xb only on hosts where the rest is empty.
fn add_core_level(cpuid: &mut CpuId, apic_id: u32, cores: u32, id_bits: u32) {
    let levels = cpuid.as_slice().iter().filter(|entry| entry.function == 0xb);
    let Some(first) = levels.clone().find(|entry| entry.index == 0).copied() else { return };
    if levels.clone().any(|entry| entry.index == 1) {
        return;
    }
    // Fails only when the table is full; then the guest takes the APIC id of leaf 1.
    let _ = cpuid.push(kvm_cpuid_entry2 {
        index: 1,
        eax: id_bits,
        ebx: cores,
        ecx: LEVEL_CORE | 1,
        edx: apic_id,
        ..first
    });
}

/// Leaf 4 and 0x8000_001d EAX: \[7:5\] level, \[25:14\] CPUs that share it, \[31:26\] cores a package.
fn set_cache_sharing(entry: &mut kvm_cpuid_entry2, id_space: u32) {
    let level = entry.eax >> 5 & 7;
    let sharing = if level >= 3 { id_space - 1 } else { 0 };
    entry.eax = entry.eax & 0x3fff | sharing << 14;
    if entry.function == 4 {
        entry.eax |= (id_space - 1) << 26;
    }
}

fn clear(entry: &mut kvm_cpuid_entry2) {
    (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
}

fn set_bit(register: &mut u32, bit: u32, on: bool) {
    *register = if on { *register | bit } else { *register & !bit };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(leaves: &[(u32, u32)]) -> CpuId {
        let entries = leaves
            .iter()
            .map(|(function, index)| kvm_cpuid_entry2 {
                function: *function,
                index: *index,
                eax: u32::MAX,
                ebx: u32::MAX,
                ecx: u32::MAX,
                edx: u32::MAX,
                ..Default::default()
            })
            .collect::<Vec<_>>();
        CpuId::from_entries(&entries).unwrap()
    }

    fn leaf(cpuid: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
        *cpuid.as_slice().iter().find(|e| (e.function, e.index) == (function, index)).unwrap()
    }

    #[test]
    fn nested_virtualisation_and_counters_are_hidden() {
        let mut cpuid = table(&[(1, 0), (0xa, 0), (0x8000_0001, 0), (0x8000_000a, 0)]);
        filter(&mut cpuid, true);
        assert_eq!(leaf(&cpuid, 1, 0).ecx & (VMX | TSC_DEADLINE), TSC_DEADLINE);
        assert_eq!(leaf(&cpuid, 0x8000_0001, 0).ecx & (SVM | PERFORMANCE_COUNTERS), 0);
        assert_eq!(leaf(&cpuid, 0xa, 0).eax, 0);
        assert_eq!(leaf(&cpuid, 0x8000_000a, 0).edx, 0);
    }

    #[test]
    fn each_vcpu_has_its_apic_id_in_every_topology_leaf() {
        for (id, count) in [(0, 1), (2, 3), (63, 64)] {
            let mut cpuid = table(&[(1, 0), (0xb, 0), (0x8000_001e, 0)]);
            set_topology(&mut cpuid, id, count);
            assert_eq!(leaf(&cpuid, 1, 0).ebx >> 24, u32::from(id));
            assert_eq!(leaf(&cpuid, 0x8000_001e, 0).eax, u32::from(id));
            for level in [0, 1] {
                assert_eq!(leaf(&cpuid, 0xb, level).edx, u32::from(id));
            }
            assert_eq!(leaf(&cpuid, 0xb, 1).ebx, u32::from(count));
            assert!(u32::from(id) >> leaf(&cpuid, 0xb, 1).eax == 0, "one socket");
        }
    }

    #[test]
    fn only_the_last_level_cache_is_shared() {
        let mut cpuid = CpuId::from_entries(&[
            kvm_cpuid_entry2 { function: 4, index: 0, eax: 0xfc00_c021, ..Default::default() },
            kvm_cpuid_entry2 { function: 4, index: 3, eax: 0xfc00_c063, ..Default::default() },
        ])
        .unwrap();
        set_topology(&mut cpuid, 0, 4);
        assert_eq!(leaf(&cpuid, 4, 0).eax >> 14 & 0xfff, 0);
        assert_eq!(leaf(&cpuid, 4, 3).eax >> 14 & 0xfff, 3);
        assert_eq!(leaf(&cpuid, 4, 3).eax >> 26, 3);
    }
}
