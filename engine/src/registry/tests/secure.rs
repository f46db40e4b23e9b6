//! TLS, with an authority made for the test.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::fixture::{MANIFEST, World, chain};
use crate::registry::Access;
use crate::registry::settings::RegistryConfig;
use crate::registry::test_server::{TestServer, ok, reply};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn ca(&self) -> PathBuf {
        self.file("ca.pem", &self.issuer.pem())
    }

    /// Certificate and key, as PEM.
    fn issue(&self, name: &str) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key)
    }

    fn server(&self, asks_clients: bool) -> ServerConfig {
        let (certificate, key) = self.issue("127.0.0.1");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if asks_clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        use rustls::pki_types::pem::PemObject as _;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder.with_single_cert(vec![certificate], key).unwrap()
    }
}

fn world(registry: &TestServer, config: RegistryConfig) -> World {
    let mut world = World::new();
    world.settings.registries.insert(registry.name(), config);
    world
}

#[test]
fn an_own_authority_is_trusted_where_it_is_set() {
    let (ours, other) = (Authority::new(), Authority::new());
    let server = TestServer::with_tls(ours.server(false), |_| ok(MANIFEST));
    let trusting = RegistryConfig { ca: Some(ours.ca()), ..RegistryConfig::default() };
    world(&server, trusting).open(&server.name()).manifest("latest").unwrap();
    let wrong = RegistryConfig { ca: Some(other.ca()), ..RegistryConfig::default() };
    let error = chain(&world(&server, wrong).open(&server.name()).manifest("latest").unwrap_err());
    assert!(error.contains("is not trusted") && error.contains("`ca`"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn certificates_of_registries_on_this_machine_and_of_insecure_ones_are_not_checked() {
    let server = TestServer::with_tls(Authority::new().server(false), |_| ok(MANIFEST));
    World::new().open(&server.name()).manifest("latest").unwrap();
    let insecure = RegistryConfig { insecure: true, ..RegistryConfig::default() };
    let world = world(&server, insecure);
    let repository = world.open(&server.name());
    repository.manifest("latest").unwrap();
    repository.manifest("latest").unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_client_certificate_is_shown_to_who_asks() {
    let authority = Authority::new();
    let server = TestServer::with_tls(authority.server(true), |_| ok(MANIFEST));
    let (certificate, key) = authority.issue("client");
    let config = RegistryConfig {
        ca: Some(authority.ca()),
        certificate: Some(authority.file("client.pem", &certificate)),
        key: Some(authority.file("client.key", &key.serialize_pem())),
        ..RegistryConfig::default()
    };
    world(&server, config).open(&server.name()).manifest("latest").unwrap();
    let without = RegistryConfig { ca: Some(authority.ca()), ..RegistryConfig::default() };
    assert!(world(&server, without).open(&server.name()).manifest("latest").is_err());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn https_does_not_lead_to_http() {
    let authority = Authority::new();
    let plain = TestServer::new(|_| ok(MANIFEST));
    let location = format!("Location: http://{}/x\r\n", plain.name());
    let server = TestServer::with_tls(authority.server(false), move |_| reply("302 Found", &location, b""));
    let error = World::new().open(&server.name()).manifest("latest").unwrap_err();
    assert!(error.to_string().contains("not https any more"), "{error}");
    assert!(plain.seen().is_empty());
}

#[test]
fn what_an_insecure_registry_leads_to_is_checked() {
    let authority = Authority::new();
    let elsewhere = TestServer::with_tls(authority.server(false), |_| ok(MANIFEST));
    let location = format!("Location: https://{}/x\r\n", elsewhere.name());
    let server = TestServer::with_tls(authority.server(false), move |_| reply("302 Found", &location, b""));
    let error = chain(&World::new().open(&server.name()).manifest("latest").unwrap_err());
    assert!(error.contains("is not trusted"), "{error}");
    let config = RegistryConfig { ca: Some(authority.ca()), ..RegistryConfig::default() };
    world(&server, config).open(&server.name()).manifest("latest").unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let (certificate, _) = authority.issue("one");
    let (_, other_key) = authority.issue("two");
    let certificate = authority.file("one.pem", &certificate);
    let other_key = authority.file("two.key", &other_key.serialize_pem());
    let empty = authority.file("empty.pem", "nothing");
    let none = authority.folder.path().join("none.pem");
    let base = RegistryConfig::default;
    for (config, name) in [
        (RegistryConfig { ca: Some(none), ..base() }, "none.pem"),
        (RegistryConfig { ca: Some(empty.clone()), ..base() }, "empty.pem"),
        (RegistryConfig { certificate: Some(certificate.clone()), ..base() }, "one.pem"),
        (RegistryConfig { certificate: Some(certificate.clone()), key: Some(empty), ..base() }, "empty.pem"),
    ] {
        let mut world = World::new();
        world.settings.registries.insert("r.example".into(), config);
        let error = chain(&world.try_open("r.example", Access::Pull).err().unwrap());
        assert!(error.contains(name), "{error}");
    }
    let server = TestServer::with_tls(authority.server(false), |_| ok(MANIFEST));
    let pair = RegistryConfig { certificate: Some(certificate), key: Some(other_key), ..base() };
    let error = chain(&world(&server, pair).open(&server.name()).manifest("latest").unwrap_err());
    assert!(error.contains("two.key") && error.contains("do not work together"), "{error}");
}
