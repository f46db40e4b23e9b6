use std::collections::HashMap;
use std::fs;
use std::io::Write as _;

use flate2::write::GzEncoder;
use serde_json::json;

use super::progress::Silent;
use super::*;
use crate::image::import::{Import, import};
use crate::image::layer::tests::Archive;
use crate::registry::test_server::{TestServer, ok, reply};

fn tar(content: &str) -> Vec<u8> {
    Archive::new().file("file", content.as_bytes()).bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image with one layer, as a registry has it.
struct Served {
    config: Vec<u8>,
    blob: Vec<u8>,
    manifest: Vec<u8>,
}

impl Served {
    fn new(tar: &[u8], blob: Vec<u8>) -> Self {
        let config = json!({"os": "linux", "architecture": platform::host().architecture,
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(tar)]}});
        let config = config.to_string().into_bytes();
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": {"mediaType": media_type::OCI_CONFIG, "digest": Digest::of(&config), "size": config.len()},
            "layers": [{"mediaType": media_type::OCI_GZIP, "digest": Digest::of(&blob), "size": blob.len()}]});
        Self { manifest: manifest.to_string().into_bytes(), config, blob }
    }

    fn serve(&self) -> TestServer {
        let mut answers = HashMap::new();
        for bytes in [&self.config, &self.blob] {
            answers.insert(format!("/v2/x/blobs/{}", Digest::of(bytes)), bytes.clone());
        }
        let manifest = self.manifest.clone();
        TestServer::new(move |seen| {
            let path = seen.line().split(' ').nth(1).unwrap_or_default();
            match answers.get(path) {
                Some(bytes) => ok(bytes),
                None if path.contains("/manifests/") => ok(&manifest),
                None => reply("404 Not Found", "", b""),
            }
        })
    }
}

fn pulled(store: &Store, server: &TestServer) -> Result<Pulled> {
    let logins = tempfile::tempdir().unwrap();
    let settings = Settings { docker_config: Some(logins.path().to_owned()), ..Settings::default() };
    let name = format!("{}/x:1", server.name()).parse().unwrap();
    pull(store, &settings, &name, &Options::default(), &Silent)
}

fn asked_for(server: &TestServer, bytes: &[u8]) -> bool {
    let digest = Digest::of(bytes).to_string();
    server.lines().iter().any(|line| line.contains(&digest))
}

fn overwrite(path: &std::path::Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_a_failing_disk_cut_is_brought_again() {
    let (_folder, store) = Store::temporary();
    let tar = tar("content");
    let image = Served::new(&tar, gzip(&tar));
    pulled(&store, &image.serve()).unwrap();
    let paths = store.paths();
    let layer = paths.layer(&Digest::of(&tar));
    let blobs = [&image.config, &image.manifest, &image.blob].map(|bytes| paths.blob(&Digest::of(bytes)));
    for path in blobs.iter().chain([&layer]) {
        let whole = fs::read(path).unwrap();
        overwrite(path, &whole[..whole.len() / 2]);
        let pulled = pulled(&store, &image.serve()).unwrap();
        assert!(fs::read(path).unwrap() == whole, "{}", path.display());
        assert!(catalog::is_complete(&store, &pulled.id).unwrap());
    }
}

#[test]
fn a_blob_that_is_not_the_layer_it_is_said_to_be_is_refused_where_the_layer_is_known() {
    let (_folder, store) = Store::temporary();
    let name = Some("known:1".parse().unwrap());
    import(&store, tar("known").as_slice(), Import { name, ..Import::default() }).unwrap();
    for blob in
        [gzip(&tar("another")), gzip(&[tar("known"), vec![0; 1 << 20]].concat()), b"no layer".to_vec()]
    {
        let image = Served::new(&tar("known"), blob);
        let server = image.serve();
        assert!(pulled(&store, &server).is_err());
        assert!(asked_for(&server, &image.blob));
        assert!(!store.paths().blob(&Digest::of(&image.blob)).exists());
    }
    let image = Served::new(&tar("known"), gzip(&tar("known")));
    pulled(&store, &image.serve()).unwrap();
}

#[test]
fn a_config_is_taken_from_the_store_only_where_it_is_whole() {
    let (_folder, store) = Store::temporary();
    let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"config"), 6);
    let path = store.paths().blob(&descriptor.digest);
    assert_eq!(layers::small_here(&store, &descriptor), None);
    for (content, expected) in
        [("config", Some(b"config".to_vec())), ("config and more", None), ("confi9", None)]
    {
        fs::write(&path, content).unwrap();
        assert_eq!(layers::small_here(&store, &descriptor), expected, "{content}");
    }
    fs::write(&path, "config").unwrap();
    assert_eq!(layers::small_here(&store, &Descriptor { size: 5, ..descriptor }), None);
}
