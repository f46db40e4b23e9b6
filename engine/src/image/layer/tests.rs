//! Layers from tar to EROFS and back, and what merging them gives.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::build::{BuildError, LayerBuilder};
use super::erofs::data::DataWriter;
use super::erofs::format::BLOCK;
use super::erofs::reader::{LayerContent, LayerData, LayerReader};
use super::erofs::writer::{self, Device, Kind};
use super::merge::{self, MergeError};
use super::tar::TarReader;
use super::tree::{Body, Data, EntryId, HOLE, Tree};
use super::xattrs;
use crate::image::digest::Digest;

/// Builds a tar, entry by entry.
pub struct Archive(Builder<Vec<u8>>);

impl Archive {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub(super) fn add(
        mut self,
        name: &str,
        kind: EntryType,
        link: &str,
        data: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(data.len() as u64);
        // Set by hand: the builder refuses what hostile archives have.
        let put = |place: &mut [u8], text: &str| place[..text.len()].copy_from_slice(text.as_bytes());
        put(&mut header.as_old_mut().name, name);
        put(&mut header.as_old_mut().linkname, link);
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    pub fn file(self, name: &str, data: &[u8]) -> Self {
        self.add(name, EntryType::Regular, "", data, |_| ())
    }

    pub fn directory(self, name: &str, mode: u32) -> Self {
        self.add(name, EntryType::Directory, "", b"", |header| header.set_mode(mode))
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.add(name, EntryType::Symlink, target, b"", |_| ())
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.add(name, EntryType::Link, target, b"", |_| ())
    }

    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(super) fn convert(tar: &[u8]) -> Result<File, BuildError> {
    let file = tempfile::tempfile().unwrap();
    let mut reader = TarReader::new(tar);
    let mut builder = LayerBuilder::new(DataWriter::new(&file, 1 << 30), 1 << 20);
    while let Some(member) = reader.next_member()? {
        builder.add(&member, &mut reader)?;
    }
    let (tree, metadata_block, _) = builder.finish()?;
    writer::write(&file, &tree, &Kind::Layer { metadata_block }, [7; 16])?;
    Ok(file)
}

/// A layer or merged root as text: path to description.
pub(super) type Listing = BTreeMap<String, String>;

/// What a layer file holds.
pub(super) fn list_layer(file: &File) -> Listing {
    let layer = LayerReader::open(file).unwrap();
    let mut listing = Listing::new();
    let mut todo = vec![(layer.root(), String::from("/"))];
    while let Some((nid, path)) = todo.pop() {
        let inode = layer.inode(nid).unwrap();
        let what = match &inode.content {
            LayerContent::Directory { implied, opaque } => {
                for (name, child) in layer.directory(nid).unwrap() {
                    todo.push((child, format!("{path}{}/", name.escape_ascii())));
                }
                format!(
                    "dir{}{}",
                    if *implied { " implied" } else { "" },
                    if *opaque { " opaque" } else { "" }
                )
            }
            LayerContent::File { size, data } => {
                format!("file {} links {}", Digest::of(&content(file, *size, data)).hex(), inode.disk.links)
            }
            LayerContent::Symlink(target) => format!("-> {}", target.escape_ascii()),
            LayerContent::CharDevice(device) => format!("char {device:#x}"),
            LayerContent::BlockDevice(device) => format!("block {device:#x}"),
            LayerContent::Fifo => "fifo".to_owned(),
            LayerContent::Socket => "socket".to_owned(),
            LayerContent::Whiteout => "whiteout".to_owned(),
            LayerContent::LowerLink(target) => format!("link to {}", target.escape_ascii()),
        };
        let disk = inode.disk;
        let attributes =
            format!("{:o} {}:{} {}.{}", disk.mode & 0o7777, disk.uid, disk.gid, disk.mtime, disk.mtime_nsec);
        listing.insert(path, format!("{what} [{attributes}]"));
    }
    listing
}

fn content(file: &File, size: u64, data: &LayerData) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    match data {
        LayerData::None => {}
        LayerData::Contiguous(block) => file.read_exact_at(&mut bytes, u64::from(*block) * BLOCK).unwrap(),
        LayerData::Chunked { bits, addresses } => {
            let chunk = usize::try_from(BLOCK << bits).unwrap();
            for (piece, address) in bytes.chunks_mut(chunk).zip(addresses) {
                if *address != HOLE {
                    file.read_exact_at(piece, u64::from(*address) * BLOCK).unwrap();
                }
            }
        }
    }
    bytes
}

pub(super) fn layer(archive: Archive) -> Listing {
    list_layer(&convert(&archive.bytes()).unwrap())
}

pub(super) fn refused(archive: Archive) -> String {
    match convert(&archive.bytes()) {
        Ok(_) => panic!("was converted"),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}")
        }
    }
}

pub(super) fn merge(archives: Vec<Archive>) -> Result<Tree, MergeError> {
    let mut tree = Tree::new();
    for (archive, device) in archives.into_iter().zip(1..) {
        let file = convert(&archive.bytes()).unwrap();
        merge::apply(&mut tree, &LayerReader::open(&file)?, device)?;
    }
    Ok(tree)
}

/// What a merged tree holds: type, and for files where their data are.
pub(super) fn list_tree(tree: &Tree) -> Listing {
    let sorted = tree.listing();
    let mut listing = Listing::new();
    let mut todo: Vec<(EntryId, String)> = vec![(Tree::ROOT, "/".to_owned())];
    while let Some((entry, path)) = todo.pop() {
        for child in sorted.children(entry) {
            todo.push((*child, format!("{path}{}/", tree.name_of(*child).escape_ascii())));
        }
        let inode = tree.inode(tree.inode_of(entry));
        let what = match inode.body {
            Body::Directory { .. } => format!("dir {:o}", inode.attributes.mode),
            Body::File { data: Data::Contiguous { device, block }, .. } => format!("file {device}:{block}"),
            Body::File { .. } => "file".to_owned(),
            Body::Symlink(target) => format!("-> {}", tree.text(target).escape_ascii()),
            other => format!("{other:?}"),
        };
        listing.insert(path, what);
    }
    listing
}

pub(super) fn names(listing: &Listing) -> Vec<&str> {
    listing.keys().map(String::as_str).collect()
}

#[test]
fn every_kind_of_entry_comes_back() {
    let listing = layer(
        Archive::new()
            .directory("./", 0o750)
            .directory("./d/", 0o1777)
            .file("d/f", b"hello")
            .link("d/hard", "./d/f")
            .symlink("d/sym", "../x")
            .add("d/null", EntryType::Char, "", b"", |h| {
                h.set_device_major(1).unwrap();
                h.set_device_minor(3).unwrap();
            })
            .add("d/fifo", EntryType::Fifo, "", b"", |h| h.set_mode(0o4711)),
    );
    let hello = Digest::of(b"hello").hex();
    let expected = [
        ("/", "dir [750 0:0 1000000.0]".to_owned()),
        ("/d/", "dir [1777 0:0 1000000.0]".to_owned()),
        ("/d/f/", format!("file {hello} links 2 [644 0:0 1000000.0]")),
        ("/d/fifo/", "fifo [4711 0:0 1000000.0]".to_owned()),
        ("/d/hard/", format!("file {hello} links 2 [644 0:0 1000000.0]")),
        ("/d/null/", "char 0x103 [644 0:0 1000000.0]".to_owned()),
        ("/d/sym/", "-> ../x [777 0:0 1000000.0]".to_owned()),
    ];
    assert_eq!(listing, expected.map(|(path, what)| (path.to_owned(), what)).into());
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../x", "a/../../x", "/../x", "a/.."] {
        assert!(refused(Archive::new().file(name, b"")).contains("\"..\""), "{name}");
    }
    assert!(refused(Archive::new().file("a", b"").link("b", "../../etc/shadow")).contains("link target"));
    let escape = Archive::new().symlink("out", "../../etc").file("out/passwd", b"x");
    assert!(refused(escape).contains("leads out of the image"));
}

#[test]
fn absolute_names_are_below_the_images_root() {
    let listing =
        layer(Archive::new().file("/etc/passwd", b"x").symlink("abs", "/etc").file("abs/group", b"y"));
    assert_eq!(names(&listing), ["/", "/abs/", "/etc/", "/etc/group/", "/etc/passwd/"]);
}

#[test]
fn entries_below_files_and_loops_are_refused() {
    assert!(refused(Archive::new().file("f", b"").file("f/x", b"")).contains("not a directory"));
    assert!(refused(Archive::new().symlink("l", "l").file("l/x", b"")).contains("symlinks"));
    assert!(
        refused(Archive::new().directory("d", 0o755).link("l", "d")).contains("hard link to a directory")
    );
    assert!(refused(Archive::new().symlink("s", "")).contains("without a target"));
    assert!(refused(Archive::new().file(".", b"")).contains("root must be a directory"));
    assert!(refused(Archive::new().file("d/.wh.", b"")).contains("whiteout of nothing"));
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let listing = layer(
        Archive::new()
            .file("f", b"old")
            .file("f", b"new")
            .directory("d", 0o700)
            .file("d/kept", b"")
            .directory("d", 0o711)
            .directory("gone", 0o755)
            .file("gone/inside", b"")
            .file("gone", b"file"),
    );
    assert_eq!(names(&listing), ["/", "/d/", "/d/kept/", "/f/", "/gone/"]);
    assert!(listing["/f/"].contains(&Digest::of(b"new").hex()));
    assert!(listing["/d/"].starts_with("dir [711"));
}

#[test]
fn whiteouts_are_noted_whatever_their_order() {
    let listing = layer(
        Archive::new()
            .file(".wh.gone", b"")
            .directory("before", 0o755)
            .file(".wh.before", b"")
            .file(".wh.after", b"")
            .file("after/x", b"")
            .file("own", b"")
            .file(".wh.own", b"")
            .file("d/.wh..wh..opq", b"")
            .file(".wh..wh.plnk", b"")
            .add("dev", EntryType::Char, "", b"", |_| ()),
    );
    let kinds: Vec<_> =
        listing.iter().map(|(path, what)| (path.as_str(), what.split(" [").next().unwrap())).collect();
    let own = format!("file {} links 1", Digest::of(b"").hex());
    assert_eq!(
        kinds,
        [
            ("/", "dir implied"),
            ("/after/", "dir opaque"),
            ("/after/x/", own.as_str()),
            ("/before/", "dir opaque"),
            ("/d/", "dir implied opaque"),
            ("/dev/", "whiteout"),
            ("/gone/", "whiteout"),
            ("/own/", own.as_str()),
        ]
    );
}

#[test]
fn times_are_cut_to_what_ext4_holds() {
    let listing = layer(
        Archive::new()
            .pax(&[("mtime", b"-99999999999.5")])
            .file("early", b"")
            .pax(&[("mtime", b"99999999999.5")])
            .file("late", b"")
            .pax(&[("mtime", b"-1.5")])
            .file("negative", b""),
    );
    assert!(listing["/early/"].ends_with("-2147483648.0]"));
    assert!(listing["/late/"].ends_with("15032385535.0]"));
    assert!(listing["/negative/"].ends_with("-2.500000000]"));
}

#[test]
fn overlay_attributes_never_reach_an_inode() {
    let tar = Archive::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.hull.link", b"etc/shadow"),
            ("SCHILY.xattr.user.kept", b"v"),
        ])
        .file("f", b"x")
        .bytes();
    let file = convert(&tar).unwrap();
    let reader = LayerReader::open(&file).unwrap();
    let (_, nid) = reader.directory(reader.root()).unwrap()[0];
    let inode = reader.inode(nid).unwrap();
    assert!(matches!(inode.content, LayerContent::File { .. }));
    assert_eq!(xattrs::decode(&inode.xattrs).unwrap(), [(b"user.kept".to_vec(), &b"v"[..])]);
}

#[test]
fn directories_of_upper_and_lower_layers_unite() {
    let tree = merge(vec![
        Archive::new().directory("d", 0o700).file("d/low", b"1").directory("e", 0o711),
        Archive::new().file("d/high", b"2").directory("e", 0o755).file("e/x", b""),
    ]);
    let listing = list_tree(&tree.unwrap());
    assert_eq!(listing["/d/"], "dir 700", "only implied above: as below");
    assert_eq!(listing["/e/"], "dir 755", "described above: as above");
    assert_eq!((listing["/d/low/"].as_str(), listing["/d/high/"].as_str()), ("file 1:1", "file 2:1"));
}

#[test]
fn whiteouts_and_opaque_markers_remove_what_is_below_only() {
    let tree = merge(vec![
        Archive::new()
            .file("a", b"")
            .file("d/x", b"")
            .file("d/y", b"")
            .directory("o", 0o700)
            .file("o/old", b""),
        Archive::new()
            .file(".wh.a", b"")
            .file("d/.wh.x", b"")
            .file("o/new", b"")
            .file("o/.wh..wh..opq", b"")
            .file(".wh.never-there", b""),
    ]);
    let listing = list_tree(&tree.unwrap());
    assert_eq!(names(&listing), ["/", "/d/", "/d/y/", "/o/", "/o/new/"]);
    assert_eq!(listing["/o/"], "dir 700");
}

#[test]
fn an_opaque_root_clears_everything() {
    let tree =
        merge(vec![Archive::new().file("a/b", b""), Archive::new().file(".wh..wh..opq", b"").file("c", b"")]);
    assert_eq!(names(&list_tree(&tree.unwrap())), ["/", "/c/"]);
}

#[test]
fn types_are_replaced_by_the_upper_layer() {
    let tree = merge(vec![
        Archive::new().file("d/x", b"").file("f", b"").symlink("s", "d"),
        Archive::new().file("d", b"now a file").directory("f", 0o755).file("f/y", b"").directory("s", 0o755),
    ]);
    let listing = list_tree(&tree.unwrap());
    assert_eq!(names(&listing), ["/", "/d/", "/f/", "/f/y/", "/s/"]);
    assert_eq!(listing["/s/"], "dir 755");
}

#[test]
fn hard_links_reach_into_lower_layers_as_these_were() {
    let tree = merge(vec![
        Archive::new().file("dir/old", b"content").symlink("via", "dir"),
        Archive::new().link("new", "dir/old").file("dir/.wh.old", b"").link("also", "via/old"),
    ])
    .unwrap();
    let listing = list_tree(&tree);
    assert_eq!(names(&listing), ["/", "/also/", "/dir/", "/new/", "/via/"]);
    let inode = |name: &[u8]| tree.inode_of(tree.lookup(Tree::ROOT, name).unwrap());
    assert_eq!(inode(b"new"), inode(b"also"));
}

#[test]
fn hard_links_to_nothing_are_refused_when_merged() {
    let outcome = merge(vec![Archive::new().file("a", b""), Archive::new().link("b", "missing/file")]);
    assert!(matches!(outcome, Err(MergeError::LinkTarget(target)) if target == "missing/file"));
}

#[test]
fn implied_directories_follow_symlinks_of_lower_layers() {
    let tree = merge(vec![
        Archive::new().directory("usr/lib", 0o755).symlink("lib", "usr/lib").file("f", b""),
        Archive::new().file("lib/new", b"x").file("f/below", b"y").file("usr/lib/own", b"z"),
    ]);
    let listing = list_tree(&tree.unwrap());
    assert_eq!(
        names(&listing),
        ["/", "/f/", "/f/below/", "/lib/", "/usr/", "/usr/lib/", "/usr/lib/new/", "/usr/lib/own/"]
    );
    assert_eq!(listing["/lib/"], "-> usr/lib");
}

/// A tree that has a bit of everything, for the digests below.
fn sample() -> Archive {
    let many = (0..400).fold(Archive::new().directory("./", 0o755), |archive, n| {
        archive.file(&format!("big/a-file-with-quite-a-long-name-{n}"), format!("{n}").as_bytes())
    });
    many.symlink("s", "big")
        .link("l", "big/a-file-with-quite-a-long-name-7")
        .file("empty", b"")
        .file("two", &[1; 8192])
}

#[test]
fn the_same_tar_gives_the_same_bytes() {
    let digest = |file: &File| {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Digest::of(&bytes).to_string()
    };
    let file = convert(&sample().bytes()).unwrap();
    assert_eq!(digest(&file), LAYER_DIGEST);

    let mut tree = Tree::new();
    let layer = LayerReader::open(&file).unwrap();
    merge::apply(&mut tree, &layer, 1).unwrap();
    let root = tempfile::tempfile().unwrap();
    let devices = [Device { tag: [b'a'; 64], blocks: layer.blocks() }];
    writer::write(&root, &tree, &Kind::Merged { devices: &devices }, [9; 16]).unwrap();
    assert_eq!(digest(&root), ROOT_DIGEST);
}

/// Of what is on users' disks: if one of these changes, so must the store's format version.
const LAYER_DIGEST: &str = "sha256:03a1e7b9f10dd0c153accc32d2964827f83af6ff0d124e43a26c630b0662abf8";
const ROOT_DIGEST: &str = "sha256:413beba493bdb07f83069aa56961014b4995f05c05747952430b97507bbb34fc";

#[derive(Debug, Clone)]
enum Node {
    Directory,
    File(Vec<u8>),
    Symlink(String),
}

fn arbitrary_tree() -> impl Strategy<Value = BTreeMap<String, (Node, u32, u64)>> {
    let name = "[a-c!\\-é.]{1,3}|[a-z]{60}";
    let path = prop::collection::vec(name, 1..4).prop_map(|parts| parts.join("/"));
    let path =
        path.prop_filter("dots mean something else", |path| path.split('/').all(|p| p != "." && p != ".."));
    let node = prop_oneof![
        Just(Node::Directory),
        prop::collection::vec(any::<u8>(), 0..9000).prop_map(Node::File),
        "[a-z/]{1,90}".prop_map(Node::Symlink),
    ];
    prop::collection::btree_map(path, (node, 0_u32..0o10000, 0_u64..1 << 32), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tree_survives_the_way_through_tar_and_erofs(tree in arbitrary_tree()) {
        let mut archive = Archive::new();
        let mut expected = BTreeMap::new();
        for (path, (node, mode, mtime)) in &tree {
            // Only below directories.
            let blocked = path.match_indices('/').any(|(at, _)| {
                matches!(tree.get(&path[..at]), Some((Node::File(_) | Node::Symlink(_), ..)))
            });
            if blocked {
                continue;
            }
            let change = |header: &mut Header| {
                header.set_mode(*mode);
                header.set_mtime(*mtime);
            };
            let (kind, link, data, what, mode) = match node {
                Node::Directory => (EntryType::Directory, "", &[][..], "dir".to_owned(), *mode),
                Node::File(data) => (EntryType::Regular, "", data.as_slice(), format!("file {} links 1", Digest::of(data).hex()), *mode),
                Node::Symlink(target) => (EntryType::Symlink, target.as_str(), &[][..], format!("-> {target}"), 0o777),
            };
            // The header has room for 100 bytes.
            if path.len() > 100 {
                continue;
            }
            archive = archive.add(path, kind, link, data, change);
            let shown: Vec<_> = path.split('/').map(|part| part.as_bytes().escape_ascii().to_string()).collect();
            expected.insert(format!("/{}/", shown.join("/")), format!("{what} [{mode:o} 0:0 {mtime}.0]"));
        }
        let mut listing = layer(archive);
        listing.retain(|_, what| !what.contains("implied"));
        prop_assert_eq!(listing, expected);
    }

    #[test]
    fn damaged_layer_files_are_errors_and_not_panics(at in 0_usize..60_000, with in any::<[u8; 8]>()) {
        let file = convert(&sample().bytes()).unwrap();
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // Mostly in the metadata, at the file's end, sometimes in the superblock.
        let at = if at < 128 { 1024 + at } else { length - 8 - at % (length / 4) };
        file.write_all_at(&with, at as u64).unwrap();
        let mut tree = Tree::new();
        if let Ok(layer) = LayerReader::open(&file) {
            let _ = merge::apply(&mut tree, &layer, 1);
        }
    }
}
