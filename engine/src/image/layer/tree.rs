//! The tree of a layer, or of several merged: an arena of names and one of inodes, some 100 bytes an
//! entry and the names. File bytes are never in it, only where they lie.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// Names that a tree may hold whatever it was told.
pub const MAX_ENTRIES: usize = 1 << 28;
/// Bytes of names, link targets and attributes that a tree may hold an entry it may have: on average.
const TEXT_PER_ENTRY: usize = 128;
/// Directories that lead to an entry, on average: by way of symlinks one could ask for 80,000 each.
const STEPS_PER_ENTRY: u64 = 256;
/// Chunks of sparse files that a tree may hold: 64 MiB.
const MAX_CHUNKS: usize = 1 << 24;

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("more than {0} entries")]
    Entries(usize),
    #[error("names, link targets and attributes take more than {0} bytes")]
    Text(usize),
    #[error("sparse files of more than {MAX_CHUNKS} chunks")]
    Chunks,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(u32);

/// What a name stands for; hard links share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(u32);

impl InodeId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A run of the text arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    parent: EntryId,
    inode: InodeId,
    name: Span,
    /// Taken out of its directory.
    removed: bool,
}

/// Owner, permissions, times and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, setuid, setgid, sticky.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub mtime_nsec: u32,
    /// Encoded by [`super::xattrs`]; equal sets share a span.
    pub xattrs: Span,
}

impl Attributes {
    /// Of a directory that no layer says anything about.
    pub const IMPLIED: Self =
        Self { mode: 0o755, uid: 0, gid: 0, mtime: 0, mtime_nsec: 0, xattrs: Span { start: 0, len: 0 } };
}

#[derive(Debug, Clone, Copy)]
pub struct Inode {
    pub attributes: Attributes,
    pub body: Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Directory {
        /// Only known as part of longer names: a lower layer's attributes stay.
        implied: bool,
        /// Hides what lower layers have in it.
        opaque: bool,
    },
    File {
        size: u64,
        data: Data,
    },
    Symlink(Span),
    CharDevice(u32),
    BlockDevice(u32),
    Fifo,
    Socket,
    /// Hides this name in lower layers.
    Whiteout,
    /// A hard link to this path in a lower layer.
    LowerLink(Span),
}

impl Body {
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}

/// Where a file's bytes lie, in blocks. Device 0 is the file that the tree itself is written to,
/// 1 and up are layers below a merged root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// No bytes, or only a hole.
    None,
    Contiguous {
        device: u16,
        block: u32,
    },
    /// Chunks of 2^`bits` blocks, whose addresses are a run of [`Tree::chunks`].
    Chunked {
        device: u16,
        bits: u8,
        first: u32,
        count: u32,
    },
}

/// A chunk that is a hole.
pub const HOLE: u32 = u32::MAX;

pub struct Tree {
    entries: Vec<Entry>,
    inodes: Vec<Inode>,
    text: Vec<u8>,
    /// Addresses of chunks, for [`Data::Chunked`].
    chunks: Vec<u32>,
    /// Entries by directory and name.
    index: HashTable<EntryId>,
    /// Attribute sets, to be shared.
    xattr_sets: HashTable<Span>,
    hashing: RandomState,
    /// Names and inodes it may have, and bytes of text.
    max_entries: usize,
    max_text: usize,
    /// Names that may still be looked up on the way to others.
    steps_left: u64,
}

impl Tree {
    pub const ROOT: EntryId = EntryId(0);

    /// A tree of nothing but a root directory that nobody described yet.
    pub fn new() -> Self {
        Self::with_ceiling(MAX_ENTRIES as u64)
    }

    /// A tree that takes no more entries than this, implied and replaced ones too.
    pub fn with_ceiling(max_entries: u64) -> Self {
        let max_entries = usize::try_from(max_entries).unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
        let root =
            Inode { attributes: Attributes::IMPLIED, body: Body::Directory { implied: true, opaque: false } };
        Self {
            entries: vec![Entry {
                parent: Self::ROOT,
                inode: InodeId(0),
                name: Span::default(),
                removed: false,
            }],
            inodes: vec![root],
            text: Vec::new(),
            chunks: Vec::new(),
            index: HashTable::new(),
            xattr_sets: HashTable::new(),
            hashing: RandomState::new(),
            max_entries,
            // Even a few entries may have the largest attributes. Spans end at 2^32.
            steps_left: STEPS_PER_ENTRY.saturating_mul(max_entries as u64).saturating_add(1 << 20),
            max_text: (max_entries * TEXT_PER_ENTRY).clamp(1 << 20, u32::MAX as usize),
        }
    }

    /// Counts a step on the way to an entry; whether there may be one.
    pub fn take_step(&mut self) -> bool {
        let left = self.steps_left.checked_sub(1);
        self.steps_left = left.unwrap_or(0);
        left.is_some()
    }

    pub fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    #[allow(clippy::indexing_slicing)] // ids are only made by this tree, and nothing is ever taken out
    fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    #[allow(clippy::indexing_slicing)] // as above
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.0 as usize]
    }

    #[allow(clippy::indexing_slicing)] // as above
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.0 as usize]
    }

    pub fn inode_of(&self, id: EntryId) -> InodeId {
        self.entry(id).inode
    }

    pub fn body_of(&self, id: EntryId) -> Body {
        self.inode(self.inode_of(id)).body
    }

    pub fn parent_of(&self, id: EntryId) -> EntryId {
        self.entry(id).parent
    }

    pub fn name_of(&self, id: EntryId) -> &[u8] {
        self.text(self.entry(id).name)
    }

    pub fn text(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.text.get(start..start + span.len as usize).unwrap_or_default()
    }

    pub fn add_text(&mut self, bytes: &[u8]) -> Result<Span, TreeError> {
        let full = || TreeError::Text(self.max_text);
        if self.text.len() + bytes.len() > self.max_text {
            return Err(full());
        }
        let start = u32::try_from(self.text.len()).map_err(|_| full())?;
        let len = u32::try_from(bytes.len()).map_err(|_| full())?;
        self.text.extend_from_slice(bytes);
        Ok(Span { start, len })
    }

    /// An encoded attribute set; the same bytes give the same span.
    pub fn add_xattrs(&mut self, encoded: &[u8]) -> Result<Span, TreeError> {
        if encoded.is_empty() {
            return Ok(Span::default());
        }
        let hash = self.hashing.hash_one(encoded);
        if let Some(known) = self.xattr_sets.find(hash, |span| self.text(*span) == encoded) {
            return Ok(*known);
        }
        let span = self.add_text(encoded)?;
        let (text, hashing) = (&self.text, &self.hashing);
        self.xattr_sets.insert_unique(hash, span, |span| {
            let start = span.start as usize;
            hashing.hash_one(text.get(start..start + span.len as usize).unwrap_or_default())
        });
        Ok(span)
    }

    pub fn chunks(&self, first: u32, count: u32) -> &[u32] {
        let first = first as usize;
        self.chunks.get(first..first + count as usize).unwrap_or_default()
    }

    /// Adds a file's chunk addresses; the run's first index.
    pub fn add_chunks(&mut self, addresses: &[u32]) -> Result<u32, TreeError> {
        let first = u32::try_from(self.chunks.len()).map_err(|_| TreeError::Chunks)?;
        if self.chunks.len() + addresses.len() > MAX_CHUNKS {
            return Err(TreeError::Chunks);
        }
        self.chunks.extend_from_slice(addresses);
        Ok(first)
    }

    pub fn lookup(&self, parent: EntryId, name: &[u8]) -> Option<EntryId> {
        let hash = self.hashing.hash_one((parent, name));
        self.index
            .find(hash, |id| {
                let entry = self.entry(*id);
                entry.parent == parent && self.text(entry.name) == name
            })
            .copied()
    }

    pub fn add_inode(&mut self, attributes: Attributes, body: Body) -> Result<InodeId, TreeError> {
        let full = || TreeError::Entries(self.max_entries);
        if self.inodes.len() > self.max_entries {
            return Err(full());
        }
        let id = u32::try_from(self.inodes.len()).map_err(|_| full())?;
        self.inodes.push(Inode { attributes, body });
        Ok(InodeId(id))
    }

    /// Puts a name into a directory, in place of whatever had it. A directory that is replaced takes
    /// its content with it.
    pub fn link(&mut self, parent: EntryId, name: &[u8], inode: InodeId) -> Result<EntryId, TreeError> {
        if let Some(old) = self.lookup(parent, name) {
            self.remove(old);
        }
        let full = || TreeError::Entries(self.max_entries);
        // The root is none of them.
        if self.entries.len() > self.max_entries {
            return Err(full());
        }
        let id = EntryId(u32::try_from(self.entries.len()).map_err(|_| full())?);
        let name = self.add_text(name)?;
        self.entries.push(Entry { parent, inode, name, removed: false });
        let Self { entries, text, hashing, index, .. } = self;
        let hash_of = |id: &EntryId| {
            let entry = entries.get(id.0 as usize).copied();
            let (parent, name) =
                entry.map_or((Self::ROOT, Span::default()), |entry| (entry.parent, entry.name));
            let start = name.start as usize;
            hashing.hash_one((parent, text.get(start..start + name.len as usize).unwrap_or_default()))
        };
        index.insert_unique(hash_of(&id), id, hash_of);
        Ok(id)
    }

    /// Takes a name out of its directory, with all that is below it.
    pub fn remove(&mut self, id: EntryId) {
        let hash = self.hashing.hash_one((self.parent_of(id), self.name_of(id)));
        if let Ok(found) = self.index.find_entry(hash, |other| *other == id) {
            found.remove();
            if let Some(entry) = self.entries.get_mut(id.0 as usize) {
                entry.removed = true;
            }
        }
    }

    /// Empties the root directory.
    pub fn clear(&mut self) {
        for entry in self.entries.iter_mut().skip(1) {
            entry.removed |= entry.parent == Self::ROOT;
        }
        let entries = &self.entries;
        self.index.retain(|id| entries.get(id.0 as usize).is_some_and(|entry| !entry.removed));
    }

    /// The tree as it is now, ready to be walked.
    pub fn listing(&self) -> Listing<'_> {
        Listing::new(self)
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

/// All names that are reached from the root, by directory and sorted by bytes.
pub struct Listing<'a> {
    pub tree: &'a Tree,
    /// Sorted by parent, then name.
    sorted: Vec<EntryId>,
    /// Where in `sorted` the children of an entry begin.
    starts: Vec<u32>,
}

impl<'a> Listing<'a> {
    fn new(tree: &'a Tree) -> Self {
        let mut starts = vec![0_u32; tree.entries.len() + 1];
        let children = || tree.entries.iter().zip(0_u32..).skip(1).filter(|(entry, _)| !entry.removed);
        for (entry, _) in children() {
            if let Some(count) = starts.get_mut(entry.parent.0 as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut sorted = vec![Tree::ROOT; sum as usize];
        for (entry, id) in children() {
            if let Some(at) = next.get_mut(entry.parent.0 as usize) {
                if let Some(place) = sorted.get_mut(*at as usize) {
                    *place = EntryId(id);
                }
                *at += 1;
            }
        }
        for bounds in starts.windows(2) {
            if let [start, end] = bounds
                && let Some(run) = sorted.get_mut(*start as usize..*end as usize)
            {
                run.sort_unstable_by(|a, b| tree.name_of(*a).cmp(tree.name_of(*b)));
            }
        }
        Self { tree, sorted, starts }
    }

    /// A directory's names, sorted by bytes.
    pub fn children(&self, directory: EntryId) -> &[EntryId] {
        let at = directory.0 as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => self.sorted.get(*start as usize..*end as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tree: &mut Tree) -> InodeId {
        tree.add_inode(Attributes::IMPLIED, Body::File { size: 0, data: Data::None }).unwrap()
    }

    fn directory(tree: &mut Tree) -> InodeId {
        tree.add_inode(Attributes::IMPLIED, Body::Directory { implied: false, opaque: false }).unwrap()
    }

    #[test]
    fn names_are_listed_by_bytes() {
        let mut tree = Tree::new();
        for name in ["b", "a", "B", "é", "aa"] {
            let inode = file(&mut tree);
            tree.link(Tree::ROOT, name.as_bytes(), inode).unwrap();
        }
        let listing = tree.listing();
        let names: Vec<_> = listing.children(Tree::ROOT).iter().map(|id| tree.name_of(*id)).collect();
        assert_eq!(names, [&b"B"[..], b"a", b"aa", b"b", "é".as_bytes()]);
    }

    #[test]
    fn a_directory_that_comes_back_is_empty() {
        let mut tree = Tree::new();
        let (first, inside, second) = (directory(&mut tree), file(&mut tree), directory(&mut tree));
        let old = tree.link(Tree::ROOT, b"d", first).unwrap();
        tree.link(old, b"x", inside).unwrap();
        let new = tree.link(Tree::ROOT, b"d", second).unwrap();
        assert_eq!(tree.lookup(new, b"x"), None);
        assert!(tree.listing().children(new).is_empty());
    }

    #[test]
    fn equal_attribute_sets_are_kept_once() {
        let mut tree = Tree::new();
        let first = tree.add_xattrs(b"abc").unwrap();
        assert_eq!(tree.add_xattrs(b"abc").unwrap(), first);
        assert_ne!(tree.add_xattrs(b"abd").unwrap(), first);
    }
}
