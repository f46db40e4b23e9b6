use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A helper that is this shell script.
fn script(folder: &tempfile::TempDir, text: &str) -> Helper {
    let path = folder.path().join("docker-credential-test");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Helper { program: path.to_str().unwrap().into(), patience: Duration::from_secs(20) }
}

fn answer(text: &str) -> Result<Option<Credentials>> {
    let folder = tempfile::tempdir().unwrap();
    script(&folder, text).get("https://index.docker.io/v1/")
}

#[test]
fn a_login_is_read_and_its_key_goes_to_stdin() {
    let found = answer(
        r#"[ "$1" = get ] && [ "$(cat)" = https://index.docker.io/v1/ ] && echo '{"ServerURL":"x","Username":"jim","Secret":"geheim"}'"#,
    );
    let login = Credentials::Password { user: "jim".into(), password: Secret::new("geheim") };
    assert_eq!(found.unwrap(), Some(login));
    let token = Credentials::Identity { user: String::new(), token: Secret::new("t") };
    assert_eq!(answer(r#"echo '{"Username":"<token>","Secret":"t"}'"#).unwrap(), Some(token));
}

#[test]
fn a_helper_without_the_login_is_no_error() {
    assert_eq!(answer(&format!("echo '{NOT_FOUND}'; exit 1")).unwrap(), None);
    assert_eq!(answer("echo '{}'").unwrap(), None);
}

#[test]
fn what_a_helper_does_wrong_is_told_by_its_name() {
    for (text, problem) in [
        ("printf 'locked\\033[2J\\n'; exit 1", r"get failed (exit status: 1): locked\u{1b}[2J"),
        ("echo nonsense", "get gave no login"),
        ("exec head -c 2000000 /dev/zero", "get answered with more than 1 MiB"),
        ("kill -9 $$", "get failed (signal: 9 (SIGKILL)): "),
    ] {
        let error = answer(text).unwrap_err().to_string();
        assert!(error.ends_with(problem) && error.contains("docker-credential-test"), "{error}");
    }
    let missing = Helper::named("hull-has-no-such-helper").unwrap().get("x").unwrap_err();
    assert!(missing.to_string().contains("docker-credential-hull-has-no-such-helper"), "{missing}");
}

#[test]
fn a_helper_that_hangs_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["exec sleep 100", "exec >&-; exec sleep 100"] {
        let helper = Helper { patience: Duration::from_millis(50), ..script(&folder, text) };
        let error = helper.get("x").unwrap_err().to_string();
        assert!(error.ends_with("get did not come to an end in time"), "{error}");
    }
}

#[test]
fn a_login_is_stored_on_stdin_and_never_in_the_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let helper = script(&folder, &format!(r#"echo "$*" > {0}; cat >> {0}"#, seen.display()));
    let login = Credentials::Password { user: "jim".into(), password: Secret::new("ge\"heim") };
    helper.store("x.example", &login).unwrap();
    let text = fs::read_to_string(&seen).unwrap();
    assert_eq!(text, "store\n{\"ServerURL\":\"x.example\",\"Username\":\"jim\",\"Secret\":\"ge\\\"heim\"}");
    helper.erase("x.example").unwrap();
    assert_eq!(fs::read_to_string(&seen).unwrap(), "erase\nx.example");
    // One that reads nothing is fine.
    script(&folder, "exit 0").store("x.example", &login).unwrap();
}

#[test]
fn all_keys_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let listed = |text| script(&folder, text).list().unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(listed(r#"echo '{"x.example":"jim"}'"#), ["x.example"]);
    for nothing in ["echo null", "echo {}", "true"] {
        assert!(listed(nothing).is_empty());
    }
}

#[test]
fn names_that_are_paths_are_no_helpers() {
    assert!(Helper::named("").is_none() && Helper::named("../x").is_none());
    assert!(Helper::named("pass").is_some());
}
