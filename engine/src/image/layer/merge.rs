//! Layers become one tree, by the rules of the OCI image-spec ("Applying Changesets"): whiteouts
//! remove, opaque markers clear, directories unite, all else replaces.

use std::collections::{HashMap, HashSet};

use super::erofs::ErofsError;
use super::erofs::format::DiskInode;
use super::erofs::reader::{LayerContent, LayerData, LayerInode, LayerReader};
use super::names;
use super::paths::{self, Missing, PathError};
use super::tree::{Attributes, Body, Data, EntryId, InodeId, Tree, TreeError};

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("the hard link \"{0}\" has no target in this or a lower layer")]
    LinkTarget(String),
    #[error("the hard link \"{0}\" leads to a directory")]
    LinkToDirectory(String),
    #[error("a directory is found twice")]
    Loop,
    #[error(transparent)]
    Layer(#[from] ErofsError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("a path cannot be resolved")]
    Path(#[from] PathError),
}

/// Puts a layer on top of what is merged so far. `device` is what its data are found by.
pub fn apply(tree: &mut Tree, layer: &LayerReader, device: u16) -> Result<(), MergeError> {
    // Links see the layers below as they were: the same layer may remove what it links to.
    let links = resolve_links(tree, layer)?;
    let root = layer.inode(layer.root())?;
    if let LayerContent::Directory { opaque: true, .. } = root.content {
        tree.clear();
    }
    if let LayerContent::Directory { implied: false, .. } = root.content {
        let inode = tree.inode_of(Tree::ROOT);
        tree.inode_mut(inode).attributes = attributes(tree, &root)?;
    }
    let mut merge = Merge {
        tree,
        layer,
        device,
        links,
        todo: vec![(layer.root(), Tree::ROOT)],
        through_symlinks: Vec::new(),
    };
    merge.run()
}

struct Merge<'a> {
    tree: &'a mut Tree,
    layer: &'a LayerReader,
    device: u16,
    /// By the layer's inode number: hard links of both kinds.
    links: HashMap<u64, InodeId>,
    /// Directories of the layer, and what they are in the tree.
    todo: Vec<(u64, EntryId)>,
    /// Implied directories that are symlinks below, as (number, parent, name). They come last: what
    /// they lead to may itself be in this layer.
    through_symlinks: Vec<(u64, EntryId, Vec<u8>)>,
}

impl Merge<'_> {
    fn run(&mut self) -> Result<(), MergeError> {
        loop {
            if let Some((nid, entry)) = self.todo.pop() {
                for (name, child) in self.layer.directory(nid)? {
                    self.child(entry, name, child)?;
                }
            } else if let Some((nid, parent, name)) = self.through_symlinks.pop() {
                let entry = self.directory_behind(parent, &name)?;
                self.todo.push((nid, entry));
            } else {
                return Ok(());
            }
        }
    }

    fn child(&mut self, parent: EntryId, name: &[u8], nid: u64) -> Result<(), MergeError> {
        if let Some(known) = self.links.get(&nid) {
            self.tree.link(parent, name, *known)?;
            return Ok(());
        }
        let inode = self.layer.inode(nid)?;
        let below = self.tree.lookup(parent, name);
        match inode.content {
            LayerContent::Whiteout => {
                if let Some(below) = below {
                    self.tree.remove(below);
                }
            }
            LayerContent::Directory { implied, opaque } => {
                self.directory(parent, name, nid, &inode, (implied, opaque), below)?;
            }
            _ => {
                let id = self.leaf(&inode)?;
                if inode.disk.links > 1 {
                    self.links.insert(nid, id);
                }
                self.tree.link(parent, name, id)?;
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        parent: EntryId,
        name: &[u8],
        nid: u64,
        inode: &LayerInode,
        (implied, opaque): (bool, bool),
        below: Option<EntryId>,
    ) -> Result<(), MergeError> {
        let lower = below.map(|below| (below, self.tree.body_of(below)));
        let entry = match lower {
            Some((_, Body::Symlink(_))) if implied && !opaque => {
                self.through_symlinks.push((nid, parent, name.to_vec()));
                return Ok(());
            }
            Some((below, Body::Directory { .. })) => {
                let attributes = match implied {
                    true => self.tree.inode(self.tree.inode_of(below)).attributes,
                    false => attributes(self.tree, inode)?,
                };
                if opaque {
                    self.new_directory(parent, name, attributes)?
                } else {
                    let id = self.tree.inode_of(below);
                    self.tree.inode_mut(id).attributes = attributes;
                    below
                }
            }
            _ => {
                let attributes = if implied { Attributes::IMPLIED } else { attributes(self.tree, inode)? };
                self.new_directory(parent, name, attributes)?
            }
        };
        self.todo.push((nid, entry));
        Ok(())
    }

    fn new_directory(
        &mut self,
        parent: EntryId,
        name: &[u8],
        attributes: Attributes,
    ) -> Result<EntryId, TreeError> {
        let inode = self.tree.add_inode(attributes, Body::Directory { implied: false, opaque: false })?;
        self.tree.link(parent, name, inode)
    }

    /// Where an implied directory's content goes if its name is a symlink: to the directory that it
    /// leads to, or, if it leads to none, to a directory in its place.
    fn directory_behind(&mut self, parent: EntryId, name: &[u8]) -> Result<EntryId, MergeError> {
        // From here and not from the root: a tree may be a million levels deep.
        match paths::directory_from(self.tree, parent, &[name], Missing::Create) {
            Ok(Some(entry)) => Ok(entry),
            Ok(None) | Err(PathError::NotDirectory(_) | PathError::Loop) => {
                Ok(self.new_directory(parent, name, Attributes::IMPLIED)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn leaf(&mut self, inode: &LayerInode) -> Result<InodeId, MergeError> {
        let attributes = attributes(self.tree, inode)?;
        let body = match &inode.content {
            LayerContent::File { size, data } => Body::File { size: *size, data: self.data(data)? },
            LayerContent::Symlink(target) => Body::Symlink(self.tree.add_text(target)?),
            LayerContent::CharDevice(device) => Body::CharDevice(*device),
            LayerContent::BlockDevice(device) => Body::BlockDevice(*device),
            LayerContent::Fifo => Body::Fifo,
            LayerContent::Socket => Body::Socket,
            LayerContent::Directory { .. } | LayerContent::Whiteout | LayerContent::LowerLink(_) => {
                return Err(MergeError::Loop);
            }
        };
        Ok(self.tree.add_inode(attributes, body)?)
    }

    fn data(&mut self, data: &LayerData) -> Result<Data, MergeError> {
        let device = self.device;
        Ok(match data {
            LayerData::None => Data::None,
            LayerData::Contiguous(block) => Data::Contiguous { device, block: *block },
            LayerData::Chunked { bits, addresses } => Data::Chunked {
                device,
                bits: *bits,
                first: self.tree.add_chunks(addresses)?,
                count: u32::try_from(addresses.len()).map_err(|_| TreeError::Chunks)?,
            },
        })
    }
}

fn attributes(tree: &mut Tree, inode: &LayerInode) -> Result<Attributes, TreeError> {
    let DiskInode { mode, uid, gid, mtime, mtime_nsec, .. } = inode.disk;
    let xattrs = tree.add_xattrs(&inode.xattrs)?;
    Ok(Attributes { mode: mode & 0o7777, uid, gid, mtime, mtime_nsec, xattrs })
}

/// Finds what the layer's links into lower layers mean. Walks the layer once, which also proves that
/// its directories are a tree.
fn resolve_links(tree: &mut Tree, layer: &LayerReader) -> Result<HashMap<u64, InodeId>, MergeError> {
    let mut links = HashMap::new();
    let mut seen = HashSet::from([layer.root()]);
    let mut todo = vec![layer.root()];
    while let Some(nid) = todo.pop() {
        for (_, child) in layer.directory(nid)? {
            match layer.inode(child)?.content {
                LayerContent::Directory { .. } if !seen.insert(child) => return Err(MergeError::Loop),
                LayerContent::Directory { .. } => todo.push(child),
                LayerContent::LowerLink(target) => {
                    links.insert(child, lower_inode(tree, &target)?);
                }
                _ => {}
            }
        }
    }
    Ok(links)
}

fn lower_inode(tree: &mut Tree, target: &[u8]) -> Result<InodeId, MergeError> {
    let shown = || target.escape_ascii().to_string();
    let missing = || MergeError::LinkTarget(shown());
    let parts = names::components(target).map_err(|_| missing())?;
    let (name, parents) = parts.split_last().ok_or_else(missing)?;
    let parent =
        paths::directory(tree, parents, Missing::Report).map_err(|_| missing())?.ok_or_else(missing)?;
    let entry = tree.lookup(parent, name).ok_or_else(missing)?;
    if tree.body_of(entry).is_directory() {
        return Err(MergeError::LinkToDirectory(shown()));
    }
    Ok(tree.inode_of(entry))
}
