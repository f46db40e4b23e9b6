//! Indexes, platforms, and manifests of what is no image.

use hull_engine::image::Digest;
use hull_tests::registry::names;
use hull_tests::{Registry, Store};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn put(
    registry: &Registry,
    repository: &str,
    tag: Option<&str>,
    media_type: &str,
    document: &Value,
) -> Value {
    let bytes = document.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    let reference = tag.map_or(digest.to_string(), str::to_owned);
    registry.put_manifest(repository, &reference, media_type, &bytes);
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

fn put_config(registry: &Registry, repository: &str, config: &Value) -> Value {
    let bytes = config.to_string().into_bytes();
    let digest = registry.put_blob(repository, &bytes);
    json!({"mediaType": CONFIG, "digest": digest, "size": bytes.len()})
}

fn on(mut descriptor: Value, os: &str, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": os, "architecture": architecture});
    descriptor
}

/// A repository with busybox for two platforms, told apart by an environment variable: the index's tag is
/// `latest`, one within another is `nested`, and `arm` is the foreign image's manifest.
fn two_platforms() -> Registry {
    let registry = Registry::start();
    registry.add_busybox("multi:plain");
    let layers = registry.manifest("multi", "plain")["layers"].clone();
    let file = registry.blob_file(
        &registry.manifest("multi", "plain")["config"]["digest"].as_str().unwrap().parse().unwrap(),
    );
    let plain: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let image = |architecture: &str, tag| {
        let mut config = plain.clone();
        config["architecture"] = json!(architecture);
        let config = put_config(&registry, "multi", &config);
        let layers: Vec<_> = layers.as_array().unwrap().clone();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        on(put(&registry, "multi", tag, MANIFEST, &manifest), "linux", architecture)
    };
    let (own, foreign) = (image("amd64", None), image("arm64", Some("arm")));
    let attestation = on(foreign.clone(), "unknown", "unknown");
    let all = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [attestation, foreign, own]});
    let index = put(&registry, "multi", Some("latest"), INDEX, &all);
    let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [index]});
    put(&registry, "multi", Some("nested"), INDEX, &outer);
    registry
}

#[test]
fn of_an_index_this_machine_s_image_is_pulled() {
    let (registry, store) = (two_platforms(), Store::new());
    for tag in ["latest", "nested"] {
        let name = registry.name(&format!("multi:{tag}"));
        store.hull(["pull", "-q", &name]).output().exits(0);
        assert_eq!(store.run([name.as_str(), "echo", "hi"]).output().text(), "hi");
        // The name by digest is the index's.
        let by_digest = format!("{}@{}", registry.name("multi"), registry.digest("multi", tag));
        assert_eq!(store.run([by_digest.as_str(), "echo", "hi"]).output().text(), "hi");
        registry.requests();
        store.hull(["pull", "-q", &name]).output().exits(0);
        assert_eq!(registry.requests(), [format!("HEAD /v2/multi/manifests/{tag}")]);
    }
}

#[test]
fn another_platform_s_image_is_pulled_and_refused_when_run() {
    let (registry, store) = (two_platforms(), Store::new());
    let name = registry.name("multi");
    store.hull(["pull", "-q", "--platform", "linux/arm64/v8", &name]).output().exits(0);
    let line = store.run([name.as_str(), "true"]).output().fails(125);
    assert!(line.contains("linux/arm64") && line.contains("linux/amd64"), "{line}");
    // What is here is for the wrong platform, so it counts as missing.
    let words = ["run", "--rm", "-q", "--isolation", "namespace", "--platform", "linux/amd64", &name];
    assert_eq!(store.hull(words).args(["echo", "hi"]).output().text(), "hi");
    // Without --platform this machine's is meant, whatever was pulled before.
    store.hull(["pull", "-q", "--platform", "linux/arm64", &name]).output().exits(0);
    store.hull(["pull", "-q", &name]).output().exits(0);
    assert_eq!(store.run([name.as_str(), "echo", "hi"]).output().text(), "hi");

    let line = store.hull(["pull", "-q", "--platform", "linux/s390x", &name]).output().fails(1);
    assert!(line.contains("linux/arm64, linux/amd64") && line.contains("linux/s390x"), "{line}");
    let arm = registry.name("multi:arm");
    let line = store.hull(["pull", "-q", "--platform", "linux/amd64", &arm]).output().fails(1);
    assert!(line.contains("it is for linux/arm64, and linux/amd64 was asked for"), "{line}");
}

#[test]
fn what_is_no_image_is_refused_in_words() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("bad:good");
    let good = registry.manifest("bad", "good");
    let layer = good["layers"][0].clone();
    let before = store.state();
    let refused = |what: &str, change: &dyn Fn(&mut Value), text: &str| {
        let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer],
            "config": {"mediaType": CONFIG, "digest": good["config"]["digest"], "size": good["config"]["size"]}});
        manifest["layers"][0]["mediaType"] = json!(LAYER);
        change(&mut manifest);
        put(&registry, "bad", Some("bad"), MANIFEST, &manifest);
        let output = store.hull(["pull", "-q", &registry.name("bad:bad")]).output();
        let line = output.fails(1);
        assert!(line.contains(text), "{what}: {line}");
        assert_eq!(store.state(), before, "{what}");
    };
    refused(
        "a chart",
        &|m| m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json"),
        "artifact",
    );
    refused(
        "an encrypted layer",
        &|m| m["layers"][0]["mediaType"] = json!(format!("{LAYER}+encrypted")),
        "encrypted",
    );
    refused(
        "a layer too many",
        &|m| m["layers"] = json!([layer, layer]),
        "has 2 layers, the image's config 1",
    );
    refused("a thousand layers", &|m| m["layers"] = json!(vec![layer.clone(); 1000]), "limit of 512");
    let size = layer["size"].as_u64().unwrap();
    let digest = layer["digest"].as_str().unwrap();
    let config = good["config"]["digest"].as_str().unwrap();
    refused("a layer that is longer", &|m| m["layers"][0]["size"] = json!(10), digest);
    refused("a layer that is shorter", &|m| m["layers"][0]["size"] = json!(size + 1), digest);
    refused("a config of another size", &|m| m["config"]["size"] = json!(10), config);
    refused("a huge config", &|m| m["config"]["size"] = json!(1_u64 << 40), "4 MiB");
    assert_eq!(names(&store.root.join("tmp")), [] as [&str; 0]);
}

/// An image of busybox's one layer, as it is or compressed by a command.
fn put_busybox(registry: &Registry, repository: &str, compress: &[&str], media_type: &str) -> Value {
    // zstd follows no links.
    let tar = std::fs::canonicalize(hull_tests::paths::image("busybox.layer.tar")).unwrap();
    let plain = std::fs::read(&tar).unwrap();
    let bytes = match compress {
        [] => plain.clone(),
        [command, words @ ..] => {
            std::process::Command::new(command).args(words).arg(&tar).output().unwrap().stdout
        }
    };
    let digest = registry.put_blob(repository, &bytes);
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&plain)]}});
    let config = put_config(registry, repository, &config);
    let layer = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})
}

#[test]
fn layers_are_read_by_what_they_are_and_not_by_their_type() {
    let (registry, store) = (Registry::start(), Store::new());
    let manifest = put_busybox(&registry, "lying", &["zstd", "-q", "-c"], LAYER);
    put(&registry, "lying", Some("latest"), MANIFEST, &manifest);
    let name = registry.name("lying");
    store.hull(["pull", "-q", &name]).output().exits(0);
    assert_eq!(store.run([name.as_str(), "echo", "hi"]).output().text(), "hi");
}

#[test]
fn plain_tars_are_pulled_and_not_twice() {
    let (registry, store) = (Registry::start(), Store::new());
    let manifest = put_busybox(&registry, "plain", &[], "application/vnd.oci.image.layer.v1.tar");
    put(&registry, "plain", Some("latest"), MANIFEST, &manifest);
    put(&registry, "plain", Some("again"), MANIFEST, &manifest);
    let name = registry.name("plain");
    store.hull(["pull", "-q", &name]).output().exits(0);
    assert_eq!(store.run([name.as_str(), "echo", "hi"]).output().text(), "hi");
    registry.requests();
    store.hull(["pull", "-q", &format!("{name}:again")]).output().exits(0);
    assert_eq!(registry.requests(), ["GET /v2/plain/manifests/again"]);
}
