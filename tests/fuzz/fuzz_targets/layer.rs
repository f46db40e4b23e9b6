//! A tar, with whatever extended headers and sparse maps: what becomes a layer file can be read back, and
//! merged with itself.
#![no_main]

use hull_fuzz::{convert, merge, with_checksums};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|tar: &[u8]| {
    if let Ok(layer) = convert(&with_checksums(tar)) {
        // Only a hard link to what is in no layer may be wrong with it.
        let twice = [layer.try_clone().unwrap(), layer];
        let _ = merge(&twice);
    }
});
