//! A recipe that something damaged, beside a layer file that is whole.
#![no_main]

use std::io;

use hull_engine::image::{Digest, recipe};
use hull_engine::store::db::images::LayerRow;
use hull_fuzz::{file, path};
use libfuzzer_sys::fuzz_target;

const LAYER: [u8; 8192] = [7; 8192];

fuzz_target!(|bytes: &[u8]| {
    // The header has to be of this layer; beyond that it may say what it likes.
    let tar_bytes = u64::try_from(bytes.len() % 3 * 4096).unwrap_or(0);
    let row = LayerRow { diff_id: Digest::of(b""), bytes: 8192, tar_bytes, entries: 0 };
    let header = recipe::Header { diff_id: row.diff_id, tar_bytes, layer_bytes: 8192 };
    let mut whole = header.encode().to_vec();
    whole.extend_from_slice(bytes);
    let (recipe_file, layer) = (file(&whole), file(&LAYER));
    if let Ok(mut rebuilt) = recipe::Rebuilt::of_files(&path(&recipe_file), &path(&layer), &row) {
        let _ = io::copy(&mut rebuilt, &mut io::sink());
    }
});
