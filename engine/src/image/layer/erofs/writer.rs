//! Inodes, directories and the superblock. First everything gets its place, then it is written in
//! that order; the superblock comes last, so a file that was cut short mounts nowhere.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

use super::ErofsError;
use super::format::*;
use super::plan::Plan;
use crate::image::layer::tree::Tree;

/// What is being written.
pub enum Kind<'a> {
    /// A layer whose data end before this block.
    Layer { metadata_block: u32 },
    /// A merged root above these devices.
    Merged { devices: &'a [Device] },
}

/// A layer below a merged root.
#[derive(Debug, Clone)]
pub struct Device {
    /// Text that says which layer it is; not empty, or kernels refuse it.
    pub tag: [u8; 64],
    pub blocks: u32,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub blocks: u32,
    pub inodes: u64,
}

/// Blocks of a merged root's file, and so where its devices begin on a flat disk, are only known
/// when all is placed; the table is written last.
pub fn write(file: &File, tree: &Tree, kind: &Kind<'_>, uuid: [u8; 16]) -> Result<Written, ErofsError> {
    let first_block = match kind {
        Kind::Layer { metadata_block } => *metadata_block,
        Kind::Merged { .. } => 0,
    };
    let plan = Plan::new(tree.listing(), kind)?;
    let end = (u64::from(first_block) + plan.blocks()) * BLOCK;
    let blocks = u32::try_from(end / BLOCK).map_err(|_| ErofsError::TooLarge(u64::from(u32::MAX) * BLOCK))?;
    let start = u64::from(first_block) * BLOCK;
    let failed = |e| ErofsError::Io("write metadata", start, e);
    let mut output =
        Output { file: BufWriter::with_capacity(1 << 18, At { file, offset: start }), position: 0 };
    plan.emit(&mut output, first_block).map_err(failed)?;
    output.pad_to(plan.blocks() * BLOCK).and_then(|()| output.file.flush()).map_err(failed)?;
    file.set_len(end).map_err(failed)?;
    let written = Written { blocks, inodes: plan.order.len() as u64 };
    write_superblock(file, kind, first_block, &plan, written, uuid)?;
    Ok(written)
}

fn write_superblock(
    file: &File,
    kind: &Kind<'_>,
    first_block: u32,
    plan: &Plan<'_>,
    written: Written,
    uuid: [u8; 16],
) -> Result<(), ErofsError> {
    let devices = match kind {
        Kind::Layer { .. } => &[],
        Kind::Merged { devices } => *devices,
    };
    let failed = |e| ErofsError::Io("write the superblock", SUPER_OFFSET, e);
    let table = SUPER_OFFSET + SuperBlock::SIZE as u64;
    let mut mapped_block = written.blocks;
    for (device, at) in devices.iter().zip(0_u64..) {
        let slot = DeviceSlot { tag: device.tag, blocks: device.blocks, mapped_block, reserved: [0; 56] };
        file.write_all_at(&slot.encode(), table + at * DEVICE_SLOT).map_err(failed)?;
        mapped_block = mapped_block
            .checked_add(device.blocks)
            .ok_or(ErofsError::TooLarge(u64::from(u32::MAX) * BLOCK))?;
    }
    let too_many = || ErofsError::TooLarge(u64::from(u16::MAX));
    let superblock = SuperBlock {
        magic: MAGIC,
        checksum: 0,
        feature_compat: COMPAT_MTIME,
        block_bits: u8::try_from(BLOCK_BITS).unwrap_or(12),
        extension_slots: 0,
        root_nid: u16::try_from(plan.nid(Tree::ROOT)).map_err(|_| too_many())?,
        inodes: written.inodes,
        build_time: 0,
        build_time_nsec: 0,
        blocks: written.blocks,
        meta_block: first_block,
        xattr_block: 0,
        uuid,
        volume_name: *b"hull\0\0\0\0\0\0\0\0\0\0\0\0",
        feature_incompat: INCOMPAT_CHUNKED | if devices.is_empty() { 0 } else { INCOMPAT_DEVICE_TABLE },
        compression: 0,
        extra_devices: u16::try_from(devices.len()).map_err(|_| too_many())?,
        device_table: if devices.is_empty() { 0 } else { u16::try_from(table / DEVICE_SLOT).unwrap_or(0) },
        directory_block_bits: 0,
        reserved: [0; 37],
    };
    file.write_all_at(&superblock.encode(), SUPER_OFFSET).map_err(failed)
}

/// Writes one behind the other, at a place in a file.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Write for At<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write_at(buf, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Knows how far it is, so that gaps can be filled.
pub struct Output<'a> {
    file: BufWriter<At<'a>>,
    pub position: u64,
}

impl Output<'_> {
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.position += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    pub fn pad_to(&mut self, position: u64) -> std::io::Result<()> {
        const ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
        while self.position < position {
            let gap = usize::try_from(position - self.position).unwrap_or(usize::MAX).min(BLOCK_LEN);
            self.write(ZEROS.get(..gap).unwrap_or_default())?;
        }
        Ok(())
    }
}
