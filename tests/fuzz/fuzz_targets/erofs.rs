//! A layer file that something damaged.
#![no_main]

use hull_engine::image::layer::erofs::reader;
use hull_fuzz::{file, merge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|image: &[u8]| {
    // The superblock has to say how long the file is; beyond that it may say what it likes.
    let mut image = image.to_vec();
    image.resize(image.len().max(4096).next_multiple_of(4096), 0);
    let blocks = u32::try_from(image.len() / 4096).unwrap_or(0);
    image[1024..1028].copy_from_slice(&0xE0F5_E1E2_u32.to_le_bytes());
    image[1060..1064].copy_from_slice(&blocks.to_le_bytes());
    let image = file(&image);
    let _ = reader::devices(&image);
    let _ = merge(&[image]);
});
