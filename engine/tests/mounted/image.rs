//! An image of seven layers that has whatever layers may have.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::write::GzEncoder;
use hull_engine::image::Digest;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// Files in the directory that is too large for a few blocks.
const MANY: usize = 2500;

pub struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub fn entry(
        mut self,
        name: &str,
        kind: EntryType,
        data: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(data.len() as u64);
        change(&mut header);
        self.0.append_data(&mut header, name, data).unwrap();
        self
    }

    pub fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name, EntryType::Regular, data, |_| ())
    }

    fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(name, EntryType::Directory, b"", |header| header.set_mode(mode))
    }

    fn symlink(mut self, name: &str, target: &str) -> Self {
        self.0.append_link(&mut link_header(EntryType::Symlink), name, target).unwrap();
        self
    }

    fn link(mut self, name: &str, target: &str) -> Self {
        self.0.append_link(&mut link_header(EntryType::Link), name, target).unwrap();
        self
    }

    fn device(self, name: &str, kind: EntryType, major: u32, minor: u32) -> Self {
        self.entry(name, kind, b"", |header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    }

    fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn link_header(kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_600_000_001);
    header
}

/// Bytes that are not all the same.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251).to_le_bytes()[0]).collect()
}

fn base() -> Layer {
    // An access list as the kernel takes it: version 2, then {tag, permissions, id}: owner, user
    // 1000, group, mask, other.
    const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    const NET_RAW: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let special = Layer::new()
        .directory("./", 0o755)
        .directory("./etc", 0o755)
        .file("etc/one", b"one")
        .file("etc/two", b"two")
        .link("etc/one.link", "etc/one")
        .directory("usr", 0o755)
        .directory("usr/bin", 0o755)
        .entry("usr/bin/setuid", EntryType::Regular, &noise(100_000), |header| header.set_mode(0o4755))
        .link("usr/bin/setuid2", "./usr/bin/setuid")
        .pax(&[("SCHILY.xattr.security.capability", NET_RAW), ("SCHILY.xattr.user.note", b"hello")])
        .file("usr/bin/capable", b"#!")
        .pax(&[("SCHILY.xattr.system.posix_acl_access", ACL)])
        .file("etc/acl", b"acl")
        .directory("usr/lib/deep", 0o755)
        .file("usr/lib/deep/below", b"x")
        .symlink("lib", "usr/lib")
        .directory("tmp", 0o1777)
        .entry("var/fifo", EntryType::Fifo, b"", |_| ())
        .device("dev/null", EntryType::Char, 1, 3)
        .device("dev/far", EntryType::Block, 259, 70_000)
        .pax(&[("mtime", b"-300000000.25"), ("uid", b"70000"), ("gid", b"3000000")])
        .file("etc/old", b"older than time")
        .entry("data/keep", EntryType::Directory, b"", |header| {
            header.set_mode(0o2700);
            header.set_uid(33);
            header.set_gid(34);
        })
        .file("data/keep/k", b"k")
        .file("data/opq/a", b"a")
        .file("data/opq/sub/b", b"b")
        .file("var/log/messages", b"")
        .file("exact", &noise(8192))
        .file("over", &noise(8193))
        .pax(&[
            ("GNU.sparse.size", b"300000"),
            ("GNU.sparse.numblocks", b"3"),
            ("GNU.sparse.map", b"0,512,102400,3000,299999,1"),
        ])
        .file("sparse", &noise(3513));
    (0..MANY).fold(special.directory("many", 0o755), |layer, n| {
        layer.file(
            &format!("many/a-name-that-makes-the-directory-larger-than-sixty-four-kibibytes-{n}"),
            &noise(n % 7),
        )
    })
}

/// Lowest first.
pub fn layers() -> Vec<Vec<u8>> {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(250));
    let layers = vec![
        base(),
        // Without parent directories; through a symlink of a lower layer; into a lower layer.
        Layer::new()
            .file("data/keep/added", b"added")
            .file("lib/through", b"through the link")
            .link("etc/lower.link", "etc/one")
            .file("new/dir/file", b"implied"),
        // Whiteouts of files, of a tree, of one that is linked to at the same time.
        Layer::new()
            .file("etc/.wh.two", b"")
            .link("etc/renamed", "usr/bin/setuid2")
            .file("usr/bin/.wh.setuid2", b"")
            .file(".wh.exact", b"")
            .file("var/.wh.log", b""),
        // Opaque directories, with content before and after the marker.
        Layer::new()
            .directory("data/opq", 0o750)
            .file("data/opq/.wh..wh..opq", b"")
            .file("data/opq/only", b"only")
            .file("usr/lib/deep/.wh..wh..opq", b""),
        // Types that change.
        Layer::new()
            .directory("var/fifo", 0o711)
            .file("var/fifo/x", b"x")
            .file("var/log", b"a file now")
            .file("over", b"")
            .symlink("etc/acl", "one"),
        // Nothing at all, as `RUN true` leaves it.
        Layer::new(),
        Layer::new()
            .file(&long, b"long")
            .symlink("far", &"t/".repeat(400))
            .entry("usr", EntryType::Directory, b"", |header| {
                header.set_mode(0o711);
                header.set_uid(5);
                header.set_gid(6);
            })
            .link("usr/link-of-link", "etc/lower.link"),
    ];
    layers.into_iter().map(Layer::bytes).collect()
}

/// Writes an OCI image layout with one image of this name; every other layer is compressed.
pub fn write_layout(folder: &Path, name: &str, layers: &[Vec<u8>]) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| -> Value {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({
        "architecture": hull_engine::image::platform::host().architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": layers.iter().map(|_| json!({"created": "2024-01-01T00:00:00Z"})).collect::<Vec<_>>(),
    });
    let descriptors: Vec<_> = layers
        .iter()
        .enumerate()
        .map(|(at, layer)| match at % 2 {
            0 => blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(layer)),
            _ => blob("application/vnd.oci.image.layer.v1.tar", layer),
        })
        .collect();
    let config = blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": descriptors}).to_string();
    let mut manifest = blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]}).to_string();
    fs::write(folder.join("index.json"), index).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
