use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::*;

fn config(content: Value) -> DockerConfig {
    let Value::Object(content) = content else { unreachable!() };
    DockerConfig { path: "/x/config.json".into(), content }
}

fn password(user: &str, password: &str) -> Credentials {
    Credentials::Password { user: user.into(), password: Secret::new(password) }
}

fn in_folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), text).unwrap();
    folder
}

#[test]
fn logins_are_read_in_all_their_forms() {
    let config = config(json!({"auths": {
        "https://index.docker.io/v1/": {"auth": "amltOmdlaGVpbQ=="},
        "token.example": {"auth": "amltOg==", "identitytoken": "idt"},
        "registry.example": {"registrytoken": "rt"},
        "plain.example": {"username": "a", "password": "b"},
        "https://old.example:5000/v1/": {"auth": "amltOmdlaGVpbQ=="},
        "helper.example": {},
        "broken.example": {"auth": "%"},
    }}));
    let identity = Credentials::Identity { user: "jim".into(), token: Secret::new("idt") };
    for (registry, expected) in [
        ("docker.io", Some(password("jim", "geheim"))),
        ("token.example", Some(identity)),
        ("registry.example", Some(Credentials::Registry(Secret::new("rt")))),
        ("plain.example", Some(password("a", "b"))),
        ("old.example:5000", Some(password("jim", "geheim"))),
        ("old.example", None),
        ("helper.example", None),
        ("none.example", None),
    ] {
        assert_eq!(config.credentials(registry).unwrap(), expected, "{registry}");
    }
    let error = config.credentials("broken.example").unwrap_err().to_string();
    assert!(error.contains("/x/config.json") && error.contains("broken.example"), "{error}");
    assert!(config.has("helper.example") && !config.has("none.example"));
}

#[test]
fn a_registrys_own_helper_comes_before_the_store() {
    let both = config(json!({
        "credsStore": "pass",
        "credHelpers": {"x.example": "own", "https://index.docker.io/v1/": "hub", "empty.example": ""},
    }));
    assert_eq!(both.helper("x.example"), Some("own"));
    assert_eq!(both.helper("docker.io"), Some("hub"));
    assert_eq!(both.helper("y.example"), Some("pass"));
    // Says that there is none, docker's way.
    assert_eq!(both.helper("empty.example"), None);
    assert_eq!(config(json!({})).helper("x.example"), None);
    assert_eq!(config(json!({"credHelpers": {"docker.io": "hub"}})).helper("docker.io"), Some("hub"));
}

#[test]
fn a_change_keeps_what_hull_does_not_know() {
    let text = "{\"HttpHeaders\":{\"B\":\"1\",\"A\":\"2\"},\"auths\":{\"a.example\":{\"auth\":\"YTpi\",\"more\":[1]}},\"zzz\":null}";
    let folder = in_folder(text);
    store(folder.path(), "docker.io", Some(&password("jim", "geheim"))).unwrap();
    let expected = "{\n\t\"HttpHeaders\": {\n\t\t\"B\": \"1\",\n\t\t\"A\": \"2\"\n\t},\n\t\"auths\": {\n\t\t\"a.example\": {\n\t\t\t\"auth\": \"YTpi\",\n\t\t\t\"more\": [\n\t\t\t\t1\n\t\t\t]\n\t\t},\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"amltOmdlaGVpbQ==\"\n\t\t}\n\t},\n\t\"zzz\": null\n}";
    assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), expected);
    erase(folder.path(), "docker.io").unwrap();
    let left: Value = serde_json::from_slice(&fs::read(folder.path().join(FILE)).unwrap()).unwrap();
    assert_eq!(left, serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn every_login_comes_back_as_it_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("not/yet");
    for login in [
        password("jim", "a:b"),
        Credentials::Identity { user: "jim".into(), token: Secret::new("t") },
        Credentials::Identity { user: String::new(), token: Secret::new("t") },
        Credentials::Registry(Secret::new("r")),
    ] {
        store(&place, "x.example", Some(&login)).unwrap();
        assert_eq!(DockerConfig::load(&place).unwrap().credentials("x.example").unwrap(), Some(login));
    }
    store(&place, "x.example", None).unwrap();
    let config = DockerConfig::load(&place).unwrap();
    assert!(config.has("x.example") && config.credentials("x.example").unwrap().is_none());
}

#[test]
fn the_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("docker");
    store(&place, "x.example", Some(&password("a", "b"))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&place.join(FILE))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
}

#[test]
fn a_link_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (place, real) = (folder.path().join("docker"), folder.path().join("real.json"));
    fs::create_dir(&place).unwrap();
    symlink("../real.json", place.join(FILE)).unwrap();
    // Dangling at first.
    for registry in ["a.example", "b.example"] {
        store(&place, registry, Some(&password("a", "b"))).unwrap();
        assert!(fs::symlink_metadata(place.join(FILE)).unwrap().is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains(registry));
    }
    fs::remove_file(&real).unwrap();
    symlink("docker/config.json", &real).unwrap();
    assert!(store(&place, "c.example", None).unwrap_err().to_string().contains("config.json"));
}

#[test]
fn a_file_that_is_no_config_is_an_error_that_names_it_and_is_left_alone() {
    for text in ["[]", "{", "{} x", "\"auths\""] {
        let folder = in_folder(text);
        let error = store(folder.path(), "x.example", Some(&password("a", "b"))).unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
    }
    let folder = in_folder("{\"auths\": 5}");
    assert!(
        store(folder.path(), "x.example", None).unwrap_err().to_string().contains("\"auths\" is no object")
    );
    assert!(DockerConfig::load(in_folder(" \n").path()).unwrap().content.is_empty());
}

#[test]
fn logins_of_several_processes_do_not_get_lost() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let folder = folder.path();
            scope.spawn(move || {
                store(folder, &format!("x{number}.example"), Some(&password("a", "b"))).unwrap();
            });
        }
    });
    let config = DockerConfig::load(folder.path()).unwrap();
    assert!((0..8).all(|number| config.has(&format!("x{number}.example"))));
}
