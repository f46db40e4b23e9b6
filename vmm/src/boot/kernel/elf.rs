//! The checks on an ELF kernel (System V ABI, chapters 4 and 5; `elf(5)`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::memory::layout;

/// Bytes of an ELF64 header.
pub const HEADER: usize = 64;
/// Bytes of an ELF64 program header.
const PROGRAM_HEADER: usize = 56;
/// Program headers read; kernels have about five.
const MAX_PROGRAM_HEADERS: u16 = 64;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Bytes of notes: `linux-loader` reads all of them, one by one. Linux has less than 1 KiB.
const MAX_NOTES: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    #[error("it is not a 64-bit little-endian ELF file for x86_64")]
    Machine,
    #[error("it has {count} program headers of {size} bytes at {offset:#x}")]
    ProgramHeaders { count: u16, size: u16, offset: u64 },
    #[error("Failed to read program header {index} at {offset:#x}")]
    Read { index: u16, offset: u64, source: io::Error },
    #[error("segment {0} is larger in the file than in memory, or reaches over the file's end")]
    Size(u16),
    #[error("segment {index} lies at {start:#x}, outside the memory a kernel may have")]
    Placement { index: u16, start: u64 },
    #[error("its segments have more bytes than the memory they lie in: they overlap")]
    Overlap,
    #[error("it has more than {MAX_NOTES} bytes of notes")]
    Notes,
    #[error("the entry point {0:#x} is in no segment")]
    Entry(u64),
}

/// An ELF file whose segments lie where a kernel's may.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    pub entry: u64,
    pub end: u64,
}

/// Checks everything that loading goes by, and finds the image's end (with its BSS).
pub fn check(file: &File, file_size: u64, header: &[u8; HEADER]) -> Result<Image, ElfError> {
    if header[4] != CLASS_64 || header[5] != LITTLE_ENDIAN || u16_at(header, 18) != MACHINE_X86_64 {
        return Err(ElfError::Machine);
    }
    let (entry, offset) = (u64_at(header, 24), u64_at(header, 32));
    let (size, count) = (u16_at(header, 54), u16_at(header, 56));
    if usize::from(size) != PROGRAM_HEADER || count == 0 || count > MAX_PROGRAM_HEADERS || offset > file_size
    {
        return Err(ElfError::ProgramHeaders { count, size, offset });
    }
    let (mut end, mut copied, mut notes) = (layout::HIGH_MEMORY, 0, 0_u64);
    let mut entry_is_loaded = false;
    for index in 0..count {
        let offset = offset + u64::from(index) * u64::from(size);
        let mut raw = [0u8; PROGRAM_HEADER];
        file.read_exact_at(&mut raw, offset).map_err(|source| ElfError::Read { index, offset, source })?;
        match u32_at(&raw, 0) {
            PT_LOAD => {}
            PT_NOTE => {
                notes = notes.saturating_add(u64_at(&raw, 32));
                continue;
            }
            _ => continue,
        }
        let segment = Segment::check(&raw, index, file_size)?;
        end = end.max(segment.end);
        // Cannot overflow: as many headers as there may be, each of at most the memory that is mapped.
        copied += segment.in_file;
        entry_is_loaded |= (segment.start..segment.start + segment.in_file).contains(&entry);
    }
    if notes > MAX_NOTES {
        return Err(ElfError::Notes);
    }
    // Else a small file could keep the loader busy with the same bytes again and again.
    if copied > end - layout::HIGH_MEMORY {
        return Err(ElfError::Overlap);
    }
    match entry_is_loaded {
        true => Ok(Image { entry, end }),
        false => Err(ElfError::Entry(entry)),
    }
}

struct Segment {
    start: u64,
    in_file: u64,
    end: u64,
}

impl Segment {
    fn check(raw: &[u8; PROGRAM_HEADER], index: u16, file_size: u64) -> Result<Self, ElfError> {
        let (offset, start) = (u64_at(raw, 8), u64_at(raw, 24));
        let (in_file, in_memory) = (u64_at(raw, 32), u64_at(raw, 40));
        let within_file = offset.checked_add(in_file).is_some_and(|end| end <= file_size);
        if !within_file || in_file > in_memory {
            return Err(ElfError::Size(index));
        }
        let end = start.checked_add(in_memory).filter(|end| *end <= layout::IDENTITY_MAPPED);
        match end {
            Some(end) if start >= layout::HIGH_MEMORY => Ok(Segment { start, in_file, end }),
            _ => Err(ElfError::Placement { index, start }),
        }
    }
}

fn bytes_at<const N: usize, const M: usize>(raw: &[u8; M], offset: usize) -> [u8; N] {
    let mut bytes = [0u8; N];
    bytes.copy_from_slice(&raw[offset..offset + N]);
    bytes
}

fn u16_at<const M: usize>(raw: &[u8; M], offset: usize) -> u16 {
    u16::from_le_bytes(bytes_at(raw, offset))
}

fn u32_at<const M: usize>(raw: &[u8; M], offset: usize) -> u32 {
    u32::from_le_bytes(bytes_at(raw, offset))
}

fn u64_at<const M: usize>(raw: &[u8; M], offset: usize) -> u64 {
    u64::from_le_bytes(bytes_at(raw, offset))
}
