//! Whatever a tar has in it comes back byte for byte, and damage is told.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::format::{MAX_LITERAL, Piece};
use super::*;
use crate::image::convert::{self, Options};
use crate::image::layer::tar::tests::sparse_forms;
use crate::image::layer::tests::Archive;
use crate::store::db::images::LayerRow;

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
    (folder, store)
}

fn converted(store: &Store, tar: &[u8]) -> LayerRow {
    convert::convert(store, Cursor::new(tar), Options::default()).unwrap().adopt(store).unwrap()
}

fn rebuilt(store: &Store, row: &LayerRow) -> std::io::Result<Vec<u8>> {
    let mut tar = Vec::new();
    Rebuilt::open(store, row).map_err(std::io::Error::other)?.read_to_end(&mut tar)?;
    Ok(tar)
}

/// Converts and makes the tar again; how large the recipe was.
fn comes_back(tar: &[u8]) -> u64 {
    let (_folder, store) = store();
    let row = converted(&store, tar);
    assert!(rebuilt(&store, &row).unwrap() == tar, "the tar differs");
    store.paths().recipe(&row.diff_id).metadata().unwrap().len()
}

#[test]
fn archives_with_odd_parts_come_back() {
    let plain = Archive::new().directory("./", 0o755).file("a", b"some data").bytes();
    for (what, tar) in [
        ("nothing at all", Vec::new()),
        ("only an end", vec![0; 1024]),
        ("no end", plain[..plain.len() - 1024].to_vec()),
        ("many zero blocks", [plain.clone(), vec![0; 200_000]].concat()),
        ("garbage behind the end", [&plain[..], b"garbage, not in blocks"].concat()),
        ("an archive behind the end", [plain.clone(), plain.clone()].concat()),
        (
            "duplicates, links and whiteouts with data",
            Archive::new()
                .file("a", &[1; 5000])
                .link("b", "a")
                .file("a", &[2; 4096])
                .link("c", "below/elsewhere")
                .file(".wh.gone", b"not empty")
                .file(".wh..wh.aufs", &[3; 9000])
                .symlink("s", "a")
                .file("empty", b"")
                .bytes(),
        ),
        (
            "extended headers",
            Archive::new().pax(&[("path", b"long"), ("comment", &[b'x'; 100_000])]).file("f", b"x").bytes(),
        ),
    ] {
        comes_back(&tar);
        println!("{what}");
    }
    for (_form, tar) in sparse_forms() {
        comes_back(&tar);
    }
}

#[test]
fn data_take_no_room_in_a_recipe() {
    let noise: Vec<u8> = (0_u32..250_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    assert!(comes_back(&Archive::new().file("large", &noise).bytes()) < 1000);
}

#[test]
fn padding_that_is_not_zero_comes_back() {
    let mut tar = Archive::new().file("a", b"data").bytes();
    tar[512 + 100] = 7;
    comes_back(&tar);
}

#[test]
fn compressed_layers_get_one_only_if_they_are_not_kept() {
    let (_folder, store) = store();
    let tar = Archive::new().file("a", b"data").bytes();
    let packed = zstd::encode_all(&tar[..], 1).unwrap();
    let kept = Options { keep: true, ..Options::default() };
    let row = convert::convert(&store, Cursor::new(&packed), kept).unwrap().adopt(&store).unwrap();
    assert!(!exists(&store, &row.diff_id));
    let error = Rebuilt::open(&store, &row).err().unwrap().to_string();
    assert!(error.contains("was not kept") && error.contains("once more"), "{error}");
    let row = converted(&store, &packed);
    assert_eq!(rebuilt(&store, &row).unwrap(), tar);
}

/// A store with one layer, its row and its recipe's path.
fn one_layer() -> (TempDir, Store, LayerRow, PathBuf) {
    let (folder, store) = store();
    let data: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let archive =
        (0..40).fold(Archive::new(), |archive, n| archive.file(&format!("file-{n}"), &data[n * 100..]));
    let row = converted(&store, &archive.bytes());
    let path = store.paths().recipe(&row.diff_id);
    (folder, store, row, path)
}

fn overwrite(path: &std::path::Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_layer_file_is_told_by_its_digest() {
    let (_folder, store, row, _) = one_layer();
    let layer = store.paths().layer(&row.diff_id);
    let mut bytes = fs::read(&layer).unwrap();
    bytes[5000] ^= 1;
    overwrite(&layer, &bytes);
    assert!(rebuilt(&store, &row).unwrap_err().to_string().contains("one of the layer's files is damaged"));
    overwrite(&layer, &bytes[..bytes.len() - 4096]);
    assert!(rebuilt(&store, &row).unwrap_err().to_string().contains("of another size"));
}

#[test]
fn recipes_of_other_layers_and_formats_are_refused() {
    let (_folder, store, row, path) = one_layer();
    let good = fs::read(&path).unwrap();
    let mut other = row.clone();
    other.tar_bytes += 512;
    assert!(rebuilt(&store, &other).unwrap_err().to_string().contains("another layer"));
    let mut newer = good.clone();
    newer[8] = 2;
    overwrite(&path, &newer);
    assert!(rebuilt(&store, &row).unwrap_err().to_string().contains("no header of this format"));
    overwrite(&path, &good[..30]);
    assert!(rebuilt(&store, &row).unwrap_err().to_string().contains("cut short"));
}

#[test]
fn pieces_that_lead_nowhere_are_refused() {
    let (_folder, store, row, path) = one_layer();
    let head = fs::read(&path).unwrap()[..Header::SIZE].to_vec();
    let layer = row.bytes;
    for piece in [
        Piece { literal: 0, offset: 0, length: 0 },
        Piece { literal: 0, offset: layer, length: 1 },
        Piece { literal: 0, offset: u64::MAX, length: u64::MAX },
        Piece { literal: 0, offset: 0, length: row.tar_bytes + 1 },
        Piece { literal: u32::try_from(MAX_LITERAL).unwrap() + 1, offset: 0, length: 0 },
        // The bytes that it promises are not there.
        Piece { literal: 100, offset: 0, length: 0 },
    ] {
        let frame = zstd::encode_all(&piece.encode()[..], 1).unwrap();
        overwrite(&path, &[head.clone(), frame].concat());
        let error = rebuilt(&store, &row).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{piece:?}: {error}");
    }
}

#[test]
fn a_frame_with_a_huge_window_is_refused() {
    let (_folder, store, row, path) = one_layer();
    let mut bytes = fs::read(&path).unwrap()[..Header::SIZE].to_vec();
    let mut encoder = zstd::stream::write::Encoder::new(&mut bytes, 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&vec![1; 1 << 20]).unwrap();
    encoder.finish().unwrap();
    overwrite(&path, &bytes);
    assert!(rebuilt(&store, &row).unwrap_err().to_string().contains("is damaged"));
}

/// Entries that follow each other in any order: directories `a` and `b`, and what is in them.
fn entry() -> impl Strategy<Value = (u8, u8, u8, Vec<u8>)> {
    (0_u8..7, 0_u8..2, 0_u8..3, prop::collection::vec(any::<u8>(), 0..10_000))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_archive_comes_back(
        entries in prop::collection::vec(entry(), 0..30),
        behind in prop::collection::vec(any::<u8>(), 0..3000),
        blocks in 0_usize..40,
    ) {
        let archive = entries.iter().fold(Archive::new(), |archive, (kind, folder, name, data)| {
            let folder = char::from(b'a' + folder);
            let path = format!("{folder}/{}", char::from(b'p' + name));
            match kind {
                0 => archive.directory(&format!("{folder}"), 0o755),
                1 => archive.symlink(&path, "somewhere"),
                2 => archive.link(&path, &format!("b/{}", char::from(b'q' - name % 2))),
                3 => archive.file(&format!("{folder}/.wh.{name}"), data),
                4 => archive.pax(&[("comment", &data[..data.len().min(2000)])]).file(&path, data),
                _ => archive.file(&path, data),
            }
        });
        let tar = [archive.bytes(), vec![0; blocks * 512], behind].concat();
        comes_back(&tar);
    }

    #[test]
    fn damaged_recipes_are_errors_and_not_panics(at in 0_usize..2000, with in any::<[u8; 4]>()) {
        let (_folder, store, row, path) = one_layer();
        let mut bytes = fs::read(&path).unwrap();
        let at = at % (bytes.len() - 4);
        let same = bytes[at..at + 4] == with;
        bytes[at..at + 4].copy_from_slice(&with);
        overwrite(&path, &bytes);
        // Bytes in which nothing lies may differ, and only those.
        if let Ok(tar) = rebuilt(&store, &row) {
            prop_assert!(same || Digest::of(&tar) == row.diff_id);
        }
    }
}
