//! The nano guest: 64-bit mode in one page of code, its tables in the pages before it.

use std::arch::global_asm;

use kvm_bindings::{CpuId, kvm_dtable, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::arch::paging;
use crate::kvm::{KvmError, refused};
use crate::memory::GuestMemory;

/// Guest-physical layout. GDT and page tables come from [`paging`]; the rest is the probe's own.
pub const MEMORY: u64 = 2 << 20;
const IDT: u64 = 0x2000;
const DATA: u64 = 0x3000;
const STACK_TOP: u64 = 0x5000;
const CODE: u64 = 0x6000;

/// Where the guest notes the step it is about to take.
pub const STEP: u64 = DATA;
/// Written to when all is done.
pub const DONE_PORT: u16 = 0x80;

/// What each step tries, by the number that the guest notes.
pub const STEPS: [&str; 12] = [
    "the first instruction",
    "lock cmpxchg16b",
    "wrmsr",
    "invlpg",
    "int3",
    "fninit",
    "popcnt",
    "xsetbv, xgetbv and xsave",
    "stac and clac",
    "rdtscp",
    "cpuid",
    "out",
];

/// Vector of `int3`, and the bytes of a 64-bit interrupt gate (Intel SDM 3A, 6.14.1).
const BREAKPOINT: u64 = 3;
const GATE: u64 = 16;
const INTERRUPT_GATE: u64 = 0x8e;
const KERNEL_CODE: u64 = 0x10;

const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXSAVE: u64 = 1 << 18;

/// Features whose instructions exist only where CPUID says so, as the guest finds them in EDI.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Offered {
    popcnt: bool,
    xsave: bool,
    smap: bool,
    rdtscp: bool,
    cmpxchg16b: bool,
}

impl Offered {
    pub fn from_cpuid(cpuid: &CpuId) -> Self {
        let has = |function: u32, select: fn(&kvm_bindings::kvm_cpuid_entry2) -> u32, bit: u32| {
            cpuid
                .as_slice()
                .iter()
                .any(|e| e.function == function && e.index == 0 && select(e) >> bit & 1 == 1)
        };
        Self {
            popcnt: has(1, |e| e.ecx, 23),
            xsave: has(1, |e| e.ecx, 26),
            smap: has(7, |e| e.ebx, 20),
            rdtscp: has(0x8000_0001, |e| e.edx, 27),
            cmpxchg16b: has(1, |e| e.ecx, 13),
        }
    }

    fn bits(&self) -> u64 {
        [self.popcnt, self.xsave, self.smap, self.rdtscp, self.cmpxchg16b]
            .iter()
            .zip(0..)
            .map(|(offered, bit)| u64::from(*offered) << bit)
            .sum()
    }
}

// Position-independent but for the addresses of DATA; EDI holds `Offered::bits`.
global_asm!(
    ".pushsection .rodata.hull_probe, \"a\"",
    ".globl hull_probe_start, hull_probe_breakpoint, hull_probe_end",
    "hull_probe_start:",
    // cmpxchg16b: SLUB's free lists.
    "mov byte ptr [{step}], 1",
    "test edi, 16",
    "jz 2f",
    "lock cmpxchg16b xmmword ptr [{data} + 0x40]",
    "2:",
    // wrmsr: every kernel's set-up; this one is IA32_KERNEL_GS_BASE.
    "mov byte ptr [{step}], 2",
    "mov ecx, 0xc0000102",
    "xor eax, eax",
    "xor edx, edx",
    "wrmsr",
    // invlpg: memory management.
    "mov byte ptr [{step}], 3",
    "invlpg [{data}]",
    // int3 through an IDT: text patching tests it at boot.
    "mov byte ptr [{step}], 4",
    "int3",
    // fninit: FPU set-up.
    "mov byte ptr [{step}], 5",
    "fninit",
    // popcnt: bitmaps, scheduler.
    "mov byte ptr [{step}], 6",
    "test edi, 1",
    "jz 3f",
    "popcnt eax, edi",
    "3:",
    // xsetbv, xgetbv, xsave: each context switch.
    "mov byte ptr [{step}], 7",
    "test edi, 2",
    "jz 4f",
    "xor ecx, ecx",
    "xor edx, edx",
    "mov eax, 3",
    "xsetbv",
    "xgetbv",
    "xsave [{data} + 0x400]",
    "4:",
    // stac, clac: each copy from or to user space.
    "mov byte ptr [{step}], 8",
    "test edi, 4",
    "jz 5f",
    "stac",
    "clac",
    "5:",
    // rdtscp: clocks.
    "mov byte ptr [{step}], 9",
    "test edi, 8",
    "jz 6f",
    "rdtscp",
    "6:",
    "mov byte ptr [{step}], 10",
    "xor eax, eax",
    "xor ecx, ecx",
    "cpuid",
    "mov byte ptr [{step}], 11",
    "mov al, 1",
    "out {done}, al",
    "7: hlt",
    "jmp 7b",
    "hull_probe_breakpoint:",
    "iretq",
    "hull_probe_end:",
    ".popsection",
    data = const DATA,
    step = const STEP,
    done = const DONE_PORT,
);

unsafe extern "C" {
    static hull_probe_start: u8;
    static hull_probe_breakpoint: u8;
    static hull_probe_end: u8;
}

/// The code above, and the offset of its breakpoint handler.
fn code() -> (&'static [u8], u64) {
    let (start, handler, end) =
        (&raw const hull_probe_start, &raw const hull_probe_breakpoint, &raw const hull_probe_end);
    // SAFETY: the three labels lie in this order in one read-only section of this binary.
    unsafe {
        let len = end.addr() - start.addr();
        (std::slice::from_raw_parts(start, len), (handler.addr() - start.addr()) as u64)
    }
}

/// Writes code, IDT, GDT and page tables.
pub fn write(memory: &GuestMemory) -> Result<(), GuestMemoryError> {
    let (code, handler) = code();
    memory.write_slice(code, GuestAddress(CODE))?;
    paging::write_tables(memory)?;
    let target = CODE + handler;
    let gate = target & 0xffff | KERNEL_CODE << 16 | INTERRUPT_GATE << 40 | (target >> 16) << 48;
    memory.write_obj(gate, GuestAddress(IDT + GATE * BREAKPOINT))
}

/// Points the vCPU at the code.
pub fn set_registers(vcpu: &VcpuFd, offered: &Offered) -> Result<(), KvmError> {
    let reset = vcpu.get_sregs().map_err(refused("read a vCPU's system registers"))?;
    let mut sregs = paging::long_mode(reset);
    sregs.idt = kvm_dtable { base: IDT, limit: 0xfff, ..Default::default() };
    sregs.cr4 |= CR4_OSFXSR | if offered.xsave { CR4_OSXSAVE } else { 0 };
    sregs.ldt = kvm_segment { unusable: 1, ..Default::default() };
    vcpu.set_sregs(&sregs).map_err(refused("set a vCPU's system registers"))?;
    let registers = kvm_regs { rsp: STACK_TOP, rdi: offered.bits(), ..paging::entry_registers(CODE, 0) };
    vcpu.set_regs(&registers).map_err(refused("set a vCPU's registers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_fits_its_page_and_ends_in_its_handler() {
        let (code, handler) = code();
        assert!(code.len() < 0x1000);
        assert_eq!(&code[usize::try_from(handler).unwrap()..], [0x48, 0xcf], "iretq");
    }

    #[test]
    fn nothing_overlaps() {
        const { assert!(CODE + 0x1000 <= crate::memory::layout::PAGE_TABLES) }
        const { assert!(STACK_TOP <= CODE && DATA + 0x1000 < STACK_TOP && IDT + 0x1000 <= DATA) }
    }
}
