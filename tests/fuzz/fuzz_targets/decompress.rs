//! Streams in gzip and zstd, or in neither. What they unpack to is read up to a limit only.
#![no_main]

use std::io::{self, Read};

use hull_engine::image::decompress;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    if let Ok(plain) = decompress::open(stream) {
        let _ = io::copy(&mut plain.take(4 << 20), &mut io::sink());
    }
});
