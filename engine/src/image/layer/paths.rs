//! Finding directories in a tree by name, as a process whose root is the image would.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::tree::{Attributes, Body, EntryId, Tree, TreeError};

/// Symlinks that one name may lead through (Linux: MAXSYMLINKS).
const MAX_SYMLINKS: u32 = 40;

#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error("it lies below \"{0}\", which is not a directory")]
    NotDirectory(String),
    #[error("it lies below a symlink that leads out of the image")]
    Escape,
    #[error("it lies below more than {MAX_SYMLINKS} symlinks")]
    Loop,
    #[error("the ways to all entries lead through too many directories and symlinks")]
    Steps,
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What to do about a directory that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make it, as implied.
    Create,
    Report,
}

/// The directory of this name. Symlinks on the way are followed inside the tree, as containerd and
/// umoci do when they unpack onto a file system (Docker unpacks each layer by itself and lets the new
/// directory hide the link); one that climbs above the root is refused.
pub fn directory(tree: &mut Tree, parts: &[&[u8]], missing: Missing) -> Result<Option<EntryId>, PathError> {
    directory_from(tree, Tree::ROOT, parts, missing)
}

/// The same, with a name that begins at a directory.
pub fn directory_from(
    tree: &mut Tree,
    mut at: EntryId,
    parts: &[&[u8]],
    missing: Missing,
) -> Result<Option<EntryId>, PathError> {
    let mut links = 0;
    let mut ahead: VecDeque<Cow<'_, [u8]>> = parts.iter().map(|part| Cow::Borrowed(*part)).collect();
    while let Some(part) = ahead.pop_front() {
        if !tree.take_step() {
            return Err(PathError::Steps);
        }
        match &*part {
            b"" | b"." => continue,
            b".." if at == Tree::ROOT => return Err(PathError::Escape),
            b".." => {
                at = tree.parent_of(at);
                continue;
            }
            _ => {}
        }
        let Some(found) = tree.lookup(at, &part) else {
            if missing == Missing::Report {
                return Ok(None);
            }
            at = make(tree, at, &part, true)?;
            continue;
        };
        match tree.body_of(found) {
            Body::Directory { .. } => at = found,
            Body::Symlink(target) => {
                links += 1;
                if links > MAX_SYMLINKS {
                    return Err(PathError::Loop);
                }
                let target = tree.text(target);
                if target.starts_with(b"/") {
                    at = Tree::ROOT;
                }
                for part in target.rsplit(|byte| *byte == b'/') {
                    ahead.push_front(Cow::Owned(part.to_vec()));
                }
            }
            Body::Whiteout if missing == Missing::Report => return Ok(None),
            // What was there in lower layers is gone: the directory begins anew.
            Body::Whiteout => at = make(tree, at, &part, false)?,
            _ => return Err(PathError::NotDirectory(part.escape_ascii().to_string())),
        }
    }
    Ok(Some(at))
}

fn make(tree: &mut Tree, parent: EntryId, name: &[u8], implied: bool) -> Result<EntryId, TreeError> {
    let inode = tree.add_inode(Attributes::IMPLIED, Body::Directory { implied, opaque: !implied })?;
    tree.link(parent, name, inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symlink(tree: &mut Tree, name: &[u8], target: &[u8]) {
        let target = tree.add_text(target).unwrap();
        let inode = tree.add_inode(Attributes::IMPLIED, Body::Symlink(target)).unwrap();
        tree.link(Tree::ROOT, name, inode).unwrap();
    }

    #[test]
    fn symlinks_are_followed_inside_the_tree() {
        let mut tree = Tree::new();
        let lib = directory(&mut tree, &[b"usr", b"lib"], Missing::Create).unwrap().unwrap();
        symlink(&mut tree, b"lib", b"usr/lib");
        symlink(&mut tree, b"abs", b"/usr/../usr/./lib/");
        for name in [&b"lib"[..], b"abs"] {
            assert_eq!(directory(&mut tree, &[name], Missing::Report).unwrap(), Some(lib));
        }
    }

    #[test]
    fn symlinks_that_loop_or_climb_out_are_refused() {
        let mut tree = Tree::new();
        symlink(&mut tree, b"loop", b"loop");
        symlink(&mut tree, b"out", b"../../etc");
        assert!(matches!(directory(&mut tree, &[b"loop"], Missing::Create), Err(PathError::Loop)));
        assert!(matches!(directory(&mut tree, &[b"out"], Missing::Create), Err(PathError::Escape)));
    }

    #[test]
    fn a_missing_directory_is_reported_or_made() {
        let mut tree = Tree::new();
        assert_eq!(directory(&mut tree, &[b"a", b"b"], Missing::Report).unwrap(), None);
        let made = directory(&mut tree, &[b"a", b"b"], Missing::Create).unwrap();
        assert!(made.is_some());
        assert_eq!(directory(&mut tree, &[b"a", b"b"], Missing::Report).unwrap(), made);
    }
}
