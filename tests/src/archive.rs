//! Image archives as `docker save` writes them, and as nobody should write them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::paths;

/// Bytes of a tar block (POSIX pax, "ustar Interchange Format").
const BLOCK: usize = 512;

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A tar archive whose members have any name, type and size one likes.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    pub fn file(self, name: &str, content: &[u8]) -> Tar {
        self.member(b'0', name, "", content)
    }

    pub fn folder(self, name: &str) -> Tar {
        self.member(b'5', name, "", b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Tar {
        self.member(b'2', name, target, b"")
    }

    pub fn hard_link(self, name: &str, target: &str) -> Tar {
        self.member(b'1', name, target, b"")
    }

    pub fn program(self, name: &str, content: &[u8]) -> Tar {
        self.member_of(b'0', name, "", content, "0000755")
    }

    pub fn member(self, kind: u8, name: &str, link: &str, content: &[u8]) -> Tar {
        self.member_of(kind, name, link, content, if kind == b'5' { "0000755" } else { "0000644" })
    }

    fn member_of(mut self, kind: u8, name: &str, link: &str, content: &[u8], mode: &str) -> Tar {
        self.header(kind, name, link, content.len() as u64, mode);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// A character ('3') or block ('4') device with major and minor number, which everybody may open.
    pub fn device(mut self, kind: u8, name: &str, (major, minor): (u32, u32)) -> Tar {
        self.header_of(kind, name, "", 0, "0000666", (major, minor));
        self
    }

    /// A header that promises `size` bytes, of which none follow.
    pub fn promise(mut self, name: &str, size: u64) -> Tar {
        self.header(b'0', name, "", size, "0000644");
        self
    }

    pub fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn header(&mut self, kind: u8, name: &str, link: &str, size: u64, mode: &str) {
        self.header_of(kind, name, link, size, mode, (0, 0));
    }

    fn header_of(
        &mut self,
        kind: u8,
        name: &str,
        link: &str,
        size: u64,
        mode: &str,
        (major, minor): (u32, u32),
    ) {
        let mut block = [0u8; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, mode.as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{size:011o}").as_bytes());
        put(136, b"14524561400");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, format!("{major:07o}").as_bytes());
        put(337, format!("{minor:07o}").as_bytes());
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
    }
}

/// A docker-archive in the making.
pub struct Archive {
    reference: String,
    layers: Vec<Vec<u8>>,
    config: Value,
    platform: (String, String),
    claimed_digest: Option<String>,
}

impl Archive {
    pub fn new(reference: &str) -> Archive {
        Archive {
            reference: reference.to_owned(),
            layers: Vec::new(),
            config: json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]}),
            platform: ("linux".to_owned(), "amd64".to_owned()),
            claimed_digest: None,
        }
    }

    /// One whose first layer is busybox's, which the stores have already converted.
    pub fn on_busybox(reference: &str) -> Archive {
        Archive::new(reference).layer(fs::read(paths::image("busybox.layer.tar")).unwrap())
    }

    pub fn layer(mut self, tar: impl Into<Vec<u8>>) -> Archive {
        self.layers.push(tar.into());
        self
    }

    /// The image's `config` object: Env, Cmd, Entrypoint, User, WorkingDir ...
    pub fn config(mut self, config: Value) -> Archive {
        self.config = config;
        self
    }

    pub fn platform(mut self, os: &str, architecture: &str) -> Archive {
        self.platform = (os.to_owned(), architecture.to_owned());
        self
    }

    /// What the config says the last layer's digest is.
    pub fn claim_digest(mut self, hex: &str) -> Archive {
        self.claimed_digest = Some(hex.to_owned());
        self
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.bytes()).unwrap();
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut digests: Vec<String> = self.layers.iter().map(|layer| sha256(layer)).collect();
        if let (Some(claimed), Some(last)) = (&self.claimed_digest, digests.last_mut()) {
            last.clone_from(claimed);
        }
        let (os, architecture) = &self.platform;
        let diff_ids: Vec<String> = digests.iter().map(|hex| format!("sha256:{hex}")).collect();
        let config = json!({
            "architecture": architecture, "os": os, "created": "2024-01-01T00:00:00Z", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let config_name = sha256(&config) + ".json";
        let names: Vec<String> = (0..self.layers.len()).map(|n| format!("layer{n}/layer.tar")).collect();
        let manifest = json!([{"Config": config_name, "RepoTags": [self.reference], "Layers": names}]);

        let mut tar = Tar::new().file(&config_name, &config);
        for (name, layer) in names.iter().zip(&self.layers) {
            tar = tar.file(name, layer);
        }
        tar.file("manifest.json", &serde_json::to_vec(&manifest).unwrap()).bytes()
    }
}
