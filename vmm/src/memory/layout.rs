//! The guest's physical address space.
//!
//! ```text
//! 0          page 0: BIOS data area (warm-boot flag)
//! 0x500      GDT          0x7000  boot_params ("zero page")    0x8000  command line
//! 0x9000     page tables: PML4, PDPT, PD
//! 0x9_fc00   end of conventional memory     0xf_0000  MP table
//! 0x10_0000  kernel or above, initrd, then free memory
//! MMIO_GAP   device registers, IOAPIC, LAPIC          FOUR_GIB  the rest of memory
//! ```

/// Warm-boot flag of the BIOS data area: what the guest leaves here says why it reset the machine.
pub const WARM_BOOT_FLAG: u64 = 0x472;
/// Global descriptor table for the 64-bit entry.
pub const GDT: u64 = 0x500;
/// `struct boot_params` (Linux Documentation/arch/x86/zero-page.rst).
pub const BOOT_PARAMS: u64 = 0x7000;
/// Kernel command line, NUL-terminated.
pub const CMDLINE: u64 = 0x8000;
/// Bytes for the command line with its NUL: COMMAND_LINE_SIZE of x86 Linux, and one page less than
/// what lies between it and the page tables.
pub const CMDLINE_MAX: usize = 2048;
/// Top-level page table; the two below follow it.
pub const PAGE_TABLES: u64 = 0x9000;
/// End of conventional memory, where a PC's extended BIOS data area would start.
pub const CONVENTIONAL_END: u64 = 0x9_fc00;
/// MP floating pointer and table, in the BIOS area that the kernel scans (MP 1.4, chapter 4).
pub const MP_TABLE: u64 = 0xf_0000;
/// Bytes from [`MP_TABLE`] to the end of the BIOS area.
pub const MP_TABLE_MAX: usize = 0x1_0000;
/// Where memory goes on behind the BIOS area; kernels lie here or above.
pub const HIGH_MEMORY: u64 = 0x10_0000;
/// Kernels end below: the first page tables map this much.
pub const IDENTITY_MAPPED: u64 = 1 << 30;

/// Devices from here to 4 GiB; memory below, and above 4 GiB.
pub const MMIO_GAP: u64 = 0xd000_0000;
/// virtio-mmio register blocks, one after the other.
pub const VIRTIO_MMIO: u64 = MMIO_GAP;
/// Bytes of one virtio-mmio register block.
pub const VIRTIO_MMIO_SIZE: u64 = 0x1000;
pub const IOAPIC: u64 = 0xfec0_0000;
pub const IOAPIC_SIZE: u64 = 0x1000;
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// Three pages that KVM wants on Intel hosts without unrestricted guests (KVM_SET_TSS_ADDR).
pub const KVM_TSS: u64 = 0xfffb_d000;
pub const FOUR_GIB: u64 = 1 << 32;

/// Guest-physical runs of memory for a guest of `bytes`: all below [`MMIO_GAP`], or split around it.
pub fn runs(bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let low = bytes.min(MMIO_GAP);
    let high = bytes - low;
    [(0, low), (FOUR_GIB, high)].into_iter().filter(|(_, len)| *len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_larger_than_the_gap_continues_at_four_gib() {
        assert_eq!(runs(128 << 20).collect::<Vec<_>>(), [(0, 128 << 20)]);
        assert_eq!(runs(MMIO_GAP).collect::<Vec<_>>(), [(0, MMIO_GAP)]);
        assert_eq!(runs(MMIO_GAP + 4096).collect::<Vec<_>>(), [(0, MMIO_GAP), (FOUR_GIB, 4096)]);
    }
}
