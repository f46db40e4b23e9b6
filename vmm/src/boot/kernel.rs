//! Loading a guest kernel: an uncompressed ELF `vmlinux`, or a bzImage.
//!
//! Both are entered in 64-bit mode. The file may be anything: each field of it that decides where
//! bytes go is checked here before `linux-loader` copies them.

mod elf;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use linux_loader::loader::bootparam::setup_header;
use linux_loader::loader::{self, BzImage, Elf, KernelLoader};
use vm_memory::GuestAddress;

use crate::memory::{GuestMemory, layout};

pub use elf::ElfError;

/// `HdrS` at offset 0x202 (Linux Documentation/arch/x86/boot.rst).
const BZIMAGE_MAGIC: u32 = 0x5372_6448;
const BZIMAGE_HEADER: u64 = 0x1f1;
/// The first protocol version with `xloadflags`.
const PROTOCOL_2_12: u16 = 0x020c;
const LOADED_HIGH: u8 = 1;
/// `xloadflags`: the kernel has the 64-bit entry, [`BZIMAGE_ENTRY_64`] bytes into its code.
const XLF_KERNEL_64: u16 = 1;
const BZIMAGE_ENTRY_64: u64 = 0x200;
/// An ELF kernel's initrd may lie anywhere below (`initrd_addr_max` of the boot protocol).
const ELF_INITRD_LIMIT: u64 = 1 << 31;

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("The kernel is not a regular file")]
    NotAFile,
    #[error("Failed to read the kernel")]
    Read(#[source] io::Error),
    #[error("This is no kernel that can be booted: {0}; an uncompressed ELF vmlinux or a bzImage is needed")]
    Format(&'static str),
    #[error("The ELF kernel is damaged or for another machine")]
    Elf(#[from] ElfError),
    #[error(
        "The bzImage's boot protocol {0:#06x} has no 64-bit entry; Linux 3.8 for x86_64 or later is needed"
    )]
    Protocol(u16),
    #[error("The bzImage wants to be loaded at {0:#x}, outside the memory it may have")]
    Address(u64),
    #[error("The kernel needs the memory up to {needed:#x} and the machine has {available:#x}: give it more")]
    Memory { needed: u64, available: u64 },
    #[error("Failed to copy the kernel into the guest")]
    Load(#[source] loader::Error),
}

/// A kernel in guest memory.
#[derive(Debug)]
pub struct Kernel {
    /// Guest-physical address of the 64-bit entry point.
    pub entry: u64,
    /// End of what the kernel needs before it knows its memory map.
    pub end: u64,
    /// The initrd lies below.
    pub initrd_limit: u64,
    /// Of a bzImage, to be handed back to it in boot_params.
    pub setup_header: Option<setup_header>,
}

/// Loads whichever kind of kernel `file` is.
pub fn load(file: &mut File, memory: &GuestMemory, memory_bytes: u64) -> Result<Kernel, KernelError> {
    let metadata = file.metadata().map_err(KernelError::Read)?;
    if !metadata.is_file() {
        return Err(KernelError::NotAFile);
    }
    let mut start = [0u8; elf::HEADER];
    let read = file.read_at(&mut start, 0).map_err(KernelError::Read)?;
    match start {
        _ if read < start.len() => Err(KernelError::Format("it is shorter than an ELF header")),
        [0x7f, b'E', b'L', b'F', ..] => load_elf(file, metadata.len(), &start, memory, memory_bytes),
        [0x1f, 0x8b, ..] => Err(KernelError::Format("it is gzip-compressed")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(KernelError::Format("it is zstd-compressed")),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(KernelError::Format("it is xz-compressed")),
        _ => load_bzimage(file, memory, memory_bytes),
    }
}

fn load_elf(
    file: &mut File,
    file_size: u64,
    start: &[u8; elf::HEADER],
    memory: &GuestMemory,
    memory_bytes: u64,
) -> Result<Kernel, KernelError> {
    let image = elf::check(file, file_size, start)?;
    check_room(image.end, memory_bytes)?;
    Elf::load(memory, None, file, None).map_err(KernelError::Load)?;
    Ok(Kernel { entry: image.entry, end: image.end, initrd_limit: ELF_INITRD_LIMIT, setup_header: None })
}

fn load_bzimage(file: &mut File, memory: &GuestMemory, memory_bytes: u64) -> Result<Kernel, KernelError> {
    let mut header = setup_header::default();
    file.read_exact_at(vm_memory::ByteValued::as_mut_slice(&mut header), BZIMAGE_HEADER)
        .map_err(|_| KernelError::Format("it has neither an ELF nor a bzImage header"))?;
    let (magic, version, xloadflags) = (header.header, header.version, header.xloadflags);
    if magic != BZIMAGE_MAGIC {
        return Err(KernelError::Format("it has neither an ELF nor a bzImage header"));
    }
    if header.loadflags & LOADED_HIGH == 0 || version < PROTOCOL_2_12 || xloadflags & XLF_KERNEL_64 == 0 {
        return Err(KernelError::Protocol(version));
    }
    let address = header.pref_address;
    if !(layout::HIGH_MEMORY..layout::IDENTITY_MAPPED).contains(&address) {
        return Err(KernelError::Address(address));
    }
    // The decompressor works in place, in init_size bytes from where it was loaded.
    let end = address + u64::from(header.init_size);
    check_room(end, memory_bytes)?;
    let loaded = BzImage::load(memory, Some(GuestAddress(address)), file, None).map_err(KernelError::Load)?;
    let end = end.max(loaded.kernel_end);
    check_room(end, memory_bytes)?;
    Ok(Kernel {
        entry: address + BZIMAGE_ENTRY_64,
        end,
        initrd_limit: u64::from(header.initrd_addr_max),
        setup_header: loaded.setup_header,
    })
}

/// `end` is within memory, and within what the first page tables map.
fn check_room(end: u64, memory_bytes: u64) -> Result<(), KernelError> {
    if end > layout::IDENTITY_MAPPED {
        return Err(KernelError::Address(end));
    }
    match end <= memory_bytes {
        true => Ok(()),
        false => Err(KernelError::Memory { needed: end, available: memory_bytes }),
    }
}

#[cfg(test)]
mod tests;
