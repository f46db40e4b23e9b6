//! `boot_params`, by which a loader tells Linux of its memory, command line and initrd
//! (Linux Documentation/arch/x86/{boot,zero-page}.rst).

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::boot::initrd::Initrd;
use crate::boot::{Cmdline, Kernel};
use crate::memory::{GuestMemory, layout};

const E820_RAM: u32 = 1;
const BOOT_SECTOR_MAGIC: u16 = 0xaa55;
const SETUP_HEADER_MAGIC: u32 = 0x5372_6448;
/// A loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;
const KERNEL_ALIGNMENT: u32 = 0x20_0000;

/// Writes the command line and boot_params.
pub fn write_boot_params(
    memory: &GuestMemory,
    memory_bytes: u64,
    kernel: &Kernel,
    cmdline: &Cmdline,
    initrd: Option<Initrd>,
) -> Result<(), GuestMemoryError> {
    // Guest memory starts as zeros, so the NUL is there.
    memory.write_slice(cmdline.as_str().as_bytes(), GuestAddress(layout::CMDLINE))?;
    let mut params = boot_params { hdr: kernel.setup_header.unwrap_or(bare_header()), ..Default::default() };
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.cmd_line_ptr = u32::try_from(layout::CMDLINE).unwrap_or(0);
    if let Some(Initrd { start, size }) = initrd {
        params.hdr.ramdisk_image = start;
        params.hdr.ramdisk_size = size;
    }
    let map = memory_map(memory_bytes);
    for (entry, (addr, size)) in params.e820_table.iter_mut().zip(map) {
        *entry = boot_e820_entry { addr, size, r#type: E820_RAM };
        params.e820_entries += 1;
    }
    memory.write_obj(params, GuestAddress(layout::BOOT_PARAMS))
}

/// For an ELF kernel, which has no header of its own.
fn bare_header() -> setup_header {
    setup_header {
        boot_flag: BOOT_SECTOR_MAGIC,
        header: SETUP_HEADER_MAGIC,
        kernel_alignment: KERNEL_ALIGNMENT,
        ..Default::default()
    }
}

/// The memory Linux may use: all there is but the BIOS area.
fn memory_map(memory_bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    layout::runs(memory_bytes)
        .flat_map(|(start, len)| match start {
            0 => [(0, layout::CONVENTIONAL_END), (layout::HIGH_MEMORY, len - layout::HIGH_MEMORY)],
            _ => [(start, len), (0, 0)],
        })
        .filter(|(_, len)| *len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    #[test]
    fn memory_map_leaves_out_the_bios_area_and_the_device_gap() {
        let map = memory_map(layout::MMIO_GAP + (1 << 30)).collect::<Vec<_>>();
        let low = (layout::HIGH_MEMORY, layout::MMIO_GAP - layout::HIGH_MEMORY);
        assert_eq!(map, [(0, layout::CONVENTIONAL_END), low, (layout::FOUR_GIB, 1 << 30)]);
    }

    #[test]
    fn boot_params_lead_to_cmdline_and_initrd() {
        let memory = memory::allocate(32 << 20).unwrap();
        let kernel = Kernel { entry: 0x20_0000, end: 0x40_0000, initrd_limit: 1 << 31, setup_header: None };
        let mut cmdline = Cmdline::default();
        cmdline.add("quiet").unwrap();
        let initrd = Some(Initrd { start: 0x100_0000, size: 99 });
        write_boot_params(&memory, 32 << 20, &kernel, &cmdline, initrd).unwrap();
        let params: boot_params = memory.read_obj(GuestAddress(layout::BOOT_PARAMS)).unwrap();
        let (image, size, line) =
            (params.hdr.ramdisk_image, params.hdr.ramdisk_size, params.hdr.cmd_line_ptr);
        assert_eq!((image, size, params.e820_entries), (0x100_0000, 99, 2));
        let mut text = [0u8; 6];
        memory.read_slice(&mut text, GuestAddress(line.into())).unwrap();
        assert_eq!(&text, b"quiet\0");
    }
}
