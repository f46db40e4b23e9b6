//! From tar entries to a layer's tree and data.
//!
//! - The last entry of a name wins, except that a directory met again keeps its content.
//! - `.wh.NAME` hides NAME in lower layers, whether it comes before or after a NAME of this layer; a
//!   directory of this layer that has one is opaque. `.wh..wh..opq` makes its directory opaque.
//!   (OCI image-spec, "Whiteouts".) Other names in `.wh..wh.` are AUFS's own and mean nothing.
//! - A character device 0/0 is a whiteout too: overlayfs would take it for one wherever it lies.
//! - A hard link to nothing in this layer is kept by name, for the merge to resolve.
//! - Times outside what ext4 holds (1901 to 2446) are cut to its ends: a copied-up file would be too.

use std::io::Read;

use super::erofs::ErofsError;
use super::erofs::data::DataWriter;
use super::erofs::format::{BLOCK, MAX_CHUNK_BITS, device_number};
use super::names::{self, NameError};
use super::paths::{self, Missing, PathError};
use super::tar::{Member, MemberKind, TarError, TarReader};
use super::tree::{Attributes, Body, Data, EntryId, InodeId, Span, Tree, TreeError};
use super::xattrs::{self, XattrError};
use crate::text::escape;

/// Largest file, with holes: one chunk.
const MAX_FILE: u64 = BLOCK << MAX_CHUNK_BITS;
/// ext4's times: 34 bits that begin at -2^31.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - (1 << 31) - 1;

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("Failed to read the layer's tar")]
    Tar(#[from] TarError),
    #[error("Failed to convert the entry \"{path}\"")]
    Entry { path: String, source: EntryError },
    #[error("Failed to write the layer file")]
    Write(#[from] ErofsError),
}

#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("bad link target")]
    Target(#[source] NameError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Xattrs(#[from] XattrError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("the image's root must be a directory")]
    Root,
    #[error("a symlink without a target")]
    EmptyTarget,
    #[error("a hard link to a directory")]
    LinkToDirectory,
    #[error("a whiteout of nothing")]
    Whiteout,
    #[error("a device number out of range")]
    Device,
    #[error("a file of {0} bytes is over the limit of 8 TiB")]
    Size(u64),
}

/// A layer in the making.
pub struct LayerBuilder<'a> {
    tree: Tree,
    data: DataWriter<'a>,
    entries: u64,
    max_entries: u64,
}

impl<'a> LayerBuilder<'a> {
    /// `max_entries` are those of the tar, and those of the tree, which has implied directories too.
    pub fn new(data: DataWriter<'a>, max_entries: u64) -> Self {
        Self { tree: Tree::with_ceiling(max_entries), data, entries: 0, max_entries }
    }

    /// Where a file's data go in the layer file, if the next entry has some and is not sparse.
    pub fn next_data(&self) -> u64 {
        self.data.position()
    }

    /// The tree, the first block behind the data, and how many entries the tar had.
    pub fn finish(self) -> Result<(Tree, u32, u64), BuildError> {
        Ok((self.tree, self.data.finish()?, self.entries))
    }

    /// Takes an entry with its data.
    pub fn add<R: Read>(&mut self, member: &Member, tar: &mut TarReader<R>) -> Result<(), BuildError> {
        let shown = |source| BuildError::Entry { path: escape(&member.path).to_string(), source };
        self.entries += 1;
        if self.entries > self.max_entries {
            let most = usize::try_from(self.max_entries).unwrap_or(usize::MAX);
            return Err(shown(TreeError::Entries(most).into()));
        }
        let place = self.place(member).map_err(shown)?;
        let Some((parent, name)) = place else { return Ok(()) };
        let body = match member.kind {
            MemberKind::File => Some(self.file(member, tar, shown)?),
            _ => None,
        };
        self.put(parent, &name, member, body).map_err(shown)
    }

    /// Where an entry goes. `None`: it is done with.
    fn place(&mut self, member: &Member) -> Result<Option<(EntryId, Vec<u8>)>, EntryError> {
        let parts = names::components(&member.path)?;
        let Some((name, parents)) = parts.split_last() else {
            return self.root(member).map(|()| None);
        };
        let parent = self.directory(parents)?;
        match name.strip_prefix(b".wh.") {
            Some(b".wh..opq") => self.set_opaque(parent),
            Some(aufs) if aufs.starts_with(b".wh.") => {}
            Some(b"" | b"." | b"..") => return Err(EntryError::Whiteout),
            Some(hidden) => self.whiteout(parent, hidden)?,
            None => return Ok(Some((parent, name.to_vec()))),
        }
        Ok(None)
    }

    fn root(&mut self, member: &Member) -> Result<(), EntryError> {
        if member.kind != MemberKind::Directory {
            return Err(EntryError::Root);
        }
        let attributes = self.attributes(member)?;
        self.describe(Tree::ROOT, attributes);
        Ok(())
    }

    fn directory(&mut self, parts: &[&[u8]]) -> Result<EntryId, EntryError> {
        Ok(paths::directory(&mut self.tree, parts, Missing::Create)?.unwrap_or(Tree::ROOT))
    }

    /// Gives a directory its attributes.
    fn describe(&mut self, entry: EntryId, attributes: Attributes) {
        let id = self.tree.inode_of(entry);
        let inode = self.tree.inode_mut(id);
        inode.attributes = attributes;
        if let Body::Directory { implied, .. } = &mut inode.body {
            *implied = false;
        }
    }

    fn set_opaque(&mut self, entry: EntryId) {
        let id = self.tree.inode_of(entry);
        if let Body::Directory { opaque, .. } = &mut self.tree.inode_mut(id).body {
            *opaque = true;
        }
    }

    fn whiteout(&mut self, parent: EntryId, name: &[u8]) -> Result<(), EntryError> {
        match self.tree.lookup(parent, name) {
            Some(own) if self.tree.body_of(own).is_directory() => {
                self.set_opaque(own);
                let attributes = self.tree.inode(self.tree.inode_of(own)).attributes;
                self.describe(own, attributes);
            }
            // What this layer has in its place hides it already.
            Some(_) => {}
            None => self.link(parent, name, Attributes::IMPLIED, Body::Whiteout)?,
        }
        Ok(())
    }

    fn put(
        &mut self,
        parent: EntryId,
        name: &[u8],
        member: &Member,
        file: Option<Body>,
    ) -> Result<(), EntryError> {
        if member.kind == MemberKind::HardLink {
            return self.hard_link(parent, name, &member.link);
        }
        let attributes = self.attributes(member)?;
        let (major, minor) = member.device;
        let device = device_number(major, minor).ok_or(EntryError::Device)?;
        let body = match (member.kind, file) {
            (MemberKind::Directory, _) => {
                let own = self.tree.lookup(parent, name);
                if let Some(own) = own
                    && self.tree.body_of(own).is_directory()
                {
                    self.describe(own, attributes);
                    return Ok(());
                }
                // What it replaces hid the lower layers' content, and so does it.
                Body::Directory { implied: false, opaque: own.is_some() }
            }
            (_, Some(file)) => file,
            (MemberKind::Symlink, _) => Body::Symlink(self.symlink_target(&member.link)?),
            (MemberKind::CharDevice, _) if device == 0 => return self.whiteout(parent, name),
            (MemberKind::CharDevice, _) => Body::CharDevice(device),
            (MemberKind::BlockDevice, _) => Body::BlockDevice(device),
            (MemberKind::Fifo | MemberKind::File | MemberKind::HardLink, None) => Body::Fifo,
        };
        self.link(parent, name, attributes, body)
    }

    fn link(
        &mut self,
        parent: EntryId,
        name: &[u8],
        attributes: Attributes,
        body: Body,
    ) -> Result<(), EntryError> {
        let inode = self.tree.add_inode(attributes, body)?;
        self.tree.link(parent, name, inode)?;
        Ok(())
    }

    fn hard_link(&mut self, parent: EntryId, name: &[u8], target: &[u8]) -> Result<(), EntryError> {
        let parts = names::components(target).map_err(EntryError::Target)?;
        let inode = match self.own_inode(&parts)? {
            Some(own) if self.tree.inode(own).body.is_directory() => return Err(EntryError::LinkToDirectory),
            Some(own) => own,
            None => {
                let path = self.tree.add_text(&parts.join(&b'/'))?;
                self.tree.add_inode(Attributes::IMPLIED, Body::LowerLink(path))?
            }
        };
        self.tree.link(parent, name, inode)?;
        Ok(())
    }

    /// What this layer has under a name.
    fn own_inode(&mut self, parts: &[&[u8]]) -> Result<Option<InodeId>, EntryError> {
        let Some((name, parents)) = parts.split_last() else { return Err(EntryError::LinkToDirectory) };
        let Some(parent) = paths::directory(&mut self.tree, parents, Missing::Report)? else {
            return Ok(None);
        };
        let found =
            self.tree.lookup(parent, name).filter(|entry| self.tree.body_of(*entry) != Body::Whiteout);
        Ok(found.map(|entry| self.tree.inode_of(entry)))
    }

    fn symlink_target(&mut self, target: &[u8]) -> Result<Span, EntryError> {
        if target.is_empty() {
            return Err(EntryError::EmptyTarget);
        }
        names::check_target(target).map_err(EntryError::Target)?;
        Ok(self.tree.add_text(target)?)
    }

    fn attributes(&mut self, member: &Member) -> Result<Attributes, EntryError> {
        let mtime = member.mtime.clamp(*TIMES.start(), *TIMES.end());
        let cut = mtime != member.mtime;
        Ok(Attributes {
            // Linux has no other permissions for symlinks, whatever a tar says.
            mode: if member.kind == MemberKind::Symlink { 0o777 } else { member.mode },
            uid: member.uid,
            gid: member.gid,
            mtime,
            mtime_nsec: if cut { 0 } else { member.mtime_nsec },
            xattrs: {
                let encoded = xattrs::encode(&member.xattrs)?;
                self.tree.add_xattrs(&encoded)?
            },
        })
    }

    /// Streams a file's data to their place.
    fn file<R: Read>(
        &mut self,
        member: &Member,
        tar: &mut TarReader<R>,
        shown: impl Fn(EntryError) -> BuildError,
    ) -> Result<Body, BuildError> {
        let size = member.size;
        if size > MAX_FILE {
            return Err(shown(EntryError::Size(size)));
        }
        let mut read = |buf: &mut [u8]| tar.read_data(buf).map_err(BuildError::from);
        let data = match &member.sparse {
            _ if size == 0 => Data::None,
            None => {
                let block = self.data.block()?;
                self.data.fill(member.stored, &mut read)?;
                self.data.pad();
                Data::Contiguous { device: 0, block }
            }
            Some(fragments) if fragments.is_empty() => Data::None,
            Some(fragments) => {
                let (bits, addresses) = self.data.fill_sparse(size, fragments, &mut read)?;
                let first = self.tree.add_chunks(&addresses).map_err(|e| shown(e.into()))?;
                let count = u32::try_from(addresses.len()).map_err(|_| shown(EntryError::Size(size)))?;
                Data::Chunked { device: 0, bits, first, count }
            }
        };
        Ok(Body::File { size, data })
    }
}
