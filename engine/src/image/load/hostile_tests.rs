//! Archives and documents that an enemy made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::tests::*;
use super::*;
use crate::image::import::{Import, import};
use crate::image::layer::tests::Archive;
use crate::image::{catalog, document};

/// What an error says, with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// A layout of one image, with the documents as they are after these changes. Digests and sizes fit, up to what
/// a change says.
fn changed(
    config: impl FnOnce(&mut Value),
    manifest: impl FnOnce(&mut Value),
    index: impl FnOnce(&mut Value),
) -> Files {
    let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let layer = base();
    let mut text: Value =
        serde_json::from_slice(&super::tests::config(std::slice::from_ref(&layer), &host())).unwrap();
    config(&mut text);
    let config = add_blob(&mut files, text.to_string().into(), "application/vnd.oci.image.config.v1+json");
    let layer = add_blob(&mut files, gzip(&layer), "application/vnd.oci.image.layer.v1.tar+gzip");
    let mut text = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    manifest(&mut text);
    let of = add_blob(&mut files, text.to_string().into(), "application/vnd.oci.image.manifest.v1+json");
    let mut text = json!({"schemaVersion": 2, "manifests": [of]});
    index(&mut text);
    files.push(("index.json".to_owned(), text.to_string().into()));
    files
}

fn same(_: &mut Value) {}

fn load_folder(files: &Files, options: Options) -> Result<Vec<Loaded>> {
    let (_root, store) = store();
    let scratch = tempfile::tempdir().unwrap();
    unpack(files, scratch.path());
    load(&store, Input::Path(scratch.path()), options)
}

#[test]
fn sizes_that_lie_are_refused() {
    let lie = |descriptor: &mut Value| descriptor["size"] = json!(descriptor["size"].as_u64().unwrap() + 1);
    refused(&changed(same, same, |index| lie(&mut index["manifests"][0])), "is not of");
    refused(&changed(same, |manifest| lie(&mut manifest["config"]), same), "is not of");
    refused(&changed(same, |manifest| lie(&mut manifest["layers"][0]), same), "is not of");
    for size in [json!(-1), json!(1.5), json!("5"), json!(u64::MAX)] {
        refused(&changed(same, |manifest| manifest["layers"][0]["size"] = size, same), "");
    }
}

#[test]
fn digests_that_do_not_fit_are_refused_wherever_they_stand() {
    let other = json!(Digest::of(b"something else"));
    for (place, files) in [
        ("index", changed(same, same, |index| index["manifests"][0]["digest"] = other.clone())),
        ("config", changed(same, |manifest| manifest["config"]["digest"] = other.clone(), same)),
        ("layer", changed(same, |manifest| manifest["layers"][0]["digest"] = other.clone(), same)),
    ] {
        // Nothing has that name.
        refused(&files, "has no file \"blobs/sha256/");
        // What has it is something else.
        let name = format!("blobs/sha256/{}", Digest::of(b"something else").hex());
        let mut files = files;
        files.push((name, if place == "layer" { gzip(&base()) } else { b"{}".to_vec() }));
        refused(&files, "it is corrupt");
    }
    refused(&changed(|config| config["rootfs"]["diff_ids"][0] = other.clone(), same, same), "unpacks to");
    // In a docker archive the config's name says its digest.
    let mut files = docker(&[(&["a"], &[base()])]);
    let config = files.iter_mut().find(|(name, _)| name.ends_with(".json")).unwrap();
    config.1.push(b' ');
    refused(&files, "it is corrupt");
}

#[test]
fn digests_are_digests_and_no_paths() {
    for digest in [
        "sha256:../../../../etc/shadow",
        "sha256:/etc/shadow",
        "../../etc/shadow",
        "sha256:",
        "sha512:00",
        "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256:\u{1b}[2J",
    ] {
        refused(&changed(same, same, |index| index["manifests"][0]["digest"] = json!(digest)), "digest");
        refused(&changed(same, |manifest| manifest["layers"][0]["digest"] = json!(digest), same), "digest");
        refused(&changed(|config| config["rootfs"]["diff_ids"][0] = json!(digest), same, same), "digest");
    }
}

#[test]
fn media_types_that_lie_open_no_door() {
    // How a layer is compressed is told by its bytes.
    let (plain, zstd) =
        ("application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+zstd");
    for said in [plain, zstd] {
        let files = changed(same, |manifest| manifest["layers"][0]["mediaType"] = json!(said), same);
        each_way(&files, |way, outcome, _, _| assert_eq!(outcome.expect(way).len(), 1, "{said}"));
    }
    let config = "application/vnd.oci.image.config.v1+json";
    refused(&changed(same, |m| m["layers"][0]["mediaType"] = json!(config), same), config);
    refused(&changed(same, |m| m["config"]["mediaType"] = json!(plain), same), plain);
    refused(&changed(same, same, |index| index["manifests"][0]["mediaType"] = json!(config)), "");
    // A layer that is a config, and a config that is a layer.
    refused(&changed(same, |m| m["layers"][0] = m["config"].clone(), same), "");
    refused(&changed(same, |m| m["config"] = m["layers"][0].clone(), same), "");
    // A manifest that calls itself an index, and the other way round.
    let index = "application/vnd.oci.image.index.v1+json";
    refused(&changed(same, |m| m["mediaType"] = json!(index), same), "");
    refused(&changed(same, |m| m["manifests"] = json!([]), same), "");
    // A text is no tar.
    let mut files = changed(same, same, same);
    for (name, bytes) in &mut files {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            *bytes = gzip(b"no tar at all, but long enough to be one");
            *name = format!("blobs/sha256/{}", Digest::of(bytes).hex());
        }
    }
    refused(&files, "");
}

#[test]
fn configs_with_wrong_types_are_refused_in_words() {
    for (key, value) in [
        ("architecture", json!(5)),
        ("os", json!(["linux"])),
        ("created", json!(1_700_000_000)),
        ("config", json!("sh")),
        ("config", json!({"Env": "PATH=/"})),
        ("config", json!({"Env": [1]})),
        ("config", json!({"Cmd": "sh"})),
        ("config", json!({"Entrypoint": {"0": "sh"}})),
        ("config", json!({"User": 0})),
        ("config", json!({"Labels": ["a=b"]})),
        ("config", json!({"Labels": {"a": 1}})),
        ("config", json!({"Volumes": ["/data"]})),
        ("config", json!({"ExposedPorts": "80/tcp"})),
        ("rootfs", json!(null)),
        ("rootfs", json!({"type": "layers", "diff_ids": "sha256:"})),
        ("rootfs", json!({"type": "layers", "diff_ids": [null]})),
        ("history", json!({"created_by": "x"})),
        ("history", json!([{"empty_layer": "yes"}])),
    ] {
        let files = changed(|config| config[key] = value.clone(), same, same);
        refused(&files, "is not what it should be");
    }
    // Only so deep as the parser goes.
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let text = format!("{{\"config\":{{\"Healthcheck\":{deep}}},\"rootfs\":{{\"type\":\"layers\"}}}}");
    assert!(document::json::<crate::image::spec::ImageConfig>(text.as_bytes(), "config").is_err());
}

#[test]
fn lists_in_documents_are_bounded() {
    let many = |element: Value| Value::Array(vec![element; 16_385]);
    let told = "more than 16384 elements";
    let empty = || json!({});
    refused(&changed(|config| config["history"] = many(empty()), same, same), told);
    refused(&changed(|config| config["config"]["Env"] = many(json!("")), same, same), told);
    refused(&changed(|config| config["rootfs"]["diff_ids"] = many(json!(Digest::of(b""))), same, same), told);
    let one = changed(same, same, same);
    let index: Value = serde_json::from_slice(&one.last().unwrap().1).unwrap();
    refused(&changed(same, same, |text| text["manifests"] = many(index["manifests"][0].clone())), told);
    let mut files = docker(&[(&["a"], &[base()])]);
    let manifest = files.last_mut().unwrap();
    let mut text: Value = serde_json::from_slice(&manifest.1).unwrap();
    text[0]["RepoTags"] = many(json!("a"));
    manifest.1 = text.to_string().into();
    refused(&files, told);
    // Short lists, many images.
    text[0]["RepoTags"] = json!(["a", "b"]);
    let image = text[0].clone();
    files.last_mut().unwrap().1 = Value::Array(vec![image; 6000]).to_string().into();
    refused(&files, "more than 16384 images and names");
}

#[test]
fn manifests_of_very_many_layers_are_refused_and_of_many_are_loaded() {
    let layer = |n: usize| Archive::new().file(&format!("d/f{n}"), n.to_string().as_bytes()).bytes();
    let of = |count| (0..count).map(layer).collect::<Vec<_>>();
    let layers = of(1000);
    for files in [layout(&[("a", &layers)], gzip), docker(&[(&["a"], &layers)])] {
        let error = load_folder(&files, Options::default()).unwrap_err();
        assert!(matches!(error, Error::TooManyLayers { found: 1000, limit: 512 }), "{error}");
    }
    let layers = of(128);
    let loaded = load_folder(&layout(&[("a", &layers)], gzip), Options::default());
    assert_eq!(loaded.unwrap().len(), 1);
}

#[test]
fn one_large_config_is_not_held_for_each_manifest_that_names_it() {
    let mut files = Files::new();
    let layer = base();
    let mut config: Value =
        serde_json::from_slice(&super::tests::config(std::slice::from_ref(&layer), &host())).unwrap();
    config["padding"] = json!("x".repeat(4_000_000));
    let config = add_blob(&mut files, config.to_string().into(), "application/vnd.oci.image.config.v1+json");
    let layer = add_blob(&mut files, gzip(&layer), "application/vnd.oci.image.layer.v1.tar+gzip");
    let manifests: Vec<_> = (0..17)
        .map(|n| {
            let text = json!({"schemaVersion": 2, "config": config, "layers": [layer], "n": n}).to_string();
            add_blob(&mut files, text.into(), "application/vnd.oci.image.manifest.v1+json")
        })
        .collect();
    files.push(("index.json".to_owned(), json!({"manifests": manifests}).to_string().into()));
    refused(&files, "documents take more than 64 MiB");
}

#[test]
fn names_in_manifests_never_lead_out_of_an_archive() {
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("config.json"), super::tests::config(&[base()], &host())).unwrap();
    fs::write(secret.path().join("layer.tar"), base()).unwrap();
    let outside = secret.path().join("config.json");
    let climbing = format!("../../../../../../../..{}", outside.display());
    for name in [outside.to_str().unwrap(), &climbing, "..", ".", "/", "", "a\0b", "\u{1b}[2J", "folder"] {
        let manifest = |config: &str, layer: &str| {
            let manifest = json!([{"Config": config, "RepoTags": ["a"], "Layers": [layer]}]);
            vec![
                ("config.json".to_owned(), super::tests::config(&[base()], &host())),
                ("folder/file".to_owned(), base()),
                ("manifest.json".to_owned(), manifest.to_string().into()),
            ]
        };
        for files in [manifest(name, "folder/file"), manifest("config.json", name)] {
            each_way(&files, |way, outcome, store, _| {
                let error = outcome.err().unwrap_or_else(|| panic!("{way}: {name:?} was loaded"));
                assert!(!chain(&error).is_empty());
                assert!(catalog::list(store).unwrap().is_empty());
            });
        }
    }
}

#[test]
fn links_in_a_folder_that_lead_out_of_it_are_not_followed() {
    let secret = tempfile::tempdir().unwrap();
    let files = docker(&[(&["a"], &[base()])]);
    unpack(&files, secret.path());
    let config = files.iter().map(|(name, _)| name).find(|name| name.len() > 64 && name.ends_with(".json"));
    let config = config.unwrap().as_str();
    let replaced = |name: &str, with: &dyn Fn(&Path)| {
        let scratch = tempfile::tempdir().unwrap();
        unpack(&files, scratch.path());
        let path = scratch.path().join(name);
        fs::remove_file(&path).unwrap();
        with(&path);
        let (_root, store) = store();
        load(&store, Input::Path(scratch.path()), Options::default()).map(|loaded| loaded.len())
    };
    for name in ["manifest.json", config] {
        // All three hold what would make the load succeed.
        let target = secret.path().join(name);
        assert!(replaced(name, &|path| symlink(&target, path).unwrap()).is_err(), "{name}");
        let climbing = Path::new("../../../../../../..").join(target.strip_prefix("/").unwrap());
        assert!(replaced(name, &|path| symlink(&climbing, path).unwrap()).is_err(), "{name}");
        let magic = Path::new("/proc/self/root").join(target.strip_prefix("/").unwrap());
        assert!(replaced(name, &|path| symlink(&magic, path).unwrap()).is_err(), "{name}");
        // Neither a fifo nor a folder is waited for.
        assert!(replaced(name, &|path| mkfifo(path, Mode::S_IRWXU).unwrap()).is_err(), "{name}");
        assert!(replaced(name, &|path| fs::create_dir(path).unwrap()).is_err(), "{name}");
        assert!(replaced(name, &|path| symlink(name, path).unwrap()).is_err(), "{name}");
    }
    // A link that stays inside is an archive's own affair.
    let copied = |path: &Path| {
        fs::write(path.with_extension("copy"), &files.last().unwrap().1).unwrap();
        symlink("manifest.copy", path).unwrap();
    };
    assert_eq!(replaced("manifest.json", &copied).unwrap(), 1);
}

#[test]
fn links_in_an_archive_that_go_round_are_no_files() {
    let (root, store) = store();
    let manifest = json!([{"Config": "a", "RepoTags": ["x"], "Layers": []}]).to_string();
    let archive = Archive::new()
        .symlink("a", "b")
        .symlink("b", "a")
        .link("c", "c")
        .file("manifest.json", manifest.as_bytes())
        .bytes();
    let path = root.path().join("a.tar");
    fs::write(&path, &archive).unwrap();
    assert!(matches!(load(&store, Input::Path(&path), Options::default()), Err(Error::Missing(_))));
    assert!(matches!(load_bytes(&store, &archive), Err(Error::Missing(_))));
}

#[test]
fn ceilings_hold_in_every_way_in() {
    let many =
        (0..100).fold(Archive::new(), |archive, n| archive.file(&format!("d/f{n}"), &[1; 5000])).bytes();
    let files = layout(&[("a", std::slice::from_ref(&many))], gzip);
    let entries = Options { max_entries: 100, ..Options::default() };
    let bytes = Options { max_unpacked: 300_000, ..Options::default() };
    for (options, why) in [(entries, "more than 100 entries"), (bytes, "more than")] {
        let told = chain(&load_folder(&files, options).unwrap_err());
        assert!(told.contains(why), "{told}");
        let (_root, store) = store();
        let import_of = |options| Import { options, ..Import::default() };
        let told = chain(&import(&store, &many[..], import_of(options)).unwrap_err());
        assert!(told.contains(why), "{told}");
        let archive = pack(&files);
        let told = chain(&load(&store, Input::Stream(&mut &archive[..]), options).unwrap_err());
        assert!(told.contains(why), "{told}");
    }
    assert!(load_folder(&files, Options { max_entries: 101, ..Options::default() }).is_ok());
}

#[test]
fn names_of_images_are_names_or_refused() {
    for name in ["../../etc", "a:../x", "a b", "\u{1b}[2J", "A", "a//b", "a:", "/a", &"a".repeat(300)] {
        refused(&docker(&[(&[name], &[base()])]), "not a valid image name");
        // What OCI calls a name may be any text, and then is none.
        each_way(&layout(&[(name, &[base()])], gzip), |way, outcome, _, _| {
            let loaded = outcome.expect(way);
            assert!(loaded[0].names.is_empty(), "{way}: {name}");
        });
    }
}
