//! The state in which a vCPU is entered at a kernel's 64-bit entry point: segments, page tables,
//! control registers (Linux Documentation/arch/x86/boot.rst, "64-bit boot protocol").

use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::memory::{GuestMemory, layout};

const PAGE: u64 = 4096;
const HUGE_PAGE: u64 = 2 << 20;

/// Page table entry bits (Intel SDM 3A, 4.5): present, writable, accessed, dirty.
const PTE_TABLE: u64 = 0b0010_0011;
/// The same, dirty, and a 2 MiB page.
const PTE_HUGE: u64 = 0b1110_0011;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// Bit 1 of RFLAGS is always set; interrupts are off.
const RFLAGS: u64 = 2;

/// Flat segments as the boot protocol numbers them: `__BOOT_CS` 0x10, `__BOOT_DS` 0x18.
const CODE: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;
/// A busy 64-bit TSS of no size: VT-x refuses to enter a guest without one.
const TASK: u64 = 0x008f_8b00_0000_ffff;
const GDT_ENTRIES: [u64; 5] = [0, 0, CODE, DATA, TASK];

/// Writes the GDT and page tables that map the first GiB onto itself.
pub fn write_tables(memory: &GuestMemory) -> Result<(), GuestMemoryError> {
    let (pml4, pdpt, pd) = (layout::PAGE_TABLES, layout::PAGE_TABLES + PAGE, layout::PAGE_TABLES + 2 * PAGE);
    for (index, entry) in (0..).zip(GDT_ENTRIES) {
        memory.write_obj(entry, GuestAddress(layout::GDT + 8 * index))?;
    }
    memory.write_obj(pdpt | PTE_TABLE, GuestAddress(pml4))?;
    memory.write_obj(pd | PTE_TABLE, GuestAddress(pdpt))?;
    let mut entries = [0u8; 4096];
    for (entry, page) in entries.chunks_exact_mut(8).zip(0..) {
        entry.copy_from_slice(&((page * HUGE_PAGE) | PTE_HUGE).to_le_bytes());
    }
    memory.write_slice(&entries, GuestAddress(pd))
}

/// General registers: at `entry`, with `boot_params` in RSI and a stack that is not used.
pub fn entry_registers(entry: u64, boot_params: u64) -> kvm_regs {
    kvm_regs { rip: entry, rsi: boot_params, rsp: boot_params, rflags: RFLAGS, ..Default::default() }
}

/// Turns a vCPU's reset state into 64-bit mode with paging, flat segments and no IDT.
pub fn long_mode(reset: kvm_sregs) -> kvm_sregs {
    let data = segment(3);
    let limit = u16::try_from(size_of_val(&GDT_ENTRIES) - 1).unwrap_or(u16::MAX);
    kvm_sregs {
        cs: segment(2),
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        tr: segment(4),
        gdt: kvm_dtable { base: layout::GDT, limit, ..Default::default() },
        idt: kvm_dtable::default(),
        cr0: CR0_PE | CR0_ET | CR0_PG,
        cr3: layout::PAGE_TABLES,
        cr4: CR4_PAE,
        efer: EFER_LME | EFER_LMA,
        ..reset
    }
}

/// The cached form of entry `index` of the GDT.
fn segment(index: u8) -> kvm_segment {
    let entry = GDT_ENTRIES.get(usize::from(index)).copied().unwrap_or(0);
    let bits = |shift: u32, mask: u8| u8::try_from((entry >> shift) & u64::from(mask)).unwrap_or(0);
    kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector: u16::from(index) * 8,
        type_: bits(40, 0xf),
        s: bits(44, 1),
        dpl: bits(45, 3),
        present: bits(47, 1),
        avl: bits(52, 1),
        l: bits(53, 1),
        db: bits(54, 1),
        g: bits(55, 1),
        unusable: 0,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    #[test]
    fn code_segment_is_64_bit_and_data_is_writable() {
        let (code, data) = (segment(2), segment(3));
        assert_eq!((code.selector, code.type_, code.l, code.db, code.present), (0x10, 0xb, 1, 0, 1));
        assert_eq!((data.selector, data.type_, data.l, data.s), (0x18, 3, 0, 1));
        assert_eq!((segment(4).type_, segment(4).s), (0xb, 0));
    }

    #[test]
    fn last_page_of_the_first_gib_maps_onto_itself() {
        let memory = memory::allocate(1 << 20).unwrap();
        write_tables(&memory).unwrap();
        let last: u64 = memory.read_obj(GuestAddress(layout::PAGE_TABLES + 2 * PAGE + 511 * 8)).unwrap();
        assert_eq!(last & !0xfff, (1 << 30) - HUGE_PAGE);
    }
}
