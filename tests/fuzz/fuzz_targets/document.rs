//! Manifests, indexes, configs and the manifest.json of docker's archives.
#![no_main]

use hull_engine::image::{Digest, document, platform, spec};
use libfuzzer_sys::fuzz_target;

// Documents one behind the other, a NUL between: the last one is the first to be asked for, and each
// digest that is asked for means the next.
fuzz_target!(|bytes: &[u8]| {
    let documents: Vec<_> = bytes.split(|byte| *byte == 0).collect();
    let descriptor = spec::Descriptor {
        media_type: spec::media_type::OCI_INDEX.to_owned(),
        digest: Digest::of(b""),
        size: 0,
        annotations: Default::default(),
        platform: None,
    };
    let mut next = documents.iter().rev();
    let mut fetch = |_: &spec::Descriptor| Ok(next.next().copied().unwrap_or_default().to_vec());
    let _ = document::resolve(&descriptor, &platform::host(), &mut fetch);
    for bytes in documents {
        if let Ok(config) = document::json::<spec::ImageConfig>(bytes, "config") {
            let again = serde_json::to_vec(&config).unwrap();
            assert!(document::json::<spec::ImageConfig>(&again, "again").is_ok());
        }
        let _ = document::json::<Vec<spec::ArchiveImage>>(bytes, "archive");
    }
});
