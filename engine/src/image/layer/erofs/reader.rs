//! Reads a layer file's metadata back. The file is hull's own, but a disk may have damaged it:
//! every offset is checked, and what does not fit is an error, never a panic.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::format::*;
use super::{ErofsError, directory};
use crate::image::layer::xattrs;

/// Inodes and directories that a layer file may have.
const MAX_METADATA: u64 = 4 << 30;

/// The superblock of an EROFS file, and its device table.
pub fn devices(file: &File) -> Result<(SuperBlock, Vec<DeviceSlot>), ErofsError> {
    let superblock = read_superblock(file)?;
    let failed = |offset| move |e| ErofsError::Io("read the device table", offset, e);
    let mut slots = Vec::new();
    for index in 0..u64::from(superblock.extra_devices) {
        let offset = (u64::from(superblock.device_table) + index) * DEVICE_SLOT;
        let mut bytes = [0; DeviceSlot::SIZE];
        file.read_exact_at(&mut bytes, offset).map_err(failed(offset))?;
        slots.push(DeviceSlot::decode(&bytes));
    }
    Ok((superblock, slots))
}

fn read_superblock(file: &File) -> Result<SuperBlock, ErofsError> {
    let mut bytes = [0; SuperBlock::SIZE];
    let failed = |e| ErofsError::Io("read the superblock", SUPER_OFFSET, e);
    file.read_exact_at(&mut bytes, SUPER_OFFSET).map_err(failed)?;
    let superblock = SuperBlock::decode(&bytes);
    if superblock.magic != MAGIC || u32::from(superblock.block_bits) != BLOCK_BITS {
        return Err(DAMAGED("no superblock"));
    }
    if file.metadata().map_err(failed)?.len() != u64::from(superblock.blocks) * BLOCK {
        return Err(DAMAGED("the file's length is not what its superblock says"));
    }
    Ok(superblock)
}

/// A layer's metadata, in memory. The file's data were not touched.
pub struct LayerReader {
    metadata: Vec<u8>,
    metadata_block: u32,
    blocks: u32,
    root: u64,
}

/// An inode with its markers taken out of the attributes.
pub struct LayerInode {
    pub disk: DiskInode,
    /// Encoded, without markers.
    pub xattrs: Vec<u8>,
    pub content: LayerContent,
}

pub enum LayerContent {
    Directory {
        implied: bool,
        opaque: bool,
    },
    /// Addresses are blocks of the layer file.
    File {
        size: u64,
        data: LayerData,
    },
    Symlink(Vec<u8>),
    CharDevice(u32),
    BlockDevice(u32),
    Fifo,
    Socket,
    Whiteout,
    LowerLink(Vec<u8>),
}

pub enum LayerData {
    None,
    Contiguous(u32),
    Chunked { bits: u8, addresses: Vec<u32> },
}

const DAMAGED: fn(&'static str) -> ErofsError = ErofsError::Damaged;

impl LayerReader {
    pub fn open(file: &File) -> Result<Self, ErofsError> {
        let superblock = read_superblock(file)?;
        let end = u64::from(superblock.blocks) * BLOCK;
        let start = u64::from(superblock.meta_block) * BLOCK;
        let length = end.checked_sub(start).filter(|length| *length <= MAX_METADATA);
        let length = length.ok_or(DAMAGED("metadata out of range"))?;
        let mut metadata = vec![0; usize::try_from(length).map_err(|_| DAMAGED("metadata out of range"))?];
        file.read_exact_at(&mut metadata, start).map_err(|e| ErofsError::Io("read metadata", start, e))?;
        Ok(Self {
            metadata,
            metadata_block: superblock.meta_block,
            blocks: superblock.blocks,
            root: u64::from(superblock.root_nid),
        })
    }

    pub fn root(&self) -> u64 {
        self.root
    }

    /// Whether there is more in the file than names.
    pub fn has_data(&self) -> bool {
        self.metadata_block > 1
    }

    /// Blocks of the whole file.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    fn bytes(&self, start: u64, length: u64) -> Option<&[u8]> {
        let start = usize::try_from(start).ok()?;
        self.metadata.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    }

    pub fn inode(&self, nid: u64) -> Result<LayerInode, ErofsError> {
        let out = || DAMAGED("an inode out of range");
        let offset = nid.checked_mul(SLOT).ok_or_else(out)?;
        let record =
            self.bytes(offset, DiskInode::SIZE as u64).and_then(<[u8]>::first_chunk).ok_or_else(out)?;
        let disk = DiskInode::decode(record);
        if disk.format & 1 != EXTENDED {
            return Err(DAMAGED("an inode that is not extended"));
        }
        let head = offset + DiskInode::SIZE as u64;
        let xattr_len = xattr_len(&disk);
        let xattr_area = self.bytes(head, xattr_len).ok_or_else(out)?;
        let markers = Markers::split(xattr_area.get(XATTR_HEADER..).unwrap_or_default())?;
        let behind = head + xattr_len;
        let content = match disk.mode & S_IFMT {
            S_IFDIR => LayerContent::Directory { implied: markers.implied, opaque: markers.opaque },
            S_IFREG => match markers.lower_link {
                Some(target) => LayerContent::LowerLink(target),
                None => LayerContent::File { size: disk.size, data: self.data(&disk, behind)? },
            },
            S_IFLNK => LayerContent::Symlink(self.content(&disk, behind)?.to_vec()),
            S_IFCHR if disk.value == 0 => LayerContent::Whiteout,
            S_IFCHR => LayerContent::CharDevice(disk.value),
            S_IFBLK => LayerContent::BlockDevice(disk.value),
            S_IFIFO => LayerContent::Fifo,
            S_IFSOCK => LayerContent::Socket,
            _ => return Err(DAMAGED("an inode of no known type")),
        };
        Ok(LayerInode { disk, xattrs: markers.rest, content })
    }

    /// Names in a directory, and their inode numbers.
    pub fn directory(&self, nid: u64) -> Result<Vec<(&[u8], u64)>, ErofsError> {
        let inode = self.inode(nid)?;
        let behind = nid * SLOT + DiskInode::SIZE as u64 + xattr_len(&inode.disk);
        directory::decode(self.content(&inode.disk, behind)?).ok_or(DAMAGED("a malformed directory"))
    }

    /// What a directory or symlink holds.
    fn content(&self, disk: &DiskInode, behind: u64) -> Result<&[u8], ErofsError> {
        let start = match disk.format >> 1 {
            LAYOUT_INLINE => Some(behind),
            LAYOUT_PLAIN => disk.value.checked_sub(self.metadata_block).map(|block| u64::from(block) * BLOCK),
            _ => None,
        };
        start.and_then(|start| self.bytes(start, disk.size)).ok_or(DAMAGED("content out of range"))
    }

    fn data(&self, disk: &DiskInode, behind: u64) -> Result<LayerData, ErofsError> {
        let inside = |block: u32, count: u64| u64::from(block) + count <= u64::from(self.metadata_block);
        match disk.format >> 1 {
            _ if disk.size == 0 => Ok(LayerData::None),
            LAYOUT_PLAIN if inside(disk.value, blocks(disk.size)) => Ok(LayerData::Contiguous(disk.value)),
            LAYOUT_CHUNKED if disk.value <= u32::from(MAX_CHUNK_BITS) => {
                let chunk = BLOCK << disk.value;
                let table = self.bytes(behind.next_multiple_of(4), 4 * disk.size.div_ceil(chunk));
                let table = table.ok_or(DAMAGED("a chunk table out of range"))?;
                let addresses: Vec<_> = table
                    .chunks_exact(4)
                    .filter_map(|address| address.try_into().ok())
                    .map(u32::from_le_bytes)
                    .collect();
                let mut left = disk.size;
                for address in &addresses {
                    let length = left.min(chunk);
                    left -= length;
                    if *address != u32::MAX && !inside(*address, blocks(length)) {
                        return Err(DAMAGED("data out of range"));
                    }
                }
                Ok(LayerData::Chunked { bits: u8::try_from(disk.value).unwrap_or(0), addresses })
            }
            _ => Err(DAMAGED("data out of range")),
        }
    }
}

fn xattr_len(disk: &DiskInode) -> u64 {
    match disk.xattr_count {
        0 => 0,
        count => XATTR_HEADER as u64 + 4 * (u64::from(count) - 1),
    }
}

/// What a layer notes about an inode, among its attributes.
#[derive(Default)]
struct Markers {
    implied: bool,
    opaque: bool,
    lower_link: Option<Vec<u8>>,
    rest: Vec<u8>,
}

impl Markers {
    fn split(encoded: &[u8]) -> Result<Self, ErofsError> {
        let mut markers = Self::default();
        if encoded.is_empty() {
            return Ok(markers);
        }
        let mut rest = Vec::new();
        for (name, value) in xattrs::decode(encoded)? {
            match name.as_slice() {
                xattrs::IMPLIED => markers.implied = true,
                xattrs::OPAQUE => markers.opaque = true,
                xattrs::LOWER_LINK => markers.lower_link = Some(value.to_vec()),
                _ => rest.push((name, value)),
            }
        }
        markers.rest = xattrs::encode_all(rest.iter().map(|(name, value)| (name.as_slice(), *value)))?;
        Ok(markers)
    }
}
