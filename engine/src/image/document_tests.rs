//! Documents of every kind, and those that are none.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Documents by digest, as a registry has them.
#[derive(Default)]
struct Documents(HashMap<Digest, Vec<u8>>);

impl Documents {
    fn add(&mut self, document: &Value) -> Descriptor {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        self.0.insert(digest, bytes);
        Descriptor::new("", digest, size)
    }

    fn resolve(&self, descriptor: &Descriptor) -> Result<Found> {
        let wanted = platform::parse("linux/amd64").unwrap();
        resolve(descriptor, &wanted, &mut |descriptor| Ok(self.0[&descriptor.digest].clone()))
    }
}

fn manifest(config_type: &str, layer_types: &[&str]) -> Value {
    let descriptor =
        |media_type: &str| json!({"mediaType": media_type, "digest": Digest::of(b""), "size": 1});
    let layers: Vec<_> = layer_types.iter().map(|media_type| descriptor(media_type)).collect();
    json!({"schemaVersion": 2, "config": descriptor(config_type), "layers": layers})
}

fn index(of: &Descriptor) -> Value {
    let entry = json!({"digest": of.digest, "size": of.size, "mediaType": of.media_type,
        "platform": {"os": "linux", "architecture": "amd64"}});
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry]})
}

#[track_caller]
fn refused(document: &Value, text: &str) {
    let mut documents = Documents::default();
    let descriptor = documents.add(document);
    let error = documents.resolve(&descriptor).unwrap_err().to_string();
    assert!(error.contains(text), "{error}");
}

#[test]
fn indexes_are_followed_down_to_a_limit() {
    let mut documents = Documents::default();
    let image = documents.add(&manifest(media_type::OCI_CONFIG, &[LAYER]));
    let mut descriptor = image.clone();
    for _ in 0..MAX_DEPTH {
        descriptor = documents.add(&index(&descriptor));
    }
    assert_eq!(documents.resolve(&descriptor).unwrap().digest, image.digest);
    let deeper = documents.add(&index(&descriptor));
    let error = documents.resolve(&deeper).unwrap_err();
    assert!(matches!(error, Error::Depth(_)), "{error}");
}

#[test]
fn what_is_no_image_is_named() {
    refused(&json!({"schemaVersion": 1, "fsLayers": []}), "schema 1");
    refused(&manifest("application/vnd.cncf.helm.config.v1+json", &[]), "vnd.cncf.helm.config");
    refused(&manifest(media_type::OCI_CONFIG, &["application/vnd.in-toto+json"]), "vnd.in-toto+json");
    refused(&manifest(media_type::OCI_CONFIG, &[&format!("{LAYER}+encrypted")]), "encrypted");
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    refused(&manifest(media_type::OCI_CONFIG, &[foreign]), "somewhere else");
    refused(&manifest(media_type::OCI_CONFIG, &[LAYER; MAX_LAYERS + 1]), "513 layers");
    let mut artifact = manifest(media_type::OCI_CONFIG, &[]);
    artifact["mediaType"] = json!("application/vnd.oci.artifact.manifest.v1+json");
    refused(&artifact, "artifact.manifest");
    let mut lying = manifest(media_type::OCI_CONFIG, &[]);
    lying["mediaType"] = json!(media_type::OCI_INDEX);
    refused(&lying, media_type::OCI_INDEX);
}

#[test]
fn a_document_of_two_kinds_is_refused() {
    let mut both = manifest(media_type::OCI_CONFIG, &[LAYER]);
    both["manifests"] = json!([]);
    refused(&both, "both an image and an index");
}

#[test]
fn wrong_types_are_refused_and_nulls_are_read() {
    refused(&json!([]), "not what it should be");
    refused(&json!({"schemaVersion": "2", "config": {}, "layers": []}), "not what it should be");
    refused(&json!({"manifests": {"a": 1}}), "not what it should be");
    refused(&json!({"schemaVersion": 2}), "not what it should be");
    let mut documents = Documents::default();
    let mut nulls = manifest(media_type::OCI_CONFIG, &[]);
    nulls["layers"] = Value::Null;
    let descriptor = documents.add(&nulls);
    assert!(documents.resolve(&descriptor).unwrap().manifest.layers.is_empty());
}
