//! The EROFS on-disk format, as far as hull writes it (Linux `fs/erofs/erofs_fs.h`). Everything is
//! little endian.

/// Blocks are pages: the largest that every kernel mounts.
pub const BLOCK_BITS: u32 = 12;
pub const BLOCK: u64 = 1 << BLOCK_BITS;
/// [`BLOCK`] for lengths in memory.
pub const BLOCK_LEN: usize = 1 << BLOCK_BITS;
/// Unit of inode numbers.
pub const SLOT: u64 = 32;

pub const SUPER_OFFSET: u64 = 1024;
pub const MAGIC: u32 = 0xE0F5_E1E2;
/// Times in inodes are modification times.
pub const COMPAT_MTIME: u32 = 0x2;
pub const INCOMPAT_CHUNKED: u32 = 0x4;
pub const INCOMPAT_DEVICE_TABLE: u32 = 0x8;
/// Bytes of a device table slot, and the unit of the table's place.
pub const DEVICE_SLOT: u64 = 128;

/// The inode is extended (64 bytes); behind it comes the layout.
pub const EXTENDED: u16 = 1;
pub const LAYOUT_PLAIN: u16 = 0;
pub const LAYOUT_INLINE: u16 = 2;
pub const LAYOUT_CHUNKED: u16 = 4;
/// Chunk addresses carry a device.
pub const CHUNK_INDEXES: u32 = 0x20;
/// Largest power of two of blocks in a chunk.
pub const MAX_CHUNK_BITS: u8 = 31;
/// Header of an inode's attributes.
pub const XATTR_HEADER: usize = 12;

/// Prefix numbers, prefixes, and whether the prefix is the whole name.
pub const XATTR_PREFIXES: [(u8, &str, bool); 5] = [
    (1, "user.", false),
    (2, "system.posix_acl_access", true),
    (3, "system.posix_acl_default", true),
    (4, "trusted.", false),
    (6, "security.", false),
];

pub const S_IFMT: u16 = 0o170_000;
pub const S_IFIFO: u16 = 0o010_000;
pub const S_IFCHR: u16 = 0o020_000;
pub const S_IFDIR: u16 = 0o040_000;
pub const S_IFBLK: u16 = 0o060_000;
pub const S_IFREG: u16 = 0o100_000;
pub const S_IFLNK: u16 = 0o120_000;
pub const S_IFSOCK: u16 = 0o140_000;

/// `length` rounded up to a multiple of `unit`, a power of two.
pub const fn align(length: usize, unit: usize) -> usize {
    (length + unit - 1) & !(unit - 1)
}

/// Blocks that hold so many bytes.
pub const fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK)
}

/// A record of fixed size; each field is named once, for writing and for reading.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $size:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $name {
            pub const SIZE: usize = $size;

            pub fn encode(&self) -> [u8; $size] {
                let mut bytes = [0; $size];
                let mut rest = &mut bytes[..];
                $(rest = self.$field.put(rest);)*
                debug_assert!(rest.is_empty());
                bytes
            }

            pub fn decode(bytes: &[u8; $size]) -> Self {
                let mut rest = &bytes[..];
                $(let $field = <$type as Field>::take(&mut rest);)*
                debug_assert!(rest.is_empty());
                Self { $($field,)* }
            }
        }

        const _: () = assert!($size == 0 $(+ size_of::<$type>())*);
    };
}

/// A field of a record: little-endian integers and byte arrays.
trait Field: Copy {
    /// Writes itself, and gives back what is left of the record.
    fn put(self, record: &mut [u8]) -> &mut [u8];
    fn take(record: &mut &[u8]) -> Self;
}

impl<const N: usize> Field for [u8; N] {
    fn put(self, record: &mut [u8]) -> &mut [u8] {
        match record.split_first_chunk_mut() {
            Some((field, rest)) => {
                *field = self;
                rest
            }
            None => &mut [],
        }
    }

    fn take(record: &mut &[u8]) -> Self {
        match record.split_first_chunk() {
            Some((field, rest)) => {
                *record = rest;
                *field
            }
            None => [0; N],
        }
    }
}

macro_rules! integer_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn put(self, record: &mut [u8]) -> &mut [u8] {
                self.to_le_bytes().put(record)
            }

            fn take(record: &mut &[u8]) -> Self {
                Self::from_le_bytes(Field::take(record))
            }
        }
    )*};
}
integer_fields!(u8, u16, u32, u64, i64);

record! {
    /// At [`SUPER_OFFSET`] of the first block.
    SuperBlock, 128 {
        magic: u32,
        /// Only counts with a feature bit that is not set here.
        checksum: u32,
        feature_compat: u32,
        block_bits: u8,
        extension_slots: u8,
        root_nid: u16,
        inodes: u64,
        build_time: u64,
        build_time_nsec: u32,
        /// Of this file, without those of other devices.
        blocks: u32,
        /// Inode numbers count [`SLOT`]s from this block on.
        meta_block: u32,
        xattr_block: u32,
        uuid: [u8; 16],
        volume_name: [u8; 16],
        feature_incompat: u32,
        compression: u16,
        extra_devices: u16,
        /// In [`DEVICE_SLOT`]s from the file's start.
        device_table: u16,
        directory_block_bits: u8,
        reserved: [u8; 37],
    }
}

record! {
    /// Device k of a merged root is slot k - 1.
    DeviceSlot, 128 {
        tag: [u8; 64],
        blocks: u32,
        /// Where the device begins on a flat disk.
        mapped_block: u32,
        reserved: [u8; 56],
    }
}

record! {
    /// An extended inode; attributes follow, then inline data or chunk addresses.
    DiskInode, 64 {
        format: u16,
        /// 0, or the attributes' length: (bytes - 12) / 4 + 1.
        xattr_count: u16,
        mode: u16,
        reserved: u16,
        size: u64,
        /// First block, device number or chunk format.
        value: u32,
        number: u32,
        uid: u32,
        gid: u32,
        mtime: i64,
        mtime_nsec: u32,
        links: u32,
        reserved2: [u8; 16],
    }
}

record! {
    /// One name of a directory block; the names follow the block's last record.
    Dirent, 12 {
        nid: u64,
        name_offset: u16,
        file_type: u8,
        reserved: u8,
    }
}

record! {
    /// A chunk's place, on a device.
    ChunkIndex, 8 {
        advice: u16,
        device: u16,
        block: u32,
    }
}

/// The type a directory gives beside a name (`EROFS_FT_*`), from an inode's mode.
pub fn file_type(mode: u16) -> u8 {
    match mode & S_IFMT {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFSOCK => 6,
        S_IFLNK => 7,
        _ => 0,
    }
}

/// A device number as inodes keep it (Linux `new_encode_dev`): 12 bits major, 20 minor.
pub fn device_number(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_little_endian_and_read_back() {
        let index = ChunkIndex { advice: 0, device: 2, block: 0x0102_0304 };
        assert_eq!(index.encode(), [0, 0, 2, 0, 4, 3, 2, 1]);
        assert_eq!(ChunkIndex::decode(&index.encode()), index);
        let dirent = Dirent { nid: 36, name_offset: 24, file_type: 2, reserved: 0 };
        assert_eq!(Dirent::decode(&dirent.encode()), dirent);
    }

    #[test]
    fn device_numbers_are_packed_as_linux_does() {
        assert_eq!(device_number(1, 3), Some(0x103));
        assert_eq!(device_number(259, 0x12345), Some(0x1231_0345));
        assert_eq!(device_number(4096, 0), None);
        assert_eq!(device_number(0, 1 << 20), None);
    }
}
