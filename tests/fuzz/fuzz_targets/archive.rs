//! What an archive is said to hold: docker's form and OCI layouts, by their index and their manifests.
#![no_main]

use hull_engine::image::load;
use hull_fuzz::{file, with_checksums};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|archive: &[u8]| {
    let _ = load::plan_only(&file(&with_checksums(archive)));
});
