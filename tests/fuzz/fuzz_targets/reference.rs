//! Names of images: one that is taken says the same when it is read again, in each of its forms.
#![no_main]

use hull_engine::image::{Digest, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = text.parse::<Digest>();
    let Ok(name) = text.parse::<Reference>() else { return };
    assert_eq!(name.to_string().parse::<Reference>().as_ref(), Ok(&name));
    assert_eq!(name.familiar().parse::<Reference>().as_ref(), Ok(&name));
    let stored: Reference = name.canonical().parse().unwrap();
    assert_eq!(stored.canonical(), name.canonical());
    // What names a registry and a path in URLs is nothing but that.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/:[]".contains(&byte);
    assert!(name.registry.bytes().chain(name.repository.bytes()).all(plain));
    assert!(!name.repository.split('/').any(|part| matches!(part, "" | "." | "..")));
});
