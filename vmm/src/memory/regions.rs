//! Mapping guest memory into this process.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::{io, ptr};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};
use vm_memory::{GuestRegionCollectionError, GuestRegionMmap};

use super::{GuestMemory, layout};

const PROT: i32 = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: i32 = libc::MAP_ANONYMOUS | libc::MAP_PRIVATE | libc::MAP_NORESERVE;
const SHARED: i32 = libc::MAP_SHARED | libc::MAP_NORESERVE;
const HUGE_PAGE: usize = 2 << 20;

#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("Failed to map {mib} MiB for the guest's memory at {start:#x}")]
    Map { start: u64, mib: u64, source: io::Error },
    #[error("Failed to {action} for {mib} MiB of shared guest memory")]
    File { action: &'static str, mib: u64, source: io::Error },
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
    let regions = layout::runs(bytes).map(|(start, len)| map(start, len, None));
    GuestMemory::from_regions(regions.collect::<Result<_, _>>()?).map_err(MemoryError::Arrange)
}

/// The same, of a file in memory whose descriptor can be handed to another process. Each region knows its
/// place in it. Huge pages only where the host has them for shared memory, which few do by default.
pub fn allocate_shared(bytes: u64) -> Result<GuestMemory, MemoryError> {
    let file = Arc::new(sealed_file(bytes)?);
    let mut offset = 0;
    let regions = layout::runs(bytes).map(|(start, len)| {
        let place = FileOffset::from_arc(file.clone(), offset);
        offset += len;
        map(start, len, Some(place))
    });
    GuestMemory::from_regions(regions.collect::<Result<_, _>>()?).map_err(MemoryError::Arrange)
}

/// The advice by which whole pages of this memory go back to the host (madvise(2)), to read as zeros from
/// then on: private ones are dropped, of a shared file they are cut out for all who map it.
pub fn discard_advice(memory: &GuestMemory) -> i32 {
    let is_shared = memory.iter().any(|region| region.file_offset().is_some());
    if is_shared { libc::MADV_REMOVE } else { libc::MADV_DONTNEED }
}

/// A file in memory whose size is final: whoever it is handed to could otherwise cut it off, and every access
/// behind the cut would end this process (SIGBUS).
fn sealed_file(bytes: u64) -> Result<File, MemoryError> {
    let failed = |action| move |source: io::Error| MemoryError::File { action, mib: bytes >> 20, source };
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let no_exec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let made = match memfd_create("guest", flags | no_exec) {
        // Linux before 6.3.
        Err(Errno::EINVAL) => memfd_create("guest", flags),
        made => made,
    };
    let file = File::from(made.map_err(io::Error::from).map_err(failed("make a file in memory"))?);
    file.set_len(bytes).map_err(failed("size the file"))?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(io::Error::from).map_err(failed("seal the file"))?;
    Ok(file)
}

fn map(start: u64, len: u64, file: Option<FileOffset>) -> Result<GuestRegionMmap<()>, MemoryError> {
    let mib = len >> 20;
    let size = usize::try_from(len).map_err(|_| MemoryError::Size(mib))?;
    let failed = |source| MemoryError::Map { start, mib, source };
    let address = reserve_aligned(size).map_err(failed)?;
    if let Some(place) = &file {
        replace_by_file(address, size, place).map_err(failed)?;
    }
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
    let builder = match file {
        Some(place) => builder.with_mmap_flags(SHARED).with_file_offset(place),
        None => builder.with_mmap_flags(PRIVATE),
    };
    let mapping = builder.with_mmap_prot(PROT).build().map_err(MemoryError::Wrap)?;
    GuestRegionMmap::new(mapping, GuestAddress(start)).ok_or(MemoryError::Size(mib))
}

/// Maps `size` bytes at a multiple of [`HUGE_PAGE`]: guest and host addresses must agree in their
/// low bits for KVM to use huge pages, and kernels before 6.7 do not align by themselves.
///
/// Guest memory lives as long as this process, so nothing takes the mapping down again.
fn reserve_aligned(size: usize) -> io::Result<*mut u8> {
    let Some(reserved) = size.checked_add(HUGE_PAGE) else { return Err(io::ErrorKind::OutOfMemory.into()) };
    // SAFETY: no MAP_FIXED, so nothing that exists is touched.
    let start = unsafe { libc::mmap(ptr::null_mut(), reserved, PROT, PRIVATE, -1, 0) };
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

/// Maps a file over a whole reservation of [`reserve_aligned`].
fn replace_by_file(address: *mut u8, size: usize, place: &FileOffset) -> io::Result<()> {
    let offset = libc::off_t::try_from(place.start()).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let (flags, file) = (SHARED | libc::MAP_FIXED, place.file().as_raw_fd());
    // SAFETY: the range is a reservation just made, which nobody else knows of.
    match unsafe { libc::mmap(address.cast(), size, PROT, flags, file, offset) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn advise(address: *mut u8, size: usize, advice: i32) -> io::Result<()> {
    // SAFETY: the range is a mapping that this module made and nobody has used yet; no advice given here
    // changes what it holds.
    match unsafe { libc::madvise(address.cast(), size, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use vm_memory::Bytes;

    use super::*;

    const BOTH: [fn(u64) -> Result<GuestMemory, MemoryError>; 2] = [allocate, allocate_shared];

    #[test]
    fn memory_reads_as_zeros_and_keeps_what_is_written() {
        for allocate in BOTH {
            let memory = allocate(4 << 20).unwrap();
            let last = GuestAddress((4 << 20) - 8);
            assert_eq!(memory.read_obj::<u64>(last).unwrap(), 0);
            memory.write_obj(0x1234_5678_u64, last).unwrap();
            assert_eq!(memory.read_obj::<u64>(last).unwrap(), 0x1234_5678);
            assert!(memory.read_obj::<u64>(GuestAddress((4 << 20) - 4)).is_err());
        }
    }

    #[test]
    fn large_memory_leaves_the_device_gap_unmapped() {
        for allocate in BOTH {
            let memory = allocate(layout::MMIO_GAP + (16 << 20)).unwrap();
            assert!(!memory.address_in_range(GuestAddress(layout::MMIO_GAP)));
            assert!(!memory.address_in_range(GuestAddress(layout::FOUR_GIB - 1)));
            assert!(memory.address_in_range(GuestAddress(layout::FOUR_GIB)));
        }
    }

    #[test]
    fn private_memory_has_no_file() {
        assert!(allocate(4 << 20).unwrap().iter().all(|region| region.file_offset().is_none()));
    }

    #[test]
    fn regions_of_shared_memory_lie_one_behind_the_other_in_one_file() {
        let memory = allocate_shared(layout::MMIO_GAP + (16 << 20)).unwrap();
        memory.write_obj(7_u8, GuestAddress(layout::MMIO_GAP - 1)).unwrap();
        memory.write_obj(8_u8, GuestAddress(layout::FOUR_GIB)).unwrap();
        let places = memory.iter().map(|region| region.file_offset().unwrap()).collect::<Vec<_>>();
        assert_eq!(places.iter().map(|place| place.start()).collect::<Vec<_>>(), [0, layout::MMIO_GAP]);
        let mut bytes = [0; 2];
        places[1].file().read_exact_at(&mut bytes, layout::MMIO_GAP - 1).unwrap();
        assert_eq!(bytes, [7, 8]);
    }

    #[test]
    fn shared_memory_cannot_be_cut_off_nor_grow_nor_be_made_so() {
        let memory = allocate_shared(4 << 20).unwrap();
        let file = memory.iter().next().unwrap().file_offset().unwrap().arc().clone();
        assert_eq!(file.metadata().unwrap().len(), 4 << 20);
        for len in [0, (4 << 20) - 1, (4 << 20) + 1] {
            assert_eq!(file.set_len(len).unwrap_err().raw_os_error(), Some(libc::EPERM), "{len}");
        }
        let more = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE);
        assert_eq!(fcntl(&*file, more).unwrap_err(), Errno::EPERM);
    }

    #[test]
    fn discarded_pages_read_as_zeros_and_cost_nothing() {
        for allocate in BOTH {
            let memory = allocate(4 << 20).unwrap();
            memory.write_slice(&[7; 0x3000], GuestAddress(0x1000)).unwrap();
            let pages = memory.get_host_address(GuestAddress(0x1000)).unwrap();
            advise(pages, 0x2000, discard_advice(&memory)).unwrap();
            let mut content = [0xff; 0x3000];
            memory.read_slice(&mut content, GuestAddress(0x1000)).unwrap();
            assert_eq!(content[..0x2000], [0; 0x2000]);
            assert_eq!(content[0x2000..], [7; 0x1000]);
        }
        let memory = allocate_shared(4 << 20).unwrap();
        let blocks =
            || memory.iter().next().unwrap().file_offset().unwrap().file().metadata().unwrap().blocks();
        memory.write_slice(&[7; 0x2000], GuestAddress(0)).unwrap();
        let before = blocks();
        advise(memory.get_host_address(GuestAddress(0)).unwrap(), 0x2000, discard_advice(&memory)).unwrap();
        assert!(blocks() < before);
    }
}
