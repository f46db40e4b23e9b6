//! Redirects and proxies.

use std::io::Read;

use super::fixture::{MANIFEST, World, chain, descriptor};
use crate::registry::proxy::Proxies;
use crate::registry::test_server::{Reply, TestServer, ok, reply};

fn to(location: &str) -> Reply {
    reply("307 Temporary Redirect", &format!("Location: {location}\r\n"), b"gone")
}

fn refusal(location: &'static str) -> String {
    let server = TestServer::new(move |_| to(location));
    let error = World::new().open(&server.name()).manifest("latest").unwrap_err();
    assert_eq!(server.seen().len(), 1, "{location}");
    chain(&error)
}

#[test]
fn a_blob_may_be_elsewhere() {
    let elsewhere = TestServer::new(|_| ok(b"blob"));
    let url = format!("http://{}/store?signature=1", elsewhere.name());
    let server = TestServer::new(move |_| to(&url));
    let mut bytes = Vec::new();
    let mut reader = World::new().open(&server.name()).blob(&descriptor(b"blob")).unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"blob");
    assert_eq!(elsewhere.lines(), ["GET /store?signature=1 HTTP/1.1"]);
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
}

#[test]
fn redirects_on_the_own_host_may_be_relative_but_not_endless() {
    let server = TestServer::new(|seen| if seen.number < 10 { to("../next/x") } else { ok(MANIFEST) });
    World::new().open(&server.name()).manifest("latest").unwrap();
    let server = TestServer::new(|_| to("/v2/again"));
    let error = World::new().open(&server.name()).manifest("latest").unwrap_err();
    assert!(error.to_string().contains("more redirects"), "{error}");
    assert_eq!(server.seen().len(), 11);
}

#[test]
fn only_https_and_http_are_followed() {
    for location in
        ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "http://", "unix:/run/x"]
    {
        let error = refusal(location);
        assert!(error.contains("which is n"), "{location}: {error}");
    }
}

#[test]
fn addresses_that_only_we_can_reach_are_refused() {
    // From loopback the private network may be reached, other places not.
    for location in ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://224.0.0.1/"] {
        let error = refusal(location);
        assert!(error.contains("has no business with"), "{location}: {error}");
    }
}

#[test]
fn what_comes_by_a_proxy_is_checked_as_far_as_can_be() {
    // The proxy plays the public registry and sends us to this machine and to private addresses.
    for location in
        ["http://127.0.0.1:1/x", "http://localhost:1/x", "http://[::ffff:127.0.0.1]:1/", "http://10.0.0.1/"]
    {
        let registry = TestServer::new(move |_| to(location));
        let address = registry.address;
        let proxy = TestServer::new(move |_| Reply::Tunnel(address));
        let mut world = World::new();
        world.settings.registries.entry("registry.example:80".into()).or_default().insecure = true;
        world.around.proxies = via(&proxy, "");
        let error = chain(&world.open("registry.example:80").manifest("latest").unwrap_err());
        assert!(error.contains("has no business with"), "{location}: {error}");
    }
}

/// The test's server as the proxy of everything.
fn via(proxy: &TestServer, except: &str) -> Proxies {
    let variables = move |name: &str| match name {
        "HTTP_PROXY" | "HTTPS_PROXY" => Some(format!("http://me:pass%20word@{}", proxy.name())),
        "NO_PROXY" => Some(except.to_owned()),
        _ => None,
    };
    Proxies::from(variables)
}

#[test]
fn the_proxy_is_asked_for_names_that_are_not_ours_to_find() {
    let registry = TestServer::new(|_| ok(MANIFEST));
    let address = registry.address;
    let proxy = TestServer::new(move |_| Reply::Tunnel(address));
    let mut world = World::new();
    world.settings.registries.entry("registry.example:5000".into()).or_default().insecure = true;
    world.around.proxies = via(&proxy, "");
    world.open("registry.example:5000").manifest("latest").unwrap();
    let asked = proxy.seen();
    assert!(asked.iter().all(|seen| seen.line() == "CONNECT registry.example:5000 HTTP/1.1"));
    assert_eq!(asked[0].header("proxy-authorization"), Some("Basic bWU6cGFzcyB3b3Jk"));
    assert_eq!(registry.lines(), ["GET /v2/some/image/manifests/latest HTTP/1.1"]);
    assert_eq!(registry.seen()[0].header("proxy-authorization"), None);
}

#[test]
fn loopback_and_exceptions_are_asked_without_the_proxy() {
    let registry = TestServer::new(|_| ok(MANIFEST));
    let proxy = TestServer::new(|_| reply("403 Forbidden", "", b""));
    let mut world = World::new();
    world.around.proxies = via(&proxy, "registry.invalid");
    world.open(&registry.name()).manifest("latest").unwrap();
    assert!(proxy.seen().is_empty());
    let error = chain(&world.open("registry.example").manifest("latest").unwrap_err());
    assert!(error.contains("the proxy refused"), "{error}");
}
