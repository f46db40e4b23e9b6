//! The initial RAM disk, right behind the kernel.
//!
//! There, and not at the end of memory where boot loaders put it, because the kernel's last huge page is
//! touched anyhow: half a million instructions less before the guest's first.

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

/// Reads the whole of `file` into the guest, page-aligned.
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
    let start = kernel.end.next_multiple_of(PAGE);
    let fits = start.checked_add(size).is_some_and(|end| end <= low_end);
    let (true, Ok(start32), Ok(size32), Ok(len)) =
        (fits, u32::try_from(start), u32::try_from(size), usize::try_from(size))
    else {
        return Err(no_room);
    };
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
    fn initrd_lies_page_aligned_behind_the_kernel() {
        let memory = memory::allocate(MEMORY).unwrap();
        let initrd = load(&mut file(&[7; 5000]), &memory, MEMORY, &kernel(0x20_0001)).unwrap();
        assert_eq!(initrd, Initrd { start: 0x20_1000, size: 5000 });
        assert_eq!(memory.read_obj::<u8>(GuestAddress(0x20_1000 + 4999)).unwrap(), 7);
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
