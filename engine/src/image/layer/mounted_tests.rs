//! Arbitrary layers against a simple idea of what they mean, seen through the kernel: the model applies
//! entries in the order in which they come to one map of names, as a program does that unpacks onto a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use proptest::prelude::*;
use tar::EntryType;

use super::mounted::{Mounted, Seen, assert_sound, merged_file};
use super::tests::{Archive, convert};
use crate::image::digest::Digest;

/// What an entry of a layer is.
#[derive(Debug, Clone)]
enum What {
    Directory,
    File(Vec<u8>),
    /// Runs of bytes with holes between, in blocks.
    Sparse(Vec<(u64, u64)>),
    Symlink(String),
    HardLink(String),
    Fifo,
    Device(u32),
    Whiteout,
    Opaque,
}

#[derive(Debug, Clone)]
struct Op {
    /// Directories that lead to it, and its name.
    path: Vec<&'static str>,
    what: What,
    mode: u32,
    mtime: i64,
    xattr: Vec<u8>,
}

impl Op {
    fn path(&self) -> String {
        self.path.join("/")
    }

    fn sparse_bytes(runs: &[(u64, u64)]) -> (Vec<u8>, Vec<u8>, String) {
        let (mut whole, mut stored, mut map) = (Vec::new(), Vec::new(), Vec::new());
        for (hole, run) in runs {
            whole.resize(whole.len() + usize::try_from(*hole).unwrap(), 0);
            map.push(format!("{},{run}", whole.len()));
            let bytes: Vec<_> = (0..*run).map(|n| (n % 251) as u8 + 1).collect();
            whole.extend_from_slice(&bytes);
            stored.extend_from_slice(&bytes);
        }
        (whole, stored, map.join(","))
    }

    fn put(&self, archive: Archive) -> Archive {
        let path = self.path();
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (format!("{parent}/"), name),
            None => (String::new(), path.as_str()),
        };
        let mtime = self.mtime.to_string();
        let mut records = vec![("mtime", mtime.as_bytes())];
        if !self.xattr.is_empty() {
            records.push(("SCHILY.xattr.trusted.given", self.xattr.as_slice()));
        }
        let (mode, device) = (self.mode, if let What::Device(device) = self.what { device } else { 0 });
        let change = move |header: &mut tar::Header| {
            header.set_mode(mode);
            header.set_device_major(device).unwrap();
            header.set_device_minor(3).unwrap();
        };
        let add =
            |archive: Archive, kind, link: &str, data: &[u8]| archive.add(&path, kind, link, data, change);
        match &self.what {
            What::Directory => add(archive.pax(&records), EntryType::Directory, "", b""),
            What::File(data) => add(archive.pax(&records), EntryType::Regular, "", data),
            What::Sparse(runs) => {
                let (whole, stored, map) = Self::sparse_bytes(runs);
                let size = whole.len().to_string();
                records.push(("GNU.sparse.size", size.as_bytes()));
                records.push(("GNU.sparse.map", map.as_bytes()));
                add(archive.pax(&records), EntryType::Regular, "", &stored)
            }
            What::Symlink(target) => add(archive.pax(&records), EntryType::Symlink, target, b""),
            What::HardLink(target) => add(archive, EntryType::Link, target, b""),
            What::Fifo => add(archive.pax(&records), EntryType::Fifo, "", b""),
            What::Device(_) => add(archive.pax(&records), EntryType::Char, "", b""),
            What::Whiteout => archive.file(&format!("{parent}.wh.{name}"), b""),
            What::Opaque => archive.file(&format!("{path}/.wh..wh..opq"), b""),
        }
    }
}

/// An inode of the model; its names share its number.
#[derive(Debug, Clone)]
struct Inode {
    kind: String,
    mode: u32,
    mtime: i64,
    xattr: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Model {
    /// By path, the root being "".
    names: BTreeMap<String, usize>,
    inodes: Vec<Inode>,
}

const IMPLIED: (u32, i64) = (0o755, 0);

impl Model {
    fn new() -> Self {
        let mut model = Self::default();
        model.add("", "dir", IMPLIED.0, IMPLIED.1, Vec::new());
        model
    }

    fn add(&mut self, path: &str, kind: &str, mode: u32, mtime: i64, xattr: Vec<u8>) {
        self.names.insert(path.to_owned(), self.inodes.len());
        self.inodes.push(Inode { kind: kind.to_owned(), mode, mtime, xattr });
    }

    fn is_dir(&self, path: &str) -> Option<bool> {
        self.names.get(path).map(|inode| self.inodes[*inode].kind == "dir")
    }

    fn remove_below(&mut self, path: &str, keep: &BTreeSet<String>) {
        let inside =
            |name: &str| path.is_empty() && !name.is_empty() || name.starts_with(&format!("{path}/"));
        self.names.retain(|name, _| !inside(name) || keep.contains(name));
    }

    /// Hides what lower layers have below a directory. Directories that this layer only leads through had
    /// their attributes from there.
    fn hide_below(&mut self, path: &str, own: &BTreeSet<String>, described: &BTreeSet<String>) {
        self.remove_below(path, own);
        let inside = own.iter().filter(|name| path.is_empty() || name.starts_with(&format!("{path}/")));
        for name in inside.filter(|name| !described.contains(*name)) {
            if self.is_dir(name) == Some(true) {
                self.add(name, "dir", IMPLIED.0, IMPLIED.1, Vec::new());
            }
        }
    }

    fn remove(&mut self, path: &str) {
        self.remove_below(path, &BTreeSet::new());
        self.names.remove(path);
    }

    /// Applies a layer; gives the entries that a tar may have: hull refuses those below files, and hard
    /// links to nothing.
    fn apply(&mut self, ops: &[Op]) -> Vec<Op> {
        let before = self.clone();
        // What this layer has, and which of its directories it describes.
        let (mut own, mut described) = (BTreeSet::new(), BTreeSet::new());
        let mut taken = Vec::new();
        for op in ops {
            let path = op.path();
            let parents = parents(&path);
            let file = |name: &String| own.contains(name) && self.is_dir(name) == Some(false);
            let own_parent = matches!(op.what, What::Opaque).then(|| path.clone());
            if parents.iter().chain(&own_parent).any(file) {
                continue;
            }
            let mut linked = None;
            if let What::HardLink(target) = &op.what {
                let on_the_way = self::parents(target).iter().any(file);
                let inside = parents.contains(target) || *target == path;
                linked = match (own.contains(target), self.is_dir(target)) {
                    (true, Some(false)) => self.names.get(target).copied(),
                    (true, _) => None,
                    (false, _) if before.is_dir(target) == Some(false) => before.names.get(target).copied(),
                    _ => None,
                };
                if on_the_way || inside || linked.is_none() {
                    continue;
                }
            }
            taken.push(op.clone());
            for parent in parents.iter().chain(&own_parent).filter(|name| !name.is_empty()) {
                if self.is_dir(parent) != Some(true) {
                    self.remove(parent);
                    self.add(parent, "dir", IMPLIED.0, IMPLIED.1, Vec::new());
                }
                own.insert(parent.clone());
            }
            self.enter(op, &path, linked, &mut own, &mut described);
        }
        taken
    }

    fn enter(
        &mut self,
        op: &Op,
        path: &str,
        linked: Option<usize>,
        own: &mut BTreeSet<String>,
        described: &mut BTreeSet<String>,
    ) {
        let kind = match &op.what {
            What::Opaque => return self.hide_below(path, own, described),
            What::Whiteout if !own.contains(path) => return self.remove(path),
            What::Whiteout => {
                self.hide_below(path, own, described);
                // A directory of a lower layer is gone, and what this layer has in its place is new.
                if self.is_dir(path) == Some(true) && described.insert(path.to_owned()) {
                    self.add(path, "dir", IMPLIED.0, IMPLIED.1, Vec::new());
                }
                return;
            }
            What::HardLink(_) => String::new(),
            What::Directory => "dir".to_owned(),
            What::File(data) => format!("file {} {}", data.len(), Digest::of(data).hex()),
            What::Sparse(runs) => {
                let (whole, ..) = Op::sparse_bytes(runs);
                format!("file {} {}", whole.len(), Digest::of(&whole).hex())
            }
            What::Symlink(target) => format!("-> {target}"),
            What::Fifo => "fifo".to_owned(),
            What::Device(major) => format!("char {:#x}", nix::sys::stat::makedev(u64::from(*major), 3)),
        };
        if kind != "dir" || self.is_dir(path) != Some(true) {
            self.remove(path);
            own.retain(|name| !name.starts_with(&format!("{path}/")));
            described.retain(|name| !name.starts_with(&format!("{path}/")));
        }
        own.insert(path.to_owned());
        described.insert(path.to_owned());
        match linked {
            Some(inode) => {
                self.names.insert(path.to_owned(), inode);
            }
            None => {
                let mode = if kind.starts_with("->") { 0o777 } else { op.mode };
                self.add(path, &kind, mode, op.mtime, op.xattr.clone());
            }
        }
    }

    fn listing(&self) -> BTreeMap<String, Seen> {
        let shown = |path: &str| format!("/{path}");
        let seen = |(path, number): (&String, &usize)| {
            let inode = &self.inodes[*number];
            let names: Vec<_> = self.names.iter().filter(|(_, other)| *other == number).collect();
            let seen = Seen {
                kind: inode.kind.clone(),
                mode: inode.mode,
                owner: (0, 0),
                mtime: (inode.mtime, 0),
                links: if inode.kind == "dir" { 0 } else { names.len() as u64 },
                inode: shown(names[0].0),
                xattrs: match inode.xattr.is_empty() {
                    true => BTreeMap::new(),
                    false => [(b"trusted.given".to_vec(), inode.xattr.clone())].into(),
                },
            };
            (shown(path), seen)
        };
        self.names.iter().map(seen).collect()
    }
}

/// All directories that lead to a path, without the root.
fn parents(path: &str) -> Vec<String> {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect()
}

/// Few names, so that entries meet. Symlinks have names of their own: no way leads through them here.
fn path() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
}

fn op() -> impl Strategy<Value = Op> {
    let what = prop_oneof![
        3 => Just(What::Directory),
        4 => prop::collection::vec(any::<u8>(), 0..9000).prop_map(What::File),
        1 => prop::collection::vec((0_u64..20_000, 1_u64..9000), 1..5).prop_map(What::Sparse),
        1 => "[a-z/.]{1,90}".prop_map(What::Symlink),
        3 => path().prop_map(|path| What::HardLink(path.join("/"))),
        1 => Just(What::Fifo),
        1 => (1_u32..200).prop_map(What::Device),
        3 => Just(What::Whiteout),
        2 => Just(What::Opaque),
    ];
    let times = prop_oneof![0_i64..1 << 32, -(1_i64 << 31)..0];
    (path(), what, 0_u32..0o10000, times, prop::collection::vec(1_u8..255, 0..40)).prop_map(
        |(mut path, what, mode, mtime, xattr)| {
            if matches!(what, What::Symlink(_))
                && let Some(last) = path.last_mut()
            {
                *last = "s";
            }
            Op { path, what, mode, mtime, xattr }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_layers_are_the_tree_that_their_entries_describe(
        layers in prop::collection::vec(prop::collection::vec(op(), 0..14), 1..5),
    ) {
        let mut model = Model::new();
        let files: Vec<File> = layers
            .iter()
            .map(|ops| {
                let taken = model.apply(ops);
                let tar = taken.iter().fold(Archive::new(), |archive, op| op.put(archive)).bytes();
                convert(&tar).unwrap()
            })
            .collect();
        files.iter().for_each(|file| assert_sound(file, &[]));
        assert_sound(&merged_file(&files), &files.iter().collect::<Vec<_>>());
        if let Some(mounted) = Mounted::new(&files) {
            prop_assert_eq!(mounted.listing(), model.listing());
        }
    }
}
