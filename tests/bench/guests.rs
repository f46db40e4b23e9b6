//! The smallest guests, byte by byte, so that no assembler is needed.

use hull_tests::cpio::{self, File};

/// Where the kernel lies and starts: above the first MiB, where no VMM keeps tables.
const LOAD_ADDRESS: u32 = 0x0100_0000;
const ELF_HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
/// XEN_ELFNOTE_PHYS32_ENTRY: QEMU's microvm starts an ELF kernel only there (PVH).
const PHYS32_ENTRY: u32 = 18;

/// Means the same in 32-bit mode, where PVH enters, and in 64-bit mode:
/// mov dx, 0x3f8; mov al, '\n'; out dx, al; hlt; jmp to the hlt. (hull-vmm writes its boot log line by line.)
const NANO: [u8; 10] = [0x66, 0xba, 0xf8, 0x03, 0xb0, b'\n', 0xee, 0xf4, 0xeb, 0xfd];

/// A kernel whose only work is one store to the serial port.
pub(crate) fn nano_kernel() -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4, 4, PHYS32_ENTRY] {
        note.extend(u32::to_le_bytes(word));
    }
    note.extend(b"Xen\0");
    note.extend(LOAD_ADDRESS.to_le_bytes());
    let headers = ELF_HEADER + 2 * PROGRAM_HEADER;
    let code_at = headers + note.len() as u64;

    let mut file = elf_header(u64::from(LOAD_ADDRESS), 2);
    // PT_LOAD, readable and executable; PT_NOTE.
    file.extend(program_header(1, 5, code_at, u64::from(LOAD_ADDRESS), NANO.len() as u64));
    file.extend(program_header(4, 4, headers, 0, note.len() as u64));
    file.extend(note);
    file.extend(NANO);
    file
}

/// An init (PID 1): write(1, "READY\n", 6), then pause() for ever.
fn init() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let mut code = Vec::new();
    code.extend([0xb8, 1, 0, 0, 0]); // mov eax, 1 (write)
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
    code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0]); // lea rsi, [rip + 16]: the text below
    code.extend([0xba, 6, 0, 0, 0]); // mov edx, 6
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 34, 0, 0, 0]); // mov eax, 34 (pause)
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xeb, 0xf7]); // jmp to the mov before
    code.extend(b"READY\n");
    let headers = ELF_HEADER + PROGRAM_HEADER;
    let mut file = elf_header(BASE + headers, 1);
    file.extend(program_header(1, 5, 0, BASE, headers + code.len() as u64));
    file.extend(code);
    file
}

fn elf_header(entry: u64, program_headers: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend(2u16.to_le_bytes()); // ET_EXEC
    header.extend(62u16.to_le_bytes()); // EM_X86_64
    header.extend(1u32.to_le_bytes());
    header.extend(entry.to_le_bytes());
    header.extend(ELF_HEADER.to_le_bytes()); // program headers follow
    header.extend(0u64.to_le_bytes()); // no section headers
    header.extend(0u32.to_le_bytes());
    for half in [64, 56, program_headers, 64, 0, 0] {
        header.extend(half.to_le_bytes());
    }
    header
}

fn program_header(kind: u32, flags: u32, offset: u64, address: u64, size: u64) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(kind.to_le_bytes());
    header.extend(flags.to_le_bytes());
    for word in [offset, address, address, size, size, 4] {
        header.extend(word.to_le_bytes());
    }
    header
}

/// An initramfs with that init, and the console for its stdout.
pub(crate) fn initrd() -> Vec<u8> {
    let console = File::character_device("dev/console", (5, 1));
    cpio::archive(&[File::folder("dev"), console, File::program("init", &init())])
}
