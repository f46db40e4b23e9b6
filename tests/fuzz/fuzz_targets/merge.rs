//! Layers made of few names, so that they meet: every order of files, links, whiteouts and opaque markers.
#![no_main]

use hull_fuzz::{convert, merge};
use libfuzzer_sys::fuzz_target;
use tar::{Builder, EntryType, Header};

const NAMES: [&str; 16] = [
    "a",
    "b",
    "a/a",
    "a/b",
    "b/a",
    "a/a/a",
    "l/a",
    "l",
    "m",
    "m/l/b",
    ".wh.a",
    "a/.wh.b",
    ".wh..wh..opq",
    "a/.wh..wh..opq",
    "b/.wh.a",
    ".",
];
const TARGETS: [&str; 8] = ["a", "/b", "../a", "l", "m/l", "a/b", "..", "l/../m"];
const KINDS: [EntryType; 6] = [
    EntryType::Regular,
    EntryType::Directory,
    EntryType::Symlink,
    EntryType::Link,
    EntryType::Char,
    EntryType::Fifo,
];

fn pick<T: Copy>(from: &[T], number: u8) -> T {
    from[usize::from(number) % from.len()]
}

/// Three bytes an entry: name, kind and a link's target. The kind 255 begins a layer.
fn layers(ops: &[u8]) -> Vec<Vec<u8>> {
    let mut layers = vec![Builder::new(Vec::new())];
    for op in ops.chunks_exact(3).take(200) {
        let (name, kind, target) = (pick(&NAMES, op[0]), op[1], pick(&TARGETS, op[2]));
        if kind == 255 {
            layers.push(Builder::new(Vec::new()));
            continue;
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(pick(&KINDS, kind));
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(u32::from(op[2]));
        header.set_size(0);
        header.set_cksum();
        layers.last_mut().unwrap().append(&header, &b""[..]).unwrap();
    }
    layers.into_iter().map(|layer| layer.into_inner().unwrap()).collect()
}

fuzz_target!(|ops: &[u8]| {
    let files: Result<Vec<_>, _> = layers(ops).iter().map(|tar| convert(tar)).collect();
    if let Ok(files) = files {
        let _ = merge(&files);
    }
});
