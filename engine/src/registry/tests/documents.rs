use std::time::{Duration, Instant};

use super::fixture::{MANIFEST, World, chain};
use crate::image::Digest;
use crate::registry::Error;
use crate::registry::test_server::{Reply, TestServer, ok, reply};

const TYPE: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json; charset=utf-8\r\n";

#[test]
fn a_document_comes_with_its_type_and_digest() {
    let server = TestServer::new(|_| reply("200 OK", TYPE, MANIFEST));
    let document = World::new().open(&server.name()).manifest("latest").unwrap();
    assert_eq!(document.digest, Digest::of(MANIFEST));
    assert_eq!(document.media_type, "application/vnd.oci.image.manifest.v1+json");
    let seen = server.seen();
    assert_eq!(seen[0].line(), "GET /v2/some/image/manifests/latest HTTP/1.1");
    assert!(seen[0].header("accept").unwrap().contains("manifest.list.v2+json"));
    assert_eq!(seen[0].header("host"), Some(server.name().as_str()));
}

#[test]
fn a_document_by_digest_must_have_it() {
    let server = TestServer::new(|_| ok(MANIFEST));
    let other = Digest::of(b"other").to_string();
    let error = World::new().open(&server.name()).manifest(&other).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
}

#[test]
fn a_tags_digest_is_asked_for_without_the_document() {
    let digest = Digest::of(MANIFEST);
    let server = TestServer::new(move |seen| match seen.line() {
        "HEAD /v2/some/image/manifests/latest HTTP/1.1" => {
            reply("200 OK", &format!("Docker-Content-Digest: {digest}\r\n"), b"")
        }
        "HEAD /v2/some/image/manifests/silent HTTP/1.1" => ok(b""),
        _ => reply("405 Method Not Allowed", "", b""),
    });
    let repository = World::new().open(&server.name());
    assert_eq!(repository.resolve("latest").unwrap(), Some(digest));
    assert_eq!(repository.resolve("silent").unwrap(), None);
    assert_eq!(repository.resolve("unsupported").unwrap(), None);
}

#[test]
fn schema_1_is_refused_in_words() {
    let old = "Content-Type: application/vnd.docker.distribution.manifest.v1+prettyjws\r\n";
    let server = TestServer::new(move |seen| match seen.number {
        0 => reply("200 OK", old, b"{}"),
        _ => reply("200 OK", TYPE, br#"{"schemaVersion": 1, "fsLayers": []}"#),
    });
    let repository = World::new().open(&server.name());
    for _ in 0..2 {
        let error = repository.manifest("latest").unwrap_err();
        assert!(error.to_string().contains("schema 1"), "{error}");
    }
}

#[test]
fn a_busy_registry_is_asked_again_after_the_time_it_wants() {
    let server = TestServer::new(|seen| match seen.number {
        0 => reply("429 Too Many Requests", "Retry-After: 3\r\n", b"slow down"),
        1 => reply("500 Internal Server Error", "", b""),
        2 => Reply::Bytes(Vec::new()),
        _ => ok(MANIFEST),
    });
    let world = World::new();
    world.open(&server.name()).manifest("latest").unwrap();
    let slept = world.slept.lock().unwrap();
    assert_eq!(slept.len(), 3);
    assert_eq!(slept[0], Duration::from_secs(3));
}

#[test]
fn refusals_are_told_in_the_registrys_words_and_not_repeated() {
    let said = br#"{"errors":[{"code":"DENIED","message":"not \u001b[1myours"}]}"#;
    let server = TestServer::new(|_| reply("403 Forbidden", "", said));
    let error = World::new().open(&server.name()).manifest("latest").unwrap_err();
    assert!(error.to_string().ends_with("answered 403: not \\u{1b}[1myours"), "{error}");
    assert_eq!(server.seen().len(), 1);
    let server = TestServer::new(|_| reply("404 Not Found", "", b""));
    let error = World::new().open(&server.name()).manifest("latest").unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
}

#[test]
fn a_registry_that_hangs_is_left() {
    let server = TestServer::new(|_| Reply::Hang(b"HTTP/1.1 200 OK\r\n".to_vec()));
    let world = World::new().limits(|limits| {
        limits.silence = Duration::from_millis(100);
        limits.tries = 2;
    });
    let begun = Instant::now();
    let error = world.open(&server.name()).manifest("latest").unwrap_err();
    assert!(chain(&error).contains("nothing came"), "{}", chain(&error));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn headers_without_end_are_left() {
    let line = b"X-More: and more and more and more and more and more and more\r\n".to_vec();
    let server = TestServer::new(move |_| Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), line.clone()));
    let error = World::new().open(&server.name()).manifest("latest").unwrap_err();
    assert!(matches!(error, Error::Request { transient: false, .. }), "{}", chain(&error));
}

#[test]
fn a_document_without_end_is_left() {
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let server = TestServer::new(move |_| Reply::Endless(head.clone(), vec![b' '; 64 << 10]));
    let error = World::new().open(&server.name()).manifest("latest").unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{}", chain(&error));
}

#[test]
fn a_document_that_trickles_is_left() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec();
    let server = TestServer::new(move |_| Reply::Hang(head.clone()));
    let world = World::new().limits(|limits| {
        limits.document = Duration::from_millis(100);
        limits.tries = 1;
    });
    let error = world.open(&server.name()).manifest("latest").unwrap_err();
    assert!(chain(&error).contains("took too long"), "{}", chain(&error));
}

#[test]
fn tags_are_listed_page_by_page() {
    let server = TestServer::new(|seen| match seen.line() {
        "GET /v2/some/image/tags/list HTTP/1.1" => {
            let next = "Link: </v2/some/image/tags/list?last=b&n=2>; rel=\"next\"\r\n";
            reply("200 OK", next, br#"{"name":"x","tags":["a","b"]}"#)
        }
        "GET /v2/some/image/tags/list?last=b&n=2 HTTP/1.1" => ok(br#"{"name":"x","tags":["c"]}"#),
        _ => reply("400 Bad Request", "", b""),
    });
    assert_eq!(World::new().open(&server.name()).tags().unwrap(), ["a", "b", "c"]);
    let server = TestServer::new(|_| ok(br#"{"name":"x","tags":null}"#));
    assert!(World::new().open(&server.name()).tags().unwrap().is_empty());
    let server = TestServer::new(|_| ok(b"[]"));
    assert!(matches!(World::new().open(&server.name()).tags(), Err(Error::Malformed { .. })));
}

#[test]
fn nobody_there_is_said_at_once() {
    let gone = TestServer::new(|_| ok(b"")).name();
    let world = World::new();
    let error = world.open(&gone).manifest("latest").unwrap_err();
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
    assert!(world.slept.lock().unwrap().is_empty());
}

#[test]
fn tags_longer_than_tags_can_be_are_refused() {
    let of = |length| format!(r#"{{"name":"x","tags":["{}"]}}"#, "a".repeat(length));
    let server = TestServer::new(move |_| ok(of(128).as_bytes()));
    assert_eq!(World::new().open(&server.name()).tags().unwrap().len(), 1);
    let server = TestServer::new(move |_| ok(of(129).as_bytes()));
    assert!(matches!(World::new().open(&server.name()).tags(), Err(Error::Malformed { .. })));
}
