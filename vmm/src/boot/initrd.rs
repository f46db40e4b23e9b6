//! The initial RAM disk, at the end of low memory.

use std::fs::File;
use std::io;

use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::Kernel;
use crate::memory::{GuestMemory, layout};

const PAGE: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum InitrdError {
    #[error("Failed to tell the initrd's size")]
    Size(#[source] io::Error),
    #[error("The initrd is empty")]
    Empty,
    #[error(
        "The initrd has {size} bytes; between the kernel's end at {kernel_end:#x} and the end of low memory \
         at {low_end:#x} there is no room for them: give the machine more memory"
    )]
    NoRoom { size: u64, kernel_end: u64, low_end: u64 },
    #[error("Failed to read the initrd's {size} bytes")]
    Read { size: u64, source: GuestMemoryError },
}

/// Where the initrd lies in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initrd {
    pub start: u32,
    pub size: u32,
}

/// Reads the whole of `file` into the guest, page-aligned, as high as the kernel takes it.
pub fn load(
    file: &mut File,
    memory: &GuestMemory,
    memory_bytes: u64,
    kernel: &Kernel,
) -> Result<Initrd, InitrdError> {
    let size = file.metadata().map_err(InitrdError::Size)?.len();
    if size == 0 {
        return Err(InitrdError::Empty);
    }
    let low_end = memory_bytes.min(layout::MMIO_GAP).min(kernel.initrd_limit);
    let no_room = InitrdError::NoRoom { size, kernel_end: kernel.end, low_end };
    let Some(start) = low_end.checked_sub(size).map(|start| start / PAGE * PAGE) else { return Err(no_room) };
    let (Ok(start32), Ok(size32), Ok(len)) =
        (u32::try_from(start), u32::try_from(size), usize::try_from(size))
    else {
        return Err(no_room);
    };
    if start < kernel.end {
        return Err(no_room);
    }
    memory
        .read_exact_volatile_from(GuestAddress(start), file, len)
        .map_err(|source| InitrdError::Read { size, source })?;
    Ok(Initrd { start: start32, size: size32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;
    use std::io::Write;

    const MEMORY: u64 = 8 << 20;

    fn kernel(end: u64) -> Kernel {
        Kernel { entry: 0x10_0000, end, initrd_limit: 1 << 31, setup_header: None }
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn initrd_lies_page_aligned_at_the_end_of_memory() {
        let memory = memory::allocate(MEMORY).unwrap();
        let initrd = load(&mut file(&[7; 5000]), &memory, MEMORY, &kernel(0x20_0000)).unwrap();
        assert_eq!(initrd, Initrd { start: 0x7f_e000, size: 5000 });
        assert_eq!(memory.read_obj::<u8>(GuestAddress(MEMORY - 8192 + 4999)).unwrap(), 7);
    }

    #[test]
    fn initrd_that_would_meet_the_kernel_is_refused() {
        let memory = memory::allocate(MEMORY).unwrap();
        let result = load(&mut file(&[7; 5000]), &memory, MEMORY, &kernel(MEMORY - 4096));
        assert!(matches!(result, Err(InitrdError::NoRoom { size: 5000, .. })), "{result:?}");
        let result = load(&mut file(&[]), &memory, MEMORY, &kernel(0x20_0000));
        assert!(matches!(result, Err(InitrdError::Empty)), "{result:?}");
    }
}
