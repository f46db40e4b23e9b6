//! `login`, `logout`, `search`, and pulls with what they keep: docker-registry with passwords, and with a
//! token server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hull_tests::token_server::{PASSWORD, TokenServer, USER};
use hull_tests::{Hull, Registry, Store, Terminal, unique};
use serde_json::Value;

/// [`USER`] and [`PASSWORD`], as htpasswd(1) writes them with -B.
const HTPASSWD: &str = "jim:$2y$04$/A6FY86E.kGf3TbJhUaVIOq/qxNoiPPLzINiUEdBpCAkdMCPBh/uu";

/// A store, and a folder of docker's config.json.
struct Home {
    store: Store,
    docker: PathBuf,
}

impl Home {
    fn new() -> Home {
        let store = Store::new();
        let docker = store.scratch.join("docker");
        Home { store, docker }
    }

    fn hull<const N: usize>(&self, args: [&str; N]) -> Hull {
        self.store.hull(args).env("DOCKER_CONFIG", &self.docker)
    }

    fn login(&self, registry: &Registry, password: &str) -> hull_tests::Output {
        let words = ["login", "-u", USER, "--password-stdin", &registry.address];
        self.hull(words).stdin(format!("{password}\n")).output()
    }

    fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.docker.join("config.json")).unwrap()).unwrap()
    }

    /// A credential helper that keeps logins in a folder, and notes how it is called.
    fn helper(&self) -> PathBuf {
        let bin = self.store.scratch.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&self.docker).unwrap();
        fs::write(self.docker.join("config.json"), "{\"credsStore\": \"test\", \"other\": 1}").unwrap();
        let program = bin.join("docker-credential-test");
        let script = format!(
            r#"#!/bin/sh
kept={}/kept
echo "$*" >> $kept.calls
case $1 in
  store) cat > $kept ;;
  get) cat > $kept.key; if [ -e $kept ]; then cat $kept; else echo "credentials not found in native keychain"; exit 1; fi ;;
  erase) cat > $kept.erased; rm $kept ;;
  list) if [ -e $kept ]; then sed 's/.*"ServerURL":"\([^"]*\)","Username":"\([^"]*\)".*/{{"\1":"\2"}}/' $kept; else echo {{}}; fi ;;
esac
"#,
            self.store.scratch.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        bin
    }
}

/// docker-registry with one user, and an image in it.
fn with_passwords(home: &Home) -> Registry {
    let file = home.store.scratch.join(unique("htpasswd"));
    fs::write(&file, HTPASSWD).unwrap();
    let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}", file.display());
    let registry = Registry::with(&auth);
    add(&registry, "app:latest");
    registry
}

fn add(registry: &Registry, name: &str) {
    let credentials = format!("{USER}:{PASSWORD}");
    let source = hull_tests::registry::archive("docker-archive:", "busybox.tar");
    registry.copy(&source, name, &["--dest-creds", &credentials]);
}

#[test]
fn a_login_opens_a_registry_with_passwords_until_the_logout() {
    let home = Home::new();
    let registry = with_passwords(&home);
    let app = registry.name("app");
    let refused = home.hull(["pull", "-q", &app]).output().fails(1);
    assert!(refused.contains(&format!("hull login {}", registry.address)), "{refused}");

    let told = home.login(&registry, PASSWORD).exits(0);
    assert_eq!(told.stdout, b"Login Succeeded\n");
    assert!(told.stderr.contains("stored unencrypted in '"), "{}", told.stderr);
    let file = home.docker.join("config.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains(PASSWORD));
    home.hull(["pull", "-q", &app]).output().exits(0);
    // What is stored is tried again.
    let again = home.hull(["login", &registry.address]).output().exits(0);
    assert!(again.stderr.starts_with("Authenticating with existing credentials... [Username: jim]\n"));
    assert_eq!(again.stdout, b"Login Succeeded\n");

    let out = || home.hull(["logout", &registry.address]).output().text();
    assert_eq!(out(), format!("Removing login credentials for {}", registry.address));
    assert_eq!(out(), format!("Not logged in to {}", registry.address));
    home.hull(["rmi", &app]).output().exits(0);
    home.hull(["pull", "-q", &app]).output().fails(1);
    // An empty variable is none, as for docker.
    let empty =
        home.store.hull(["logout", &registry.address]).env("DOCKER_CONFIG", "").env("HOME", &home.docker);
    assert_eq!(empty.output().text(), format!("Not logged in to {}", registry.address));
}

#[test]
fn a_wrong_password_is_refused_not_kept_and_not_shown() {
    let home = Home::new();
    let registry = with_passwords(&home);
    let error = home.login(&registry, "falsch").fails(1);
    let words = format!(
        "hull: Failed to log in to {}: unauthorized: incorrect username or password",
        registry.address
    );
    assert_eq!(error, words);
    assert!(!home.docker.join("config.json").exists());
    // One that was good once.
    home.login(&registry, PASSWORD).exits(0);
    let config = home.docker.join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    let auth = home.config()["auths"][&registry.address]["auth"].as_str().unwrap().to_owned();
    fs::write(&config, text.replace(&auth, "amltOmZhbHNjaA==")).unwrap();
    let error = home.hull(["pull", "-q", &registry.name("app")]).output().fails(1);
    assert!(error.contains("unauthorized") && !error.contains("falsch"), "{error}");
    let again = home.hull(["login", &registry.address]).output().exits(1);
    assert!(again.stderr.contains("Stored credentials invalid or expired\n"), "{}", again.stderr);
}

#[test]
fn a_credential_helper_keeps_the_login_in_the_files_place() {
    let home = Home::new();
    let registry = with_passwords(&home);
    let bin = home.helper();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let hull = |args: [&str; 2]| home.hull(args).env("PATH", &path);
    let words = ["login", "-u", USER, "--password-stdin", &registry.address];
    let told = home.hull(words).env("PATH", &path).stdin(PASSWORD).output().exits(0);
    assert_eq!(told.stderr, "");
    let expected =
        format!("{{\"credsStore\":\"test\",\"other\":1,\"auths\":{{\"{}\":{{}}}}}}", registry.address);
    assert_eq!(home.config(), serde_json::from_str::<Value>(&expected).unwrap());
    hull(["pull", &registry.name("app")]).output().exits(0);
    let read = |name: &str| fs::read_to_string(home.store.scratch.join(name)).unwrap();
    assert_eq!(read("kept.key"), registry.address);
    assert_eq!(
        hull(["logout", &registry.address]).output().text(),
        format!("Removing login credentials for {}", registry.address)
    );
    assert_eq!(read("kept.erased"), registry.address);
    assert_eq!(read("kept.calls"), "store\nget\nlist\nerase\n");
    assert_eq!(
        hull(["logout", &registry.address]).output().text(),
        format!("Not logged in to {}", registry.address)
    );
    // Without it nothing is guessed.
    let error = home.hull(["pull", "-q", &registry.name("other")]).output().fails(1);
    assert!(error.contains("docker-credential-test"), "{error}");
}

#[test]
fn a_terminal_is_asked_and_does_not_show_the_password() {
    let home = Home::new();
    let registry = with_passwords(&home);
    let mut terminal = Terminal::start(home.hull(["login", &registry.address]), 80, 24);
    terminal.expect("Username: ");
    terminal.send("jim\n");
    terminal.expect("Password: ");
    assert!(!terminal.echoes());
    terminal.send(&format!("{PASSWORD}\n"));
    terminal.expect("Login Succeeded");
    assert_eq!(terminal.finish(), 0);
    assert!(terminal.echoes() && !terminal.shows().contains(PASSWORD));

    let mut interrupted = Terminal::start(home.hull(["login", "-u", "jim", &registry.address]), 80, 24);
    interrupted.expect("Password: ");
    interrupted.send("\x03");
    assert_eq!(interrupted.finish(), 130);
    assert!(interrupted.echoes());
}

#[test]
fn what_skopeo_keeps_and_what_hull_keeps_is_the_same() {
    let home = Home::new();
    let registry = with_passwords(&home);
    let file = home.docker.join("config.json");
    let skopeo = |args: &[&str]| {
        let mut command = std::process::Command::new("skopeo");
        let output = command.args(args).arg("--authfile").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    home.login(&registry, PASSWORD).exits(0);
    skopeo(&["inspect", "--tls-verify=false", &format!("docker://{}", registry.name("app"))]);
    home.hull(["logout", &registry.address]).output().exits(0);
    skopeo(&["login", "--tls-verify=false", "-u", USER, "-p", PASSWORD, &registry.address]);
    home.hull(["pull", "-q", &registry.name("app")]).output().exits(0);
}

#[test]
fn tokens_are_asked_for_what_is_pulled() {
    let (home, server) = (Home::new(), TokenServer::start(false));
    let registry = server.registry();
    add(&registry, "public/app:latest");
    add(&registry, "private:latest");
    server.asked();
    home.hull(["pull", "-q", &registry.name("public/app")]).output().exits(0);
    let asked = server.asked();
    let [anonymous] = asked.as_slice() else { panic!("one token is enough: {asked:?}") };
    assert_eq!(anonymous.path, "/token?service=registry&scope=repository%3Apublic%2Fapp%3Apull");
    let error = home.hull(["pull", "-q", &registry.name("private")]).output().fails(1);
    assert!(error.contains(&format!("hull login {}", registry.address)), "{error}");

    let error = home.login(&registry, "falsch").fails(1);
    assert!(error.ends_with("unauthorized: incorrect username or password"), "{error}");
    home.login(&registry, PASSWORD).exits(0);
    assert!(home.config()["auths"][&registry.address]["auth"].is_string());
    server.asked();
    home.hull(["pull", "-q", &registry.name("private")]).output().exits(0);
    let asked = server.asked();
    assert!(asked.len() == 1 && asked[0].path.contains("&account=jim"), "{asked:?}");
}

#[test]
fn an_identity_token_takes_the_passwords_place() {
    let (home, server) = (Home::new(), TokenServer::start(true));
    let registry = server.registry();
    add(&registry, "private:latest");
    let told = home.login(&registry, PASSWORD).exits(0);
    // No password, no warning.
    assert_eq!(told.stderr, "");
    let entry = home.config()["auths"][&registry.address].clone();
    assert_eq!(entry["identitytoken"], "identity-token");
    // `jim:` and nothing behind it.
    assert_eq!(entry["auth"], "amltOg==");
    server.asked();
    home.hull(["pull", "-q", &registry.name("private")]).output().exits(0);
    let asked = server.asked();
    assert!(asked.len() == 1 && asked[0].method == "POST", "{asked:?}");
    let form = "grant_type=refresh_token&refresh_token=identity-token&client_id=docker&service=registry&scope=repository%3Aprivate%3Apull";
    assert_eq!(asked[0].body, form);
}

#[test]
fn a_push_asks_for_what_it_writes_and_for_what_it_mounts() {
    let (home, server) = (Home::new(), TokenServer::start(false));
    let registry = server.registry();
    add(&registry, "private:latest");
    home.login(&registry, PASSWORD).exits(0);
    let (old, new) = (registry.name("private"), registry.name("new"));
    home.hull(["pull", "-q", &old]).output().exits(0);
    home.hull(["tag", &old, &new]).output().exits(0);
    server.asked();
    home.hull(["push", &new]).output().exits(0);
    let asked = server.asked();
    let scopes = |scope: &str| asked.iter().filter(|asked| asked.path.contains(scope)).count();
    assert!(scopes("scope=repository%3Anew%3Apull%2Cpush") == asked.len() && asked.len() <= 2, "{asked:?}");
    assert_eq!(scopes("scope=repository%3Aprivate%3Apull"), 1, "{asked:?}");
    home.hull(["rmi", &new, &old]).output().exits(0);
    home.hull(["pull", "-q", &new]).output().exits(0);

    // Nobody may write below `public` without a login.
    home.hull(["logout", &registry.address]).output().exits(0);
    let public = registry.name("public/new");
    home.hull(["tag", &new, &public]).output().exits(0);
    let error = home.hull(["push", "-q", &public]).output().fails(1);
    assert!(error.contains("hull login"), "{error}");
}

#[test]
fn a_search_lists_what_the_catalog_has() {
    let home = Home::new();
    let registry = with_passwords(&home);
    add(&registry, "some/apple:latest");
    add(&registry, "pear:latest");
    let search = |term: &str, more: &[&str]| {
        let term = registry.name(term);
        home.store.hull([&["search", term.as_str()], more].concat()).env("DOCKER_CONFIG", &home.docker)
    };
    let refused = search("app", &[]).output().fails(1);
    assert!(refused.contains("hull login"), "{refused}");
    home.login(&registry, PASSWORD).exits(0);
    let (app, apple) = (registry.name("app"), registry.name("some/apple"));
    assert_eq!(search("app", &[]).output().text(), format!("NAME\n{app}\n{apple}"));
    assert_eq!(search("app", &["--limit", "1", "--format", "{{.Name}}"]).output().text(), app);
    let json = search("apple", &["--format", "json"]).output().text();
    assert_eq!(json, format!(r#"{{"Description":"","IsOfficial":"","Name":"{apple}","StarCount":""}}"#));
    assert_eq!(search("nothing", &[]).output().text(), "NAME");
    let error = search("app", &["-f", "stars=3"]).output().fails(1);
    assert!(error.contains("nothing to filter by"), "{error}");
    search("app", &["--limit", "101"]).output().fails(1);
    search("app", &["-f", "color=red"]).output().fails(1);
}
