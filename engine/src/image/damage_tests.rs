//! Layers that were cut or changed anywhere on their way: an error, or another layer; never a panic, and never
//! more than the ceilings.

use std::io::Write;
use std::sync::OnceLock;

use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::convert::{self, Options};
use super::layer::tests::Archive;
use crate::store::Store;

fn store() -> &'static Store {
    static STORE: OnceLock<(TempDir, Store)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
        (folder, store)
    });
    store
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A bit of everything.
fn sample() -> Vec<u8> {
    let attributes: [(&str, &[u8]); 3] =
        [("SCHILY.xattr.user.a", b"value"), ("mtime", b"-1.5"), ("path", b"d/a-name-from-pax")];
    let sparse: [(&str, &[u8]); 2] = [("GNU.sparse.size", b"99999"), ("GNU.sparse.map", b"0,3,50000,2")];
    Archive::new()
        .directory("d", 0o755)
        .file("d/f", &(0..3000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())
        .link("d/l", "d/f")
        .symlink("s", "d")
        .pax(&attributes)
        .file("x", b"pax")
        .pax(&sparse)
        .file("sparse", b"abcxy")
        .file("d/.wh.gone", b"")
        .bytes()
}

#[test]
fn whole_layers_are_converted_in_every_form() {
    let digests =
        [sample(), gzip(&sample()), zstd(&sample()), [gzip(b""), gzip(&sample()), gzip(b"")].concat()]
            .map(|bytes| convert::convert(store(), &bytes[..], Options::default()).unwrap().diff_id());
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_layers_are_errors_or_other_layers(
        form in 0..3,
        cut in prop::option::of(any::<prop::sample::Index>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        keep in any::<bool>(),
    ) {
        let mut bytes = match form {
            0 => sample(),
            1 => gzip(&sample()),
            _ => zstd(&sample()),
        };
        for (at, with) in changes {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let options = Options { keep, recipe: true, max_unpacked: 1 << 20, max_entries: 100 };
        if let Ok(converted) = convert::convert(store(), &bytes[..], options) {
            prop_assert!(converted.row.entries <= 100 && converted.row.tar_bytes <= 1 << 20);
        }
    }
}
