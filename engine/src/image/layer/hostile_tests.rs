//! Layers that an enemy made: what is refused, and what the rest comes to.

use std::fs::File;

use tar::EntryType;

use super::build::{BuildError, LayerBuilder};
use super::erofs::ErofsError;
use super::erofs::data::DataWriter;
use super::erofs::reader::LayerReader;
use super::merge::{self, MergeError};
use super::mounted::{Mounted, assert_sound, merged_file};
use super::tar::TarReader;
use super::tests::{Archive, convert, layer, list_tree, merge, names, refused};
use super::tree::Tree;
use super::xattrs;

/// Converts with ceilings on bytes and entries.
fn bounded(tar: &[u8], bytes: u64, entries: u64) -> Result<(Tree, u64), BuildError> {
    let file = tempfile::tempfile().unwrap();
    let mut reader = TarReader::new(tar);
    let mut builder = LayerBuilder::new(DataWriter::new(&file, bytes), entries);
    while let Some(member) = reader.next_member()? {
        builder.add(&member, &mut reader)?;
    }
    let (tree, _, entries) = builder.finish()?;
    Ok((tree, entries))
}

/// What an error says, with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// An entry whose name is given by a PAX header, so that it may be anything.
fn named(archive: Archive, name: &[u8], kind: EntryType) -> Archive {
    archive.pax(&[("path", name)]).add("x", kind, "", b"", |_| ())
}

/// A tree `levels` deep, of one-letter names: names may have 4095 bytes, so symlinks lead on.
fn deep(levels: usize) -> Archive {
    const RUN: usize = 1000;
    let mut archive = Archive::new();
    let run = "d/".repeat(RUN);
    let mut from = String::new();
    for step in 0..levels / RUN {
        archive = named(archive, format!("{from}{run}").as_bytes(), EntryType::Directory);
        let target = format!("{}/{run}", if step == 0 { String::new() } else { format!("l{}", step - 1) });
        archive = archive
            .pax(&[("linkpath", target.trim_end_matches('/').as_bytes())])
            .symlink(&format!("l{step}"), "x");
        from = format!("l{step}/");
    }
    archive
}

#[test]
fn symlinks_that_lead_out_or_round_and_round_are_refused_on_the_way_to_an_entry() {
    let links = |links: &[(&str, &str)]| {
        links.iter().fold(Archive::new(), |archive, (name, target)| archive.symlink(name, target))
    };
    for (given, through, why) in [
        (links(&[("a", "b"), ("b", "a")]), "a/x", "symlinks"),
        (links(&[("a", "/a")]), "a/x", "symlinks"),
        (links(&[("d/up", "../../..")]), "d/up/x", "leads out"),
        (links(&[("abs", "/../etc")]), "abs/x", "leads out"),
        (links(&[("d/a", "../e"), ("e", "../../../root")]), "d/a/x", "leads out"),
    ] {
        let told = refused(given.file(through, b""));
        assert!(told.contains(why), "{through}: {told}");
    }
    let long =
        (0..41).fold(Archive::new(), |archive, n| archive.symlink(&format!("{n}"), &format!("{}", n + 1)));
    assert!(refused(long.file("0/x", b"")).contains("symlinks"));
    // As mere texts all of them are fine: who follows them is inside the container.
    let kept = layer(links(&[("up", "../../../../etc/shadow"), ("loop", "loop"), ("abs", "/proc/1/root")]));
    assert_eq!(names(&kept), ["/", "/abs/", "/loop/", "/up/"]);
}

#[test]
fn hard_links_never_reach_beyond_the_image() {
    for target in ["..", "../x", "/../etc/shadow", "d/../../x", "", "/", "."] {
        let told = refused(Archive::new().file("f", b"").link("l", target));
        assert!(told.contains("link"), "\"{target}\": {told}");
    }
    // By an absolute name the image's own file is meant.
    let listing = layer(Archive::new().file("etc/shadow", b"own").link("l", "/etc/shadow"));
    assert!(listing["/l/"].contains("links 2"));
    // Through a symlink that leads out.
    let out = Archive::new().symlink("out", "../..").link("l", "out/etc/shadow");
    assert!(refused(out).contains("leads out"));
    // In a lower layer, with the symlink there.
    let outcome =
        merge(vec![Archive::new().symlink("out", "../.."), Archive::new().link("l", "out/etc/shadow")]);
    assert!(matches!(outcome, Err(MergeError::LinkTarget(_))));
}

#[test]
fn hard_links_to_what_comes_later_mean_lower_layers() {
    // The target follows in the same layer: as for whoever unpacks in order, it is not there yet.
    let later = || Archive::new().link("l", "f").file("f", b"later");
    assert!(layer(later())["/l/"].starts_with("link to f"));
    assert!(matches!(merge(vec![later()]), Err(MergeError::LinkTarget(target)) if target == "f"));
    let tree = merge(vec![Archive::new().file("f", b"lower"), later()]).unwrap();
    assert_ne!(list_tree(&tree)["/l/"], list_tree(&tree)["/f/"]);
    // To itself, and in a circle: there is nothing that they could be.
    assert!(merge(vec![Archive::new().link("a", "a")]).is_err());
    assert!(merge(vec![Archive::new().link("a", "b").link("b", "a")]).is_err());
    // To what the same layer removes: the lower layer's file.
    let tree =
        merge(vec![Archive::new().file("f", b"lower"), Archive::new().file(".wh.f", b"").link("l", "f")]);
    assert_eq!(names(&list_tree(&tree.unwrap())), ["/", "/l/"]);
    // To a directory of a lower layer.
    let outcome = merge(vec![Archive::new().directory("d", 0o755), Archive::new().link("l", "d")]);
    assert!(matches!(outcome, Err(MergeError::LinkToDirectory(_))));
    // To a symlink: the link itself, wherever it leads.
    assert!(
        layer(Archive::new().symlink("s", "/etc/shadow").link("l", "s"))["/l/"].starts_with("-> /etc/shadow")
    );
}

#[test]
fn whiteouts_of_no_name_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "./.wh..", "/.wh..."] {
        let told = refused(Archive::new().file("d/x", b"").file(name, b""));
        assert!(told.contains("whiteout of nothing"), "{name}: {told}");
    }
    // The root itself cannot be hidden, replaced or linked.
    for kind in [EntryType::Symlink, EntryType::Regular, EntryType::Char, EntryType::Link] {
        for name in ["/.", ".", "//./."] {
            assert!(
                refused(Archive::new().add(name, kind, "t", b"", |_| ())).contains("root"),
                "{name} {kind:?}"
            );
        }
    }
}

#[test]
fn opaque_markers_may_stand_anywhere_and_repeat() {
    let lower = || Archive::new().file("a/b/c", b"").file("f", b"").directory("d", 0o700).file("d/x", b"");
    let marked = |markers: &[&str]| {
        let upper = markers.iter().fold(Archive::new(), |archive, marker| archive.file(marker, b""));
        let tree = merge(vec![lower(), upper.file("d/new", b"")]).unwrap();
        list_tree(&tree).into_keys().collect::<Vec<_>>().join(" ")
    };
    let all = "/ /a/ /a/b/ /a/b/c/ /d/ /d/new/ /d/x/ /f/";
    assert_eq!(marked(&[]), all);
    assert_eq!(marked(&[".wh..wh..opq", ".wh..wh..opq"]), "/ /d/ /d/new/");
    assert_eq!(marked(&["a/b/.wh..wh..opq"]), "/ /a/ /a/b/ /d/ /d/new/ /d/x/ /f/");
    assert_eq!(marked(&["a/.wh..wh..opq", "a/b/.wh..wh..opq"]), "/ /a/ /a/b/ /d/ /d/new/ /d/x/ /f/");
    assert_eq!(marked(&["d/.wh..wh..opq"]), "/ /a/ /a/b/ /a/b/c/ /d/ /d/new/ /f/");
    // In what is a file below, the folder that it stands in takes the file's place.
    assert_eq!(marked(&["f/.wh..wh..opq"]), "/ /a/ /a/b/ /a/b/c/ /d/ /d/new/ /d/x/ /f/");
    // In what never was.
    assert_eq!(marked(&["never/.wh..wh..opq"]), format!("{all} /never/"));
    // Other markers of AUFS hide nothing.
    assert_eq!(marked(&[".wh..wh.aufs", ".wh..wh.orph", "d/.wh..wh.x"]), all);
    assert!(refused(Archive::new().file("f", b"").file("f/.wh..wh..opq", b"")).contains("not a directory"));
}

#[test]
fn a_whiteout_and_a_file_of_one_name_leave_the_file_in_either_order() {
    for upper in [
        Archive::new().file(".wh.n", b"").file("n", b"new"),
        Archive::new().file("n", b"new").file(".wh.n", b""),
        Archive::new().file(".wh.n", b"").file("n", b"new").file(".wh.n", b""),
    ] {
        let tree = merge(vec![Archive::new().file("n/below", b""), upper]).unwrap();
        assert_eq!(list_tree(&tree)["/n/"], "file 2:1");
        assert_eq!(names(&list_tree(&tree)), ["/", "/n/"]);
    }
}

#[test]
fn names_change_between_files_and_directories_as_often_as_they_like() {
    let in_one = Archive::new()
        .directory("n", 0o700)
        .file("n/old", b"")
        .file("n", b"file")
        .directory("n", 0o711)
        .file("n/new", b"")
        .symlink("n", "x")
        .directory("n", 0o755)
        .file("n/last", b"");
    assert_eq!(names(&layer(in_one)), ["/", "/n/", "/n/last/"]);
    let tree = merge(vec![
        Archive::new().file("n/first", b""),
        Archive::new().file("n", b""),
        Archive::new().file("n/second", b""),
        Archive::new().symlink("n", "elsewhere"),
        Archive::new().directory("n", 0o750).file("n/third", b""),
    ]);
    assert_eq!(names(&list_tree(&tree.unwrap())), ["/", "/n/", "/n/third/"]);
}

#[test]
fn names_are_as_long_as_linux_takes_and_no_longer() {
    let long = |bytes: usize| [&b"a/".repeat(bytes / 2 - 1)[..], b"xy"].concat();
    assert_eq!(long(4094).len(), 4094);
    for (name, why) in [
        (vec![b'n'; 255], ""),
        (vec![b'n'; 256], "longer than 255"),
        ([&b"d/"[..], &[b'n'; 256], b"/x"].concat(), "longer than 255"),
        (long(4094), ""),
        ([&b"/"[..], &long(4094)].concat(), ""),
        ([&b"//"[..], &long(4094)].concat(), "longer than 4095"),
        (b"/".repeat(5000), "longer than 4095"),
        (b"a\0b".to_vec(), "NUL"),
    ] {
        let archive = named(Archive::new(), &name, EntryType::Regular);
        match why {
            "" => assert!(layer(archive).len() > 1),
            why => assert!(refused(archive).contains(why), "{} bytes: {why}", name.len()),
        }
    }
    for (target, why) in
        [(vec![b't'; 4095], ""), (vec![b't'; 4096], "bad link"), (b"a\0b".to_vec(), "bad link")]
    {
        let archive = Archive::new().pax(&[("linkpath", &target)]).symlink("l", "x");
        match why {
            "" => assert!(layer(archive)["/l/"].starts_with("-> tt")),
            why => assert!(refused(archive).contains(why), "{} bytes", target.len()),
        }
    }
}

#[test]
fn names_of_any_bytes_come_out_of_the_kernel_as_they_were() {
    let given: [&[u8]; 5] = [b"new\nline", b"\xff\xfe", b"\x1b[2J", b" ", &[b'\x80'; 255]];
    let archive = given.iter().fold(Archive::new(), |archive, name| named(archive, name, EntryType::Regular));
    let file = convert(&archive.bytes()).unwrap();
    assert_sound(&file, &[]);
    let Some(mounted) = Mounted::new(&[file]) else { return };
    let mut expected: Vec<_> = given.iter().map(|name| format!("/{}", name.escape_ascii())).collect();
    expected.push("/".to_owned());
    expected.sort();
    assert_eq!(mounted.listing().into_keys().collect::<Vec<_>>(), expected);
}

#[test]
fn errors_show_names_without_what_moves_a_cursor() {
    let told = refused(named(Archive::new(), b"\x1b[2J\n\xe2\x80\xae/../x", EntryType::Regular));
    assert!(!told.contains(['\x1b', '\n', '\u{202e}']), "{told:?}");
}

#[test]
fn device_numbers_that_linux_cannot_hold_are_refused() {
    let device = |major, minor| {
        Archive::new().add("dev", EntryType::Block, "", b"", |header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    };
    assert!(
        layer(device(0, 0))["/dev/"].starts_with("block 0x0"),
        "only a character device 0:0 is a whiteout"
    );
    assert!(layer(device(4095, 0xfffff))["/dev/"].starts_with("block 0xffffffff"));
    for (major, minor) in [(4096, 0), (0, 1 << 20)] {
        assert!(refused(device(major, minor)).contains("device number"));
    }
}

#[test]
fn trees_of_ten_thousand_levels_are_built_merged_and_mounted() {
    // Deeper than fsck.erofs goes: it keeps whole names.
    let lower = convert(&deep(10_000).bytes()).unwrap();
    // Something at the bottom from the layer above.
    let upper = convert(&deep(10_000).file("l9/bottom", b"deep down").bytes()).unwrap();
    let Some(mounted) = Mounted::new(&[lower, upper]) else { return };
    let mut at = File::open(mounted.path()).unwrap();
    for level in 0..10_000 {
        let next = nix::fcntl::openat(&at, "d", nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty());
        at = File::from(next.unwrap_or_else(|errno| panic!("level {level}: {errno}")));
    }
    let bottom =
        nix::fcntl::openat(&at, "bottom", nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut File::from(bottom.unwrap()), &mut text).unwrap();
    assert_eq!(text, "deep down");
}

#[test]
fn symlinks_at_the_bottom_of_a_deep_tree_lead_on() {
    let links = |archive: Archive, name: fn(u32) -> String, link: bool| {
        (0..120).fold(archive, |archive, n| match link {
            true => archive.symlink(&name(n), "target"),
            false => archive.file(&name(n), b""),
        })
    };
    let lower = links(deep(4000).directory("l3/target", 0o755), |n| format!("l3/{n}"), true);
    // The same place, without describing anything on the way.
    let upper = links(deep(4000), |n| format!("l3/{n}/x"), false);
    let tree = merge(vec![lower, upper]).unwrap();
    assert!(tree.inode_count() > 4200);
}

#[test]
fn entries_over_the_ceiling_are_refused_and_implied_folders_count() {
    let files =
        |count| (0..count).fold(Archive::new(), |archive, n| archive.file(&format!("{n}"), b"")).bytes();
    assert_eq!(bounded(&files(10), 1 << 20, 10).unwrap().1, 10);
    let told = chain(&bounded(&files(11), 1 << 20, 10).err().unwrap());
    assert!(told.contains("\"10\": more than 10 entries"), "{told}");
    // A short name, two thousand folders.
    let deep = named(Archive::new(), &b"a/".repeat(2000), EntryType::Directory).bytes();
    assert!(chain(&bounded(&deep, 1 << 20, 1999).err().unwrap()).contains("more than 1999 entries"));
    assert!(bounded(&deep, 1 << 20, 2000).is_ok());
    // Entries that replace each other, and whiteouts, are entries.
    let same = (0..11).fold(Archive::new(), |archive, _| archive.file("same", b"")).bytes();
    assert!(bounded(&same, 1 << 20, 10).is_err());
    let opaque = (0..11).fold(Archive::new(), |archive, _| archive.file(".wh..wh..opq", b"")).bytes();
    assert!(bounded(&opaque, 1 << 20, 10).is_err());
}

#[test]
fn ways_that_symlinks_make_long_are_cut() {
    let links = (0..39).fold(Archive::new().directory("a", 0o755), |archive, n| {
        let target =
            format!("{}{}", "a/../".repeat(300), if n == 0 { "a".into() } else { (n - 1).to_string() });
        archive.pax(&[("linkpath", target.as_bytes())]).symlink(&n.to_string(), "x")
    });
    let tar = (0..60).fold(links, |archive, n| archive.file(&format!("38/{n}"), b"")).bytes();
    assert!(chain(&bounded(&tar, 1 << 20, 100).err().unwrap()).contains("too many directories"));
    assert!(bounded(&tar, 1 << 20, 1 << 20).is_ok());
}

#[test]
fn a_merged_root_has_a_ceiling_of_its_own() {
    let files: Vec<_> =
        (0..3).map(|n| convert(&Archive::new().file(&format!("d{n}/f"), b"").bytes()).unwrap()).collect();
    let merged = |ceiling| {
        let mut tree = Tree::with_ceiling(ceiling);
        files.iter().try_for_each(|file| merge::apply(&mut tree, &LayerReader::open(file).unwrap(), 1))
    };
    assert!(merged(6).is_ok());
    assert!(matches!(merged(5), Err(MergeError::Tree(_))));
}

#[test]
fn padding_counts_for_the_ceiling_on_bytes() {
    // A byte a file takes a block each.
    let files = (0..100).fold(Archive::new(), |archive, n| archive.file(&format!("{n}"), b"x")).bytes();
    assert!(bounded(&files, 101 * 4096, 1000).is_ok());
    let told = bounded(&files, 50 * 4096, 1000).err().unwrap();
    assert!(matches!(told, BuildError::Write(ErofsError::TooLarge(_))), "{told}");
    // So does a byte each few blocks of a sparse file: a megabyte of tar, sixteen times that on disk.
    let map: Vec<_> = (0..4096_u64).map(|n| format!("{},1", n * 16_384)).collect();
    let (map, size) = (map.join(","), (4096_u64 * 16_384).to_string());
    let records = [("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())];
    let sparse = Archive::new().pax(&records).file("s", &[1; 4096]).bytes();
    assert!(matches!(bounded(&sparse, 8 << 20, 10), Err(BuildError::Write(ErofsError::TooLarge(_)))));
    assert!(bounded(&sparse, 80 << 20, 10).is_ok());
}

#[test]
fn files_over_what_a_chunk_addresses_are_refused() {
    let sparse = |size: u64| {
        let size = size.to_string();
        let records = [("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", b"0,1".as_slice())];
        Archive::new().pax(&records).file("s", b"x")
    };
    for size in [(8 << 40) + 1, i64::MAX as u64, u64::MAX] {
        assert!(refused(sparse(size)).contains("over the limit of 8 TiB"), "{size}");
    }
    // The largest is one: mostly a hole.
    let file = convert(&sparse(8 << 40).bytes()).unwrap();
    let Some(mounted) = Mounted::new(&[file]) else { return };
    assert_eq!(mounted.path().join("s").metadata().unwrap().len(), 8 << 40);
}

#[test]
fn attributes_are_bounded_an_entry() {
    let with = |records: &[(String, Vec<u8>)]| {
        let records: Vec<_> = records.iter().map(|(key, value)| (key.as_str(), value.as_slice())).collect();
        Archive::new().pax(&records).file("f", b"")
    };
    let record = |name: &str, bytes| (format!("SCHILY.xattr.user.{name}"), vec![b'v'; bytes]);
    let own = Archive::new;
    assert!(convert(&own().pax(&[("SCHILY.xattr.user.a", &[b'v'; 65_000])]).file("f", b"").bytes()).is_ok());
    for (records, why) in [
        (vec![record("a", 65_536)], "more than 64 KiB"),
        ((0..20_000).map(|n| record(&n.to_string(), 0)).collect(), "more than 64 KiB"),
        (vec![record(&"n".repeat(256), 1)], "longer than 255"),
    ] {
        assert!(refused(with(&records)).contains(why), "{why}");
    }
    // One name again and again is one attribute, its last value; quickly, too.
    let again: Vec<_> = (0..35_000).map(|n: u32| record("same", usize::from(n == 34_999))).collect();
    let file = convert(&with(&again).bytes()).unwrap();
    let reader = LayerReader::open(&file).unwrap();
    let (_, nid) = reader.directory(reader.root()).unwrap()[0];
    assert_eq!(
        xattrs::decode(&reader.inode(nid).unwrap().xattrs).unwrap(),
        [(b"user.same".to_vec(), &b"v"[..])]
    );
}

#[test]
fn times_and_sizes_of_any_number_are_cut_or_refused() {
    let number = |place: std::ops::Range<usize>, value: [u8; 12]| {
        Archive::new().add("f", EntryType::Regular, "", b"", |header| {
            header.as_mut_bytes()[place].copy_from_slice(&value);
        })
    };
    let base256 = |value: i64| {
        let mut field = [if value < 0 { 0xff } else { 0x80 }; 12];
        field[1..4].fill(if value < 0 { 0xff } else { 0 });
        field[4..].copy_from_slice(&value.to_be_bytes());
        field
    };
    let time = |value| layer(number(136..148, base256(value)))["/f/"].clone();
    assert!(time(-1).ends_with("0:0 -1.0]"));
    assert!(time(i64::MIN).ends_with("0:0 -2147483648.0]"));
    assert!(time(i64::MAX).ends_with("0:0 15032385535.0]"));
    let told =
        |archive: Archive| convert(&archive.bytes()).err().map(|error| chain(&error)).unwrap_or_default();
    let mut beyond = [0xff; 12];
    beyond[0] = 0xbf;
    assert!(told(number(136..148, beyond)).contains("mtime is not a number, or out of range"));
    assert!(told(number(124..136, base256(-512))).contains("size is not a number, or out of range"));
    assert!(told(number(124..136, beyond)).contains("size is not a number, or out of range"));
    assert!(!told(number(124..136, base256(i64::MAX))).is_empty());
}

#[test]
fn the_same_layer_a_thousand_times_is_merged_within_bounds() {
    let file =
        convert(&Archive::new().file("a/b", b"x").file("a/.wh.gone", b"").link("l", "a/b").bytes()).unwrap();
    let layers: Vec<_> = (0..1000).map(|_| file.try_clone().unwrap()).collect();
    let root = merged_file(&layers);
    assert!(root.metadata().unwrap().len() < 1 << 20);
}
