//! docker-registry behind TLS, and found by mirrors and proxies.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use hull_tests::{Registry, Store};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority with a certificate for 127.0.0.1 and one for a client, in files.
struct Authority {
    folder: PathBuf,
}

impl Authority {
    fn new(store: &Store, name: &str) -> Authority {
        let folder = store.scratch.join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        for (file, name) in [("server", "127.0.0.1"), ("client", "client")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
            fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
        }
        Authority { folder }
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// A registry with the server's certificate, and more in its section `tls`.
    fn registry(&self, more: &str) -> Registry {
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        let tls = format!("  tls:\n    certificate: {certificate}\n    key: {key}\n{more}");
        Registry::at("127.0.0.1:0", &tls, "")
    }
}

/// A config file with these lines for one registry.
fn config(store: &Store, registry: &Registry, lines: &str) -> String {
    let path = store.scratch.join(hull_tests::unique("config"));
    fs::write(&path, format!("[registries.\"{}\"]\n{lines}\n", registry.address)).unwrap();
    path.display().to_string()
}

#[test]
fn an_own_authority_is_trusted_where_the_config_names_it() {
    let store = Store::with_busybox();
    let (ours, other) = (Authority::new(&store, "ours"), Authority::new(&store, "other"));
    let registry = ours.registry("");
    let name = registry.name("some/app:1");
    store.hull(["tag", "busybox", &name]).output().exits(0);
    let trusting = config(&store, &registry, &format!("ca = \"{}\"", ours.path("ca.pem")));
    store.hull(["--config-file", &trusting, "push", "-q", &name]).output().exits(0);
    let fresh = Store::new();
    let wrong = config(&store, &registry, &format!("ca = \"{}\"", other.path("ca.pem")));
    let said = fresh.hull(["--config-file", &wrong, "pull", &name]).output().fails(1);
    assert!(said.contains("is not trusted") && said.contains("`ca`"), "{said}");
    fresh.hull(["--config-file", &trusting, "pull", "-q", &name]).output().exits(0);
    // On this machine nothing needs to be set, as for docker.
    Store::new().hull(["pull", "-q", &name]).output().exits(0);
}

#[test]
fn a_client_certificate_is_shown() {
    let store = Store::with_busybox();
    let authority = Authority::new(&store, "authority");
    let registry = authority.registry(&format!("    clientcas: [{}]\n", authority.path("ca.pem")));
    let name = registry.name("app");
    store.hull(["tag", "busybox", &name]).output().exits(0);
    let ca = format!("ca = \"{}\"", authority.path("ca.pem"));
    let client = format!(
        "{ca}\ncertificate = \"{}\"\nkey = \"{}\"",
        authority.path("client.pem"),
        authority.path("client.key")
    );
    let without = config(&store, &registry, &ca);
    store.hull(["--config-file", &without, "push", &name]).output().fails(1);
    let with = config(&store, &registry, &client);
    store.hull(["--config-file", &with, "push", "-q", &name]).output().exits(0);
    Store::new().hull(["--config-file", &with, "pull", "-q", &name]).output().exits(0);
}

#[test]
fn docker_io_is_asked_for_at_the_mirrors_first() {
    let (empty, mirror, store) = (Registry::start(), Registry::start(), Store::new());
    mirror.add_busybox("library/mirrored:latest");
    let urls = [&empty, &mirror].map(|registry| format!("http://{}", registry.address));
    let options = ["--registry-mirror", &urls[0], "--registry-mirror", &urls[1]];
    let told = store.hull(options).args(["pull", "mirrored"]).output().text();
    assert!(told.trim().ends_with("docker.io/library/mirrored:latest"), "{told}");
    let asked = mirror.requests();
    assert!(asked.iter().any(|request| request == "GET /v2/library/mirrored/manifests/latest"), "{asked:?}");
    assert!(!empty.requests().is_empty());
    let list = store.hull(["images", "--format", "{{.Repository}}"]).output().text();
    assert_eq!(list.trim(), "mirrored");
}

/// Tells what the first client asked, and connects it to the registry.
fn proxy_to(registry: &Registry) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, target) = (format!("http://{}", listener.local_addr().unwrap()), registry.address.clone());
    let thread = std::thread::spawn(move || {
        let mut asked = String::new();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let first = asked.len();
            reader.read_line(&mut asked).unwrap();
            if asked.ends_with("stop\n") {
                asked.truncate(first);
                return asked;
            }
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let mut server = TcpStream::connect(&target).unwrap();
            let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_server, &mut to_client);
                let _ = to_client.shutdown(std::net::Shutdown::Both);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut reader, &mut server);
                let _ = server.shutdown(std::net::Shutdown::Write);
            });
        }
        asked
    });
    (url, thread)
}

#[test]
fn the_environments_proxy_is_asked_and_no_proxy_is_not() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("app:1");
    let (url, thread) = proxy_to(&registry);
    let file = store.scratch.join("config.toml");
    fs::write(&file, "[registries.\"registry.example:5000\"]\ninsecure = true\n").unwrap();
    let pull = |no_proxy| {
        let arguments =
            ["--config-file", file.to_str().unwrap(), "pull", "-q", "registry.example:5000/app:1"];
        let hull = store.hull(arguments).env("HTTPS_PROXY", &url).env("http_proxy", &url);
        hull.env("NO_PROXY", no_proxy).output()
    };
    pull("other.example").exits(0);
    let said = pull(".other,registry.example").fails(1);
    assert!(said.contains("registry.example"), "{said}");
    TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap().write_all(b"stop\n").unwrap();
    let asked = thread.join().unwrap();
    assert!(!asked.is_empty());
    assert!(asked.lines().all(|line| line == "CONNECT registry.example:5000 HTTP/1.1"), "{asked}");
}
