use super::*;
use crate::memory;
use std::io::Write;
use vm_memory::Bytes;

const MEMORY: u64 = 32 << 20;
const START: u64 = 0x10_0000;

/// An ELF kernel of one segment: 16 bytes of code in the file, 4096 in memory.
fn elf() -> Vec<u8> {
    let mut image = vec![0u8; 64 + 56];
    image[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
    set(&mut image, 16, &2_u16.to_le_bytes());
    set(&mut image, 18, &62_u16.to_le_bytes());
    set(&mut image, 24, &START.to_le_bytes());
    set(&mut image, 32, &64_u64.to_le_bytes());
    set(&mut image, 54, &56_u16.to_le_bytes());
    set(&mut image, 56, &1_u16.to_le_bytes());
    set(&mut image, 64, &1_u32.to_le_bytes());
    set(&mut image, 64 + 8, &120_u64.to_le_bytes());
    set(&mut image, 64 + 24, &START.to_le_bytes());
    set(&mut image, 64 + 32, &16_u64.to_le_bytes());
    set(&mut image, 64 + 40, &4096_u64.to_le_bytes());
    image.extend([0xf4; 16]);
    image
}

/// A bzImage of one setup sector and 512 bytes of code.
fn bzimage() -> Vec<u8> {
    let mut image = vec![0u8; 1024];
    image[0x1f1] = 1;
    set(&mut image, 0x202, b"HdrS");
    set(&mut image, 0x206, &0x020f_u16.to_le_bytes());
    image[0x211] = 1;
    set(&mut image, 0x22c, &0x7fff_ffff_u32.to_le_bytes());
    set(&mut image, 0x236, &1_u16.to_le_bytes());
    set(&mut image, 0x258, &0x100_0000_u64.to_le_bytes());
    set(&mut image, 0x260, &0x80_0000_u32.to_le_bytes());
    image.extend([0xf4; 512]);
    image
}

fn set(image: &mut [u8], offset: usize, bytes: &[u8]) {
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn load_bytes(image: &[u8]) -> (Result<Kernel, KernelError>, GuestMemory) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(image).unwrap();
    let memory = memory::allocate(MEMORY).unwrap();
    (load(&mut file, &memory, MEMORY), memory)
}

#[test]
fn elf_kernel_is_loaded_where_its_segment_says() {
    let (kernel, memory) = load_bytes(&elf());
    let kernel = kernel.unwrap();
    assert_eq!((kernel.entry, kernel.end), (START, START + 4096));
    assert_eq!(memory.read_obj::<u8>(GuestAddress(START + 15)).unwrap(), 0xf4);
    assert_eq!(memory.read_obj::<u8>(GuestAddress(START + 16)).unwrap(), 0);
}

#[test]
fn bzimage_is_loaded_at_its_preferred_address() {
    let (kernel, memory) = load_bytes(&bzimage());
    let kernel = kernel.unwrap();
    assert_eq!((kernel.entry, kernel.end), (0x100_0200, 0x180_0000));
    assert_eq!(memory.read_obj::<u8>(GuestAddress(0x100_0000)).unwrap(), 0xf4);
    assert!(kernel.setup_header.is_some());
}

#[test]
fn files_that_are_no_kernel_are_named() {
    for (start, word) in [
        (&[0x1f, 0x8b][..], "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"\xfd7zXZ", "xz"),
        (b"#!/bin/sh", "neither"),
    ] {
        let mut image = vec![0u8; 4096];
        set(&mut image, 0, start);
        let error = load_bytes(&image).0.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(load_bytes(b"short").0.unwrap_err().to_string().contains("shorter"));
}

#[test]
fn elf_fields_that_lead_out_of_the_file_or_memory_are_refused() {
    type Edit = (usize, u64);
    let edits: [(&str, Edit); 9] = [
        ("program headers behind the file", (32, 1 << 40)),
        ("program headers at the end of the address space", (32, u64::MAX - 8)),
        ("entry outside", (24, START + 16)),
        ("file range wraps", (64 + 8, u64::MAX)),
        ("larger in file than in memory", (64 + 40, 15)),
        ("reaches over the file's end", (64 + 32, 17)),
        ("below high memory", (64 + 24, 0x7000)),
        ("address wraps", (64 + 24, u64::MAX - 100)),
        ("above the first page tables", (64 + 40, 1 << 30)),
    ];
    for (what, (offset, value)) in edits {
        let mut image = elf();
        set(&mut image, offset, &value.to_le_bytes());
        let result = load_bytes(&image).0;
        assert!(matches!(result, Err(KernelError::Elf(_))), "{what}: {result:?}");
    }
}

/// An ELF kernel whose second to last program headers are all like `header`.
fn elf_with(header: &[u8], count: u16) -> Vec<u8> {
    let mut image = elf();
    let code = image.split_off(64 + 56);
    set(&mut image, 56, &(count + 1).to_le_bytes());
    (0..count).for_each(|_| image.extend(header));
    let offset = u64::try_from(image.len()).unwrap();
    set(&mut image, 64 + 8, &offset.to_le_bytes());
    image.extend(code);
    image
}

fn note(size: u64) -> Vec<u8> {
    let mut header = vec![0; 56];
    set(&mut header, 0, &4_u32.to_le_bytes());
    set(&mut header, 32, &size.to_le_bytes());
    header
}

#[test]
fn elf_kernel_with_more_notes_than_any_has_is_refused() {
    for (size, count) in [(u64::MAX, 2), (1 << 40, 1), (3 << 10, 22)] {
        let result = load_bytes(&elf_with(&note(size), count)).0;
        assert!(matches!(result, Err(KernelError::Elf(ElfError::Notes))), "{size} {result:?}");
    }
    load_bytes(&elf_with(&note(24), 1)).0.unwrap();
}

#[test]
fn elf_kernel_that_would_be_copied_over_itself_is_refused() {
    let mut segment = elf()[64..64 + 56].to_vec();
    // From the file's start, 16 bytes of them: within the file whatever the number of headers.
    set(&mut segment, 8, &0_u64.to_le_bytes());
    set(&mut segment, 40, &16_u64.to_le_bytes());
    load_bytes(&elf_with(&segment, 2)).0.unwrap();
    set(&mut segment, 32, &2048_u64.to_le_bytes());
    set(&mut segment, 40, &2048_u64.to_le_bytes());
    let mut image = elf_with(&segment, 2);
    image.resize(4096, 0);
    let result = load_bytes(&image).0;
    assert!(matches!(result, Err(KernelError::Elf(ElfError::Overlap))), "{result:?}");
}

#[test]
fn kernel_larger_than_memory_is_refused_with_what_it_needs() {
    let mut image = elf();
    set(&mut image, 64 + 40, &MEMORY.to_le_bytes());
    let error = load_bytes(&image).0.unwrap_err();
    assert!(matches!(error, KernelError::Memory { needed, .. } if needed == MEMORY + START), "{error}");
    let mut image = bzimage();
    set(&mut image, 0x260, &(64_u32 << 20).to_le_bytes());
    assert!(matches!(load_bytes(&image).0, Err(KernelError::Memory { .. })));
}

#[test]
fn bzimage_with_hostile_fields_is_refused() {
    let mut without_64_bit_entry = bzimage();
    set(&mut without_64_bit_entry, 0x236, &0_u16.to_le_bytes());
    assert!(matches!(load_bytes(&without_64_bit_entry).0, Err(KernelError::Protocol(0x020f))));
    for address in [0, 0x7000, 1 << 30, u64::MAX] {
        let mut image = bzimage();
        set(&mut image, 0x258, &address.to_le_bytes());
        assert!(matches!(load_bytes(&image).0, Err(KernelError::Address(_))), "{address:#x}");
    }
    let mut setup_larger_than_file = bzimage();
    setup_larger_than_file[0x1f1] = 255;
    assert!(matches!(load_bytes(&setup_larger_than_file).0, Err(KernelError::Load(_))));
}

#[test]
fn truncated_kernels_never_panic() {
    for image in [elf(), bzimage()] {
        for len in (0..image.len()).step_by(7) {
            let _ = load_bytes(&image[..len]);
        }
    }
}
