//! Where everything of an EROFS file's metadata goes, and writing it there.

use std::io;

use super::ErofsError;
use super::directory::{self, Name};
use super::format::*;
use super::writer::{Kind, Output};
use crate::image::layer::tree::{Body, Data, EntryId, HOLE, Inode, Listing, Tree};
use crate::image::layer::xattrs;

/// Where an inode's content is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing, or behind the inode.
    Inline,
    /// In blocks of its own; counted from the first behind the inodes.
    Blocks(u32),
}

/// Place of an inode that was not reached.
const NOWHERE: u64 = 0;

pub struct Plan<'a> {
    listing: Listing<'a>,
    merged: bool,
    /// A name of each inode, in the order of writing: root first, then directory by directory.
    pub order: Vec<EntryId>,
    /// By inode: offset in the metadata.
    offsets: Vec<u64>,
    /// By inode: names that lead to it.
    links: Vec<u32>,
    /// In the order of writing.
    places: Vec<Place>,
    inode_bytes: u64,
    content_blocks: u64,
}

impl<'a> Plan<'a> {
    pub fn new(listing: Listing<'a>, kind: &Kind<'_>) -> Result<Self, ErofsError> {
        let (merged, start) = match kind {
            // Number 0 would be an inode that some readers take for "deleted".
            Kind::Layer { .. } => (false, DiskInode::SIZE as u64),
            Kind::Merged { devices } => {
                (true, SUPER_OFFSET + SuperBlock::SIZE as u64 + DEVICE_SLOT * devices.len() as u64)
            }
        };
        let inodes = listing.tree.inode_count();
        let mut plan = Self {
            listing,
            merged,
            order: vec![Tree::ROOT],
            offsets: vec![NOWHERE; inodes],
            links: vec![0; inodes],
            places: Vec::new(),
            inode_bytes: start,
            content_blocks: 0,
        };
        plan.reach();
        plan.place()?;
        Ok(plan)
    }

    /// Finds all inodes, and counts their names.
    fn reach(&mut self) {
        let mut at = 0;
        while let Some(entry) = self.order.get(at).copied() {
            at += 1;
            for child in self.listing.children(entry) {
                let inode = self.listing.tree.inode_of(*child);
                if let Some(links) = self.links.get_mut(inode.index()) {
                    *links += 1;
                    if *links == 1 {
                        self.order.push(*child);
                    }
                }
            }
        }
    }

    fn place(&mut self) -> Result<(), ErofsError> {
        let mut offset = self.inode_bytes;
        for at in 0..self.order.len() {
            let Some(entry) = self.order.get(at).copied() else { break };
            let head = DiskInode::SIZE as u64 + xattr_bytes(self.xattrs(entry)?.len());
            let content = self.content_len(entry);
            let fits = |offset: u64| (offset + head) % BLOCK + content <= BLOCK;
            offset = offset.next_multiple_of(SLOT);
            let mut place = Place::Inline;
            if content > 0 && !fits(offset) {
                let next = offset.next_multiple_of(BLOCK);
                if fits(next) {
                    offset = next;
                } else {
                    let block = u32::try_from(self.content_blocks).map_err(|_| ErofsError::TooLarge(0))?;
                    place = Place::Blocks(block);
                    self.content_blocks += blocks(content);
                }
            }
            if let Some(slot) = self.offsets.get_mut(self.listing.tree.inode_of(entry).index()) {
                *slot = offset;
            }
            offset += head;
            match place {
                Place::Inline => offset += content,
                Place::Blocks(_) => {}
            }
            if let Some((_, addresses)) = self.chunk_table(entry) {
                let unit = self.chunk_unit();
                offset = offset.next_multiple_of(unit) + unit * addresses.len() as u64;
            }
            self.places.push(place);
        }
        self.inode_bytes = offset;
        Ok(())
    }

    pub fn blocks(&self) -> u64 {
        blocks(self.inode_bytes) + self.content_blocks
    }

    pub fn nid(&self, entry: EntryId) -> u64 {
        let offset = self.offsets.get(self.listing.tree.inode_of(entry).index());
        offset.copied().unwrap_or(NOWHERE) / SLOT
    }

    fn inode(&self, entry: EntryId) -> &Inode {
        self.listing.tree.inode(self.listing.tree.inode_of(entry))
    }

    /// Bytes of directories and symlinks: what may lie behind the inode.
    fn content_len(&self, entry: EntryId) -> u64 {
        match self.inode(entry).body {
            Body::Directory { .. } => directory::measure(&self.names(entry)),
            Body::Symlink(target) => self.listing.tree.text(target).len() as u64,
            _ => 0,
        }
    }

    fn names(&self, entry: EntryId) -> Vec<Name<'_>> {
        let tree = self.listing.tree;
        let names = self.listing.children(entry).iter().map(|child| Name {
            bytes: tree.name_of(*child),
            nid: self.nid(*child),
            mode: mode(self.inode(*child)),
        });
        directory::with_dots(names, self.nid(entry), self.nid(tree.parent_of(entry)), S_IFDIR)
    }

    fn chunk_unit(&self) -> u64 {
        if self.merged { ChunkIndex::SIZE as u64 } else { 4 }
    }

    /// A chunk-based file's chunk bits and addresses with their device. In a merged root all files
    /// are of this kind; one that is contiguous is one chunk.
    fn chunk_table(&self, entry: EntryId) -> Option<(u8, Vec<(u16, u32)>)> {
        match self.inode(entry).body {
            Body::File { size, data } => match data {
                Data::None if size == 0 => None,
                Data::None => Some((whole_file_bits(size), vec![(0, HOLE)])),
                Data::Contiguous { .. } if !self.merged => None,
                Data::Contiguous { device, block } => Some((whole_file_bits(size), vec![(device, block)])),
                Data::Chunked { device, bits, first, count } => {
                    let addresses = self.listing.tree.chunks(first, count);
                    Some((bits, addresses.iter().map(|block| (device, *block)).collect()))
                }
            },
            _ => None,
        }
    }

    /// An inode's attributes, with what a layer notes beside its tar's.
    fn xattrs(&self, entry: EntryId) -> Result<Vec<u8>, ErofsError> {
        let inode = self.inode(entry);
        let tree = self.listing.tree;
        let mut encoded = tree.text(inode.attributes.xattrs).to_vec();
        let mut mark = |name: &[u8], value: &[u8]| -> Result<(), ErofsError> {
            encoded.extend(xattrs::encode_all([(name, value)].into_iter())?);
            Ok(())
        };
        match inode.body {
            _ if self.merged => {}
            Body::Directory { implied, opaque } => {
                if implied {
                    mark(xattrs::IMPLIED, b"y")?;
                }
                if opaque {
                    mark(xattrs::OPAQUE, b"y")?;
                }
            }
            Body::LowerLink(target) => mark(xattrs::LOWER_LINK, tree.text(target))?,
            _ => {}
        }
        Ok(encoded)
    }

    pub fn emit(&self, output: &mut Output<'_>, first_block: u32) -> io::Result<()> {
        // Inodes count from block `first_block`, content from the block behind them.
        let content_start = u64::from(first_block) + blocks(self.inode_bytes);
        for (number, (entry, place)) in (1_u32..).zip(self.order.iter().zip(&self.places)) {
            self.emit_inode(output, *entry, *place, number, content_start)?;
        }
        output.pad_to(blocks(self.inode_bytes) * BLOCK)?;
        for (entry, place) in self.order.iter().zip(&self.places) {
            if let Place::Blocks(_) = place {
                output.write(&self.content(*entry))?;
                output.pad_to(output.position.next_multiple_of(BLOCK))?;
            }
        }
        Ok(())
    }

    fn content(&self, entry: EntryId) -> Vec<u8> {
        match self.inode(entry).body {
            Body::Directory { .. } => directory::encode(&self.names(entry)),
            Body::Symlink(target) => self.listing.tree.text(target).to_vec(),
            _ => Vec::new(),
        }
    }

    fn emit_inode(
        &self,
        output: &mut Output<'_>,
        entry: EntryId,
        place: Place,
        number: u32,
        content_start: u64,
    ) -> io::Result<()> {
        let inode = self.inode(entry);
        let attributes = inode.attributes;
        let xattrs = self.xattrs(entry).map_err(io::Error::other)?;
        let content = self.content(entry);
        let table = self.chunk_table(entry);
        let bits = table.as_ref().map(|(bits, _)| *bits);
        let (layout, value) = self.layout(inode, place, bits, content_start)?;
        let size = match inode.body {
            Body::File { size, .. } => size,
            _ => content.len() as u64,
        };
        let record = DiskInode {
            format: EXTENDED | layout << 1,
            xattr_count: xattr_count(xattrs.len()),
            mode: mode(inode),
            reserved: 0,
            size,
            value,
            number,
            uid: attributes.uid,
            gid: attributes.gid,
            mtime: attributes.mtime,
            mtime_nsec: attributes.mtime_nsec,
            links: self.link_count(entry),
            reserved2: [0; 16],
        };
        output.pad_to(self.nid(entry) * SLOT)?;
        output.write(&record.encode())?;
        if !xattrs.is_empty() {
            output.write(&[0; XATTR_HEADER])?;
            output.write(&xattrs)?;
        }
        if place == Place::Inline {
            output.write(&content)?;
        }
        if let Some((_, addresses)) = table {
            output.pad_to(output.position.next_multiple_of(self.chunk_unit()))?;
            for (device, block) in addresses {
                match self.merged {
                    true => output.write(&ChunkIndex { advice: 0, device, block }.encode())?,
                    false => output.write(&block.to_le_bytes())?,
                }
            }
        }
        Ok(())
    }

    /// How an inode's data are found, and the value that says where.
    fn layout(
        &self,
        inode: &Inode,
        place: Place,
        chunk_bits: Option<u8>,
        content_start: u64,
    ) -> io::Result<(u16, u32)> {
        Ok(match (inode.body, place, chunk_bits) {
            (Body::File { .. }, _, Some(bits)) => {
                (LAYOUT_CHUNKED, u32::from(bits) | if self.merged { CHUNK_INDEXES } else { 0 })
            }
            (Body::File { data: Data::Contiguous { block, .. }, .. }, ..) => (LAYOUT_PLAIN, block),
            (Body::CharDevice(device) | Body::BlockDevice(device), ..) => (LAYOUT_PLAIN, device),
            (Body::Directory { .. } | Body::Symlink(_), Place::Inline, _) => (LAYOUT_INLINE, 0),
            (_, Place::Blocks(block), _) => {
                (LAYOUT_PLAIN, u32::try_from(content_start + u64::from(block)).map_err(io::Error::other)?)
            }
            _ => (LAYOUT_PLAIN, 0),
        })
    }

    fn link_count(&self, entry: EntryId) -> u32 {
        let tree = self.listing.tree;
        if !self.inode(entry).body.is_directory() {
            return self.links.get(tree.inode_of(entry).index()).copied().unwrap_or(1);
        }
        let children = self.listing.children(entry).iter();
        let directories = children.filter(|child| tree.body_of(**child).is_directory()).count();
        u32::try_from(directories).unwrap_or(u32::MAX - 2) + 2
    }
}

/// A chunk that holds the whole file; files are limited so that there is one.
fn whole_file_bits(size: u64) -> u8 {
    let bits = blocks(size).next_power_of_two().trailing_zeros();
    u8::try_from(bits).unwrap_or(MAX_CHUNK_BITS).min(MAX_CHUNK_BITS)
}

fn mode(inode: &Inode) -> u16 {
    let kind = match inode.body {
        Body::Directory { .. } => S_IFDIR,
        Body::File { .. } | Body::LowerLink(_) => S_IFREG,
        Body::Symlink(_) => S_IFLNK,
        Body::CharDevice(_) | Body::Whiteout => S_IFCHR,
        Body::BlockDevice(_) => S_IFBLK,
        Body::Fifo => S_IFIFO,
        Body::Socket => S_IFSOCK,
    };
    kind | inode.attributes.mode
}

fn xattr_bytes(encoded: usize) -> u64 {
    if encoded == 0 { 0 } else { (XATTR_HEADER + encoded) as u64 }
}

fn xattr_count(encoded: usize) -> u16 {
    if encoded == 0 { 0 } else { u16::try_from(encoded / 4 + 1).unwrap_or(u16::MAX) }
}
