use std::io::Read;

use super::fixture::{MANIFEST, World, descriptor};
use crate::image::Digest;
use crate::registry::test_server::{Reply, TestServer, ok, reply};
use crate::registry::{Access, Error};

fn mirrored(world: &mut World, registry: &TestServer, mirrors: &[&TestServer]) {
    let config = world.settings.registries.entry(registry.name()).or_default();
    config.mirrors = mirrors.iter().map(|mirror| format!("http://{}", mirror.name())).collect();
}

#[test]
fn the_first_mirror_that_has_it_answers() {
    let registry = TestServer::new(|_| ok(b"registry"));
    let empty = TestServer::new(|_| reply("404 Not Found", "", b""));
    let closed = TestServer::new(|_| reply("401 Unauthorized", "", b""));
    let ill = TestServer::new(|_| reply("503 Service Unavailable", "", b""));
    let good = TestServer::new(|_| ok(MANIFEST));
    let mut world = World::new();
    mirrored(&mut world, &registry, &[&empty, &closed, &ill, &good]);
    assert_eq!(world.open(&registry.name()).manifest("latest").unwrap().bytes, MANIFEST);
    assert!(registry.seen().is_empty());
    assert!(world.slept.lock().unwrap().is_empty(), "a mirror has one try");
}

#[test]
fn a_mirror_that_is_gone_is_asked_once() {
    let registry = TestServer::new(|_| ok(MANIFEST));
    let broken = TestServer::new(|_| Reply::Bytes(Vec::new()));
    let mut world = World::new();
    mirrored(&mut world, &registry, &[&broken]);
    let repository = world.open(&registry.name());
    for _ in 0..3 {
        repository.manifest("latest").unwrap();
    }
    assert_eq!((broken.seen().len(), registry.seen().len()), (1, 3));
}

#[test]
fn a_lying_mirror_is_passed_over() {
    let registry = TestServer::new(|_| ok(MANIFEST));
    let liar = TestServer::new(|_| ok(b"{}"));
    let mut world = World::new();
    mirrored(&mut world, &registry, &[&liar]);
    let document = world.open(&registry.name()).manifest(&Digest::of(MANIFEST).to_string()).unwrap();
    assert_eq!(document.bytes, MANIFEST);
}

#[test]
fn a_blob_is_taken_up_at_the_registry_where_the_mirror_broke() {
    let registry =
        TestServer::new(|_| reply("206 Partial Content", "Content-Range: bytes 4-7/8\r\n", b"4567"));
    let mirror =
        TestServer::new(|_| Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n0123".to_vec()));
    let mut world = World::new();
    mirrored(&mut world, &registry, &[&mirror]);
    let mut bytes = Vec::new();
    world.open(&registry.name()).blob(&descriptor(b"01234567")).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"01234567");
    assert_eq!(registry.seen()[0].header("range"), Some("bytes=4-"));
}

#[test]
fn mirrors_are_not_pushed_to() {
    let registry = TestServer::new(|_| reply("201 Created", "", b""));
    let mirror = TestServer::new(|_| reply("201 Created", "", b""));
    let mut world = World::new();
    mirrored(&mut world, &registry, &[&mirror]);
    world.open_to_push(&registry.name()).put_manifest("latest", "a/b", MANIFEST).unwrap();
    assert!(mirror.seen().is_empty());
}

#[test]
fn the_registry_has_the_last_word() {
    let registry = TestServer::new(|_| reply("404 Not Found", "", b""));
    let mirror = TestServer::new(|_| reply("403 Forbidden", "", b""));
    let mut world = World::new();
    mirrored(&mut world, &registry, &[&mirror]);
    let error = world.open(&registry.name()).manifest("latest").unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
}

#[test]
fn only_docker_io_has_the_command_lines_mirrors() {
    let mut world = World::new();
    world.settings.mirrors = vec!["https://m.example".into()];
    world.settings.registries.entry("r.example".into()).or_default().mirrors =
        vec!["http://n.example/".into()];
    assert_eq!(world.settings.mirrors_of("docker.io").collect::<Vec<_>>(), ["https://m.example"]);
    assert_eq!(world.settings.mirrors_of("r.example").collect::<Vec<_>>(), ["http://n.example/"]);
    assert_eq!(world.settings.mirrors_of("other.example").count(), 0);
}

#[test]
fn a_mirror_that_is_no_url_is_refused() {
    for url in [
        "mirror.example:5000",
        "ftp://m.example",
        "https://m.example/path",
        "https://me@m.example",
        "https://",
    ] {
        let mut world = World::new();
        world.settings.mirrors = vec![url.into()];
        let error = world.try_open("docker.io", Access::Pull).err().unwrap();
        assert!(matches!(error, Error::Url(_)), "{url}");
    }
}
