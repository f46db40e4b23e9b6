//! Mapping guest memory into this process.

use std::{io, ptr};

use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{GuestAddress, GuestRegionCollectionError, GuestRegionMmap};

use super::{GuestMemory, layout};

const PROT: i32 = libc::PROT_READ | libc::PROT_WRITE;
const FLAGS: i32 = libc::MAP_ANONYMOUS | libc::MAP_PRIVATE | libc::MAP_NORESERVE;
const HUGE_PAGE: usize = 2 << 20;

#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("Failed to map {mib} MiB for the guest's memory at {start:#x}")]
    Map { start: u64, mib: u64, source: io::Error },
    #[error("Failed to take over the mapping of guest memory")]
    Wrap(#[source] MmapRegionError),
    #[error("Failed to advise the kernel on guest memory ({advice})")]
    Advise { advice: &'static str, source: io::Error },
    #[error("Failed to lay out {0} MiB of guest memory")]
    Size(u64),
    #[error("Failed to lay out guest memory")]
    Arrange(#[source] GuestRegionCollectionError),
}

/// Maps `bytes` of guest memory: private, anonymous, nothing touched yet, in huge pages where the
/// host has them (they spare a boot 28 million instructions of faults), and absent from core dumps.
pub fn allocate(bytes: u64) -> Result<GuestMemory, MemoryError> {
    let regions = layout::runs(bytes).map(|(start, len)| map(start, len)).collect::<Result<_, _>>()?;
    GuestMemory::from_regions(regions).map_err(MemoryError::Arrange)
}

fn map(start: u64, len: u64) -> Result<GuestRegionMmap<()>, MemoryError> {
    let mib = len >> 20;
    let size = usize::try_from(len).map_err(|_| MemoryError::Size(mib))?;
    let address = reserve_aligned(size).map_err(|source| MemoryError::Map { start, mib, source })?;
    match advise(address, size, libc::MADV_HUGEPAGE) {
        // EINVAL: a kernel without transparent huge pages; small ones serve.
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
            return Err(MemoryError::Advise { advice: "MADV_HUGEPAGE", source: error });
        }
        _ => {}
    }
    advise(address, size, libc::MADV_DONTDUMP)
        .map_err(|source| MemoryError::Advise { advice: "MADV_DONTDUMP", source })?;
    // SAFETY: `address` and `size` are a mapping just made, which nothing ever unmaps.
    let builder = unsafe { MmapRegionBuilder::<()>::new(size).with_raw_mmap_pointer(address) };
    let mapping = builder.with_mmap_prot(PROT).with_mmap_flags(FLAGS).build().map_err(MemoryError::Wrap)?;
    GuestRegionMmap::new(mapping, GuestAddress(start)).ok_or(MemoryError::Size(mib))
}

/// Maps `size` bytes at a multiple of [`HUGE_PAGE`]: guest and host addresses must agree in their
/// low bits for KVM to use huge pages, and kernels before 6.7 do not align by themselves.
///
/// Guest memory lives as long as this process, so nothing takes the mapping down again.
fn reserve_aligned(size: usize) -> io::Result<*mut u8> {
    let Some(reserved) = size.checked_add(HUGE_PAGE) else { return Err(io::ErrorKind::OutOfMemory.into()) };
    // SAFETY: no MAP_FIXED, so nothing that exists is touched.
    let start = unsafe { libc::mmap(ptr::null_mut(), reserved, PROT, FLAGS, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let head = start.align_offset(HUGE_PAGE);
    // SAFETY: head < HUGE_PAGE, so address..address + size lies within what was reserved.
    let (address, tail) = unsafe { (start.byte_add(head), start.byte_add(head + size)) };
    for (edge, len) in [(start, head), (tail, HUGE_PAGE - head)] {
        // SAFETY: head and tail are parts of the fresh reservation outside the range handed out.
        if len > 0 && unsafe { libc::munmap(edge, len) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(address.cast())
}

fn advise(address: *mut u8, size: usize, advice: i32) -> io::Result<()> {
    // SAFETY: the range is a whole mapping that this module made and nobody has used yet; neither
    // advice changes what it holds.
    match unsafe { libc::madvise(address.cast(), size, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestMemoryBackend};

    #[test]
    fn memory_reads_as_zeros_and_keeps_what_is_written() {
        let memory = allocate(4 << 20).unwrap();
        let last = GuestAddress((4 << 20) - 8);
        assert_eq!(memory.read_obj::<u64>(last).unwrap(), 0);
        memory.write_obj(0x1234_5678_u64, last).unwrap();
        assert_eq!(memory.read_obj::<u64>(last).unwrap(), 0x1234_5678);
        assert!(memory.read_obj::<u64>(GuestAddress((4 << 20) - 4)).is_err());
    }

    #[test]
    fn large_memory_leaves_the_device_gap_unmapped() {
        let memory = allocate(layout::MMIO_GAP + (16 << 20)).unwrap();
        assert!(!memory.address_in_range(GuestAddress(layout::MMIO_GAP)));
        assert!(!memory.address_in_range(GuestAddress(layout::FOUR_GIB - 1)));
        assert!(memory.address_in_range(GuestAddress(layout::FOUR_GIB)));
    }
}
