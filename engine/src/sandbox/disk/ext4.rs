//! An empty ext4 file system of any size, by its few blocks that are not zero. Names and offsets of fields
//! are those of Linux' Documentation/filesystems/ext4.
//!
//! ```text
//!  group 0: superblock | descriptors of all groups | bitmaps | inode table | root directory | journal | free
//!  others:                                           bitmaps | inode table |                            free
//! ```
//!
//! Each group of 128 MiB has its bitmaps and inodes at its own start, so that the kernel can make up those
//! of a group that nobody has touched (BLOCK_UNINIT, INODE_UNINIT): such a group is its descriptor and a
//! hole in the file. Inode tables are marked as zeroed, which holes are; the kernel need not do it again.
//!
//! What outlives its sandbox has a journal, which is empty: its superblock (jbd2's, Documentation/filesystems/ext4,
//! "Journal") and a hole. What does not is quicker without.
//!
//! No copies of the superblock: a sparse file does not lose its first block alone. UUID, hash seed and times
//! are fixed, so that the same size is always the same file system.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub const BLOCK: usize = 4096;
/// A group's bitmap of blocks fills one block.
const GROUP_BLOCKS: u32 = 8 * 4096;
const GROUP_INODES: u32 = 8192;
const INODE: usize = 256;
/// Blocks of a group's inode table.
const TABLE_BLOCKS: u32 = GROUP_INODES / (4096 / 256);
/// Two bitmaps and the inode table.
const GROUP_METADATA: u32 = 2 + TABLE_BLOCKS;
const DESCRIPTOR: usize = 64;

/// Inodes before the first that is free for use (`s_first_ino`).
const RESERVED_INODES: u32 = 10;
const ROOT_INODE: u32 = 2;
/// The one that all file systems with a journal use.
const JOURNAL_INODE: u32 = 8;
/// No group but the first has a directory.
const DIRECTORIES: u16 = 1;

const ID: [u8; 16] = *b"hull\0\0\x40\0\x80\0\0\0\0\0\0\x01";
/// 2023-11-14, in seconds since 1970.
const TIME: [u8; 4] = 1_700_000_000u32.to_le_bytes();

/// `bg_flags`.
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

/// ext_attr, dir_index, sparse_super2.
const COMPAT: u32 = 0x8 | 0x20 | 0x200;
const HAS_JOURNAL: u32 = 0x4;
/// filetype, extents, 64bit, flex_bg.
const INCOMPAT: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// sparse_super, large_file, dir_nlink, extra_isize, metadata_csum.
const RO_COMPAT: u32 = 0x1 | 0x2 | 0x20 | 0x40 | 0x400;

/// Writes the file system into `file`, which is all holes and has the size given.
pub fn write(file: &File, size: u64, journal: bool) -> io::Result<()> {
    let geometry = Geometry::new(size, journal).ok_or(io::ErrorKind::InvalidInput)?;
    // The first group's start is one piece up to the inode table's first block, behind which zeros follow.
    let head = [
        geometry.super_block(),
        geometry.descriptors(),
        geometry.block_bitmap(0).to_vec(),
        inode_bitmap().to_vec(),
        geometry.first_inodes(),
    ];
    file.write_all_at(&head.concat(), 0)?;
    file.write_all_at(&root_directory(), geometry.root_directory() * BLOCK as u64)?;
    if geometry.journal > 0 {
        file.write_all_at(&journal_super_block(geometry.journal), geometry.journal_start() * BLOCK as u64)?;
    }
    match geometry.groups - 1 {
        0 => Ok(()),
        last => file.write_all_at(&geometry.block_bitmap(last), geometry.metadata(last) * BLOCK as u64),
    }
}

/// Where things are.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    blocks: u64,
    groups: u32,
    descriptor_blocks: u32,
    /// Blocks of the journal.
    journal: u32,
}

impl Geometry {
    /// None: too small for a file system, or too large for one without meta block groups.
    fn new(size: u64, journal: bool) -> Option<Self> {
        let (group, metadata) = (u64::from(GROUP_BLOCKS), u64::from(GROUP_METADATA));
        let blocks = size / BLOCK as u64;
        // A rest that has no room for anything but its own metadata is left out.
        let rest = blocks % group;
        let blocks = if rest <= metadata { blocks - rest } else { blocks };
        let groups = u32::try_from(blocks.div_ceil(group)).ok()?;
        let descriptor_blocks = groups.div_ceil(u32::try_from(BLOCK / DESCRIPTOR).ok()?);
        let journal = if journal { journal_blocks(blocks) } else { 0 };
        let geometry = Self { blocks, groups, descriptor_blocks, journal };
        let fits = groups > 0 && geometry.used(0) < geometry.len(0);
        fits.then_some(geometry)
    }

    fn start(&self, group: u32) -> u64 {
        u64::from(group) * u64::from(GROUP_BLOCKS)
    }

    /// Blocks of a group.
    fn len(&self, group: u32) -> u32 {
        let rest = self.blocks.saturating_sub(self.start(group));
        u32::try_from(rest).map_or(GROUP_BLOCKS, |rest| rest.min(GROUP_BLOCKS))
    }

    /// Blocks before a group's bitmaps.
    fn lead(&self, group: u32) -> u32 {
        if group == 0 { 1 + self.descriptor_blocks } else { 0 }
    }

    /// The group's bitmap of blocks; behind it that of inodes and the inode table.
    fn metadata(&self, group: u32) -> u64 {
        self.start(group) + u64::from(self.lead(group))
    }

    fn root_directory(&self) -> u64 {
        self.metadata(0) + u64::from(GROUP_METADATA)
    }

    fn journal_start(&self) -> u64 {
        self.root_directory() + u64::from(DIRECTORIES)
    }

    /// Blocks in use, all at the group's start.
    fn used(&self, group: u32) -> u32 {
        let files = if group == 0 { u32::from(DIRECTORIES) + self.journal } else { 0 };
        self.lead(group) + GROUP_METADATA + files
    }

    /// Blocks that no file can ever have.
    fn overhead(&self) -> u64 {
        u64::from(self.groups) * u64::from(GROUP_METADATA) + u64::from(self.lead(0)) + u64::from(self.journal)
    }

    fn super_block(&self) -> Vec<u8> {
        let free = self.blocks - self.overhead() - u64::from(DIRECTORIES);
        let inodes = self.groups * GROUP_INODES;
        let mut super_block = [0; 1024];
        let mut put = Fields(&mut super_block);
        put.u32(0x00, inodes); // s_inodes_count
        put.halves(0x04, 0x150, self.blocks); // s_blocks_count
        put.halves(0x0c, 0x158, free); // s_free_blocks_count
        put.u32(0x10, inodes - RESERVED_INODES); // s_free_inodes_count
        put.u32(0x18, 2); // s_log_block_size: 1024 << 2
        put.u32(0x1c, 2); // s_log_cluster_size
        put.u32(0x20, GROUP_BLOCKS); // s_blocks_per_group
        put.u32(0x24, GROUP_BLOCKS); // s_clusters_per_group
        put.u32(0x28, GROUP_INODES); // s_inodes_per_group
        put.bytes(0x30, TIME); // s_wtime
        put.u16(0x36, u16::MAX); // s_max_mnt_count: never checked for it
        put.u16(0x38, 0xef53); // s_magic
        put.u16(0x3a, 1); // s_state: unmounted in good order
        put.u16(0x3c, 1); // s_errors: go on
        put.bytes(0x40, TIME); // s_lastcheck
        put.u32(0x4c, 1); // s_rev_level
        put.u32(0x54, RESERVED_INODES + 1); // s_first_ino
        put.u16(0x58, 256); // s_inode_size
        put.u32(0x5c, if self.journal > 0 { COMPAT | HAS_JOURNAL } else { COMPAT });
        put.u32(0x60, INCOMPAT);
        put.u32(0x64, RO_COMPAT);
        put.bytes(0x68, ID); // s_uuid
        put.u32(0xe0, if self.journal > 0 { JOURNAL_INODE } else { 0 }); // s_journal_inum
        put.bytes(0xec, ID); // s_hash_seed
        put.u16(0xfc, 1); // s_def_hash_version: half MD4
        put.u16(0xfe, 64); // s_desc_size
        put.u32(0x100, 0xc); // s_default_mount_opts: user_xattr, acl
        put.bytes(0x108, TIME); // s_mkfs_time
        put.u16(0x15c, 32); // s_min_extra_isize
        put.u16(0x15e, 32); // s_want_extra_isize
        put.u32(0x160, 1); // s_flags: signed directory hash
        put.u16(0x174, 0x104); // s_log_groups_per_flex: 16; s_checksum_type: crc32c
        put.u32(0x248, low32(self.overhead())); // s_overhead_clusters
        let sum = crc(!0, &put.0[..0x3fc]);
        put.u32(0x3fc, sum); // s_checksum
        let mut block = vec![0; BLOCK];
        block[1024..2048].copy_from_slice(&super_block);
        block
    }

    fn descriptors(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.descriptor_blocks as usize * BLOCK);
        for group in 0..self.groups {
            all.extend_from_slice(&self.descriptor(group));
        }
        all.resize(self.descriptor_blocks as usize * BLOCK, 0);
        all
    }

    fn descriptor(&self, group: u32) -> [u8; DESCRIPTOR] {
        let is_first = group == 0;
        let is_last = group == self.groups - 1;
        let metadata = self.metadata(group);
        let mut descriptor = [0; DESCRIPTOR];
        let mut put = Fields(&mut descriptor);
        put.halves(0x00, 0x20, metadata); // bg_block_bitmap
        put.halves(0x04, 0x24, metadata + 1); // bg_inode_bitmap
        put.halves(0x08, 0x28, metadata + 2); // bg_inode_table
        let free = if is_first { GROUP_INODES - RESERVED_INODES } else { GROUP_INODES };
        put.u16(0x0c, low16(self.len(group) - self.used(group))); // bg_free_blocks_count
        put.u16(0x0e, low16(free)); // bg_free_inodes_count
        put.u16(0x10, if is_first { DIRECTORIES } else { 0 }); // bg_used_dirs_count
        put.u16(0x1c, low16(free)); // bg_itable_unused
        let mut flags = INODE_ZEROED;
        if is_first {
            put.quarters(0x1a, 0x3a, crc(seed(), &inode_bitmap()[..GROUP_INODES as usize / 8]));
        } else {
            flags |= INODE_UNINIT;
        }
        // e2fsck takes the last group's bitmap as it is written, since that group may be short.
        if is_first || is_last {
            put.quarters(0x18, 0x38, crc(seed(), &self.block_bitmap(group)));
        } else {
            flags |= BLOCK_UNINIT;
        }
        put.u16(0x12, flags); // bg_flags
        let sum = crc(crc(seed(), &group.to_le_bytes()), put.0);
        put.u16(0x1e, low16(sum)); // bg_checksum
        descriptor
    }

    /// Bits of blocks in use, and of those behind the group's end.
    fn block_bitmap(&self, group: u32) -> [u8; BLOCK] {
        let mut bitmap = [0; BLOCK];
        set_bits(&mut bitmap, 0, self.used(group));
        set_bits(&mut bitmap, self.len(group), GROUP_BLOCKS);
        bitmap
    }

    /// The inode table's first block: the root directory's inode, and the journal's.
    fn first_inodes(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        let mut put = |number: u32, inode: [u8; INODE]| {
            let at = (number as usize - 1) * INODE;
            block[at..at + INODE].copy_from_slice(&inode);
        };
        put(ROOT_INODE, inode(ROOT_INODE, 0o040_755, 2, self.root_directory(), DIRECTORIES));
        if self.journal > 0 {
            put(JOURNAL_INODE, inode(JOURNAL_INODE, 0o100_600, 1, self.journal_start(), low16(self.journal)));
        }
        block
    }
}

/// One whose blocks are a single extent, all in use.
fn inode(number: u32, mode: u16, links: u16, start: u64, blocks: u16) -> [u8; INODE] {
    let mut inode = [0; INODE];
    let mut put = Fields(&mut inode);
    put.u16(0x00, mode); // i_mode
    put.u32(0x04, u32::from(blocks) * 4096); // i_size
    for offset in [0x08, 0x0c, 0x10, 0x90] {
        put.bytes(offset, TIME); // i_atime, i_ctime, i_mtime, i_crtime
    }
    put.u16(0x1a, links); // i_links_count
    put.u32(0x1c, u32::from(blocks) * 8); // i_blocks, of 512 bytes
    put.u32(0x20, 0x8_0000); // i_flags: extents
    put.u16(0x28, 0xf30a); // eh_magic
    put.u16(0x2a, 1); // eh_entries
    put.u16(0x2c, 4); // eh_max
    put.u16(0x38, blocks); // ee_len
    put.u32(0x3c, low32(start)); // ee_start_lo
    put.u16(0x80, 32); // i_extra_isize
    let sum = crc(inode_seed(number), put.0);
    put.quarters(0x7c, 0x82, sum); // i_checksum
    inode
}

/// As mke2fs has it, up to 64 MiB: one extent, in the first group.
fn journal_blocks(blocks: u64) -> u32 {
    match blocks {
        ..0x8000 => 1024,
        0x8000..0x4_0000 => 4096,
        0x4_0000..0x8_0000 => 8192,
        _ => 16384,
    }
}

/// jbd2's, of version 2 and without features, which the kernel adds at the first mount. Its fields are big endian.
fn journal_super_block(blocks: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let fields = [
        (0x00, 0xc03b_3998), // h_magic
        (0x04, 4),           // h_blocktype
        (0x0c, 4096),        // s_blocksize
        (0x10, blocks),      // s_maxlen
        (0x14, 1),           // s_first
        (0x18, 1),           // s_sequence
        (0x40, 1),           // s_nr_users
    ];
    for (offset, value) in fields {
        Fields(&mut block).bytes(offset, u32::to_be_bytes(value));
    }
    block
}

fn inode_bitmap() -> [u8; BLOCK] {
    let mut bitmap = [0; BLOCK];
    set_bits(&mut bitmap, 0, RESERVED_INODES);
    set_bits(&mut bitmap, GROUP_INODES, GROUP_BLOCKS);
    bitmap
}

/// Two entries and the checksum's, which looks like a deleted one.
fn root_directory() -> [u8; BLOCK] {
    const DIRECTORY: u8 = 2;
    const CHECKSUM: u8 = 0xde;
    let mut block = [0; BLOCK];
    let mut put = Fields(&mut block);
    for (offset, length, name) in [(0, 12, *b".\0"), (12, 4096 - 24, *b"..")] {
        put.u32(offset, ROOT_INODE);
        put.u16(offset + 4, length);
        put.bytes(offset + 6, [if offset == 0 { 1 } else { 2 }, DIRECTORY]);
        put.bytes(offset + 8, name);
    }
    let tail = BLOCK - 12;
    put.u16(tail + 4, 12);
    put.bytes(tail + 7, [CHECKSUM]);
    let sum = crc(inode_seed(ROOT_INODE), &put.0[..tail]);
    put.u32(tail + 8, sum);
    block
}

/// Fields of a record, at their offsets.
struct Fields<'a>(&'a mut [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self, offset: usize, value: [u8; N]) {
        self.0[offset..offset + N].copy_from_slice(&value);
    }

    fn u16(&mut self, offset: usize, value: u16) {
        self.bytes(offset, value.to_le_bytes());
    }

    fn u32(&mut self, offset: usize, value: u32) {
        self.bytes(offset, value.to_le_bytes());
    }

    /// A field whose low and high 32 bits lie apart.
    fn halves(&mut self, low: usize, high: usize, value: u64) {
        self.u32(low, low32(value));
        self.u32(high, low32(value >> 32));
    }

    /// A checksum whose low and high 16 bits lie apart.
    fn quarters(&mut self, low: usize, high: usize, value: u32) {
        self.u16(low, low16(value));
        self.u16(high, low16(value >> 16));
    }
}

fn low16(value: u32) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or(u16::MAX)
}

fn low32(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX)
}

fn set_bits(bitmap: &mut [u8], from: u32, to: u32) {
    for bit in from..to {
        bitmap[bit as usize / 8] |= 1 << (bit % 8);
    }
}

/// CRC32C that goes on from `state`, without the inversions that its usual form begins and ends with.
fn crc(state: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!state, bytes)
}

/// What all checksums but the superblock's begin with.
fn seed() -> u32 {
    crc(!0, &ID)
}

/// Those of an inode and of its directory's blocks go on with its number and its generation, 0.
fn inode_seed(inode: u32) -> u32 {
    crc(crc(seed(), &inode.to_le_bytes()), &[0; 4])
}
