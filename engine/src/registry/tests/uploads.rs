use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

use super::fixture::World;
use crate::image::Digest;
use crate::registry::Error;
use crate::registry::test_server::{Reply, Seen, TestServer, reply};

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn session(location: &str) -> Reply {
    reply("202 Accepted", &format!("Location: {location}\r\n"), b"")
}

/// Answers a `POST` with this place, and takes what is `PUT`.
fn taking(location: &'static str) -> impl Fn(&Seen) -> Reply + Send + Sync {
    move |seen| match seen.line().split(' ').next() {
        Some("POST") => session(location),
        _ => reply("201 Created", "", b""),
    }
}

#[test]
fn a_blob_is_put_where_the_session_says() {
    let blob = vec![7; 300_000];
    let digest = Digest::of(&blob);
    for (location, expected) in [
        ("/v2/some/image/blobs/uploads/1", format!("/v2/some/image/blobs/uploads/1?digest={digest}")),
        ("/v2/up/1?_state=x%2Fy", format!("/v2/up/1?_state=x%2Fy&digest={digest}")),
        ("2?s=1", format!("/v2/some/image/blobs/uploads/2?s=1&digest={digest}")),
    ] {
        let server = TestServer::new(taking(location));
        let heard = Mutex::new(Vec::new());
        let repository = World::new().open_to_push(&server.name());
        repository.upload_blob(&digest, &file(&blob), &|sent| heard.lock().unwrap().push(sent)).unwrap();
        let seen = server.seen();
        assert_eq!(seen[0].line(), "POST /v2/some/image/blobs/uploads/ HTTP/1.1");
        assert_eq!(seen[0].header("content-length"), Some("0"));
        assert_eq!(seen[1].line(), format!("PUT {expected} HTTP/1.1"));
        assert_eq!(seen[1].header("content-length"), Some("300000"));
        assert_eq!(seen[1].header("transfer-encoding"), None);
        assert_eq!(seen[1].body, blob);
        let heard = heard.into_inner().unwrap();
        assert!(heard.is_sorted() && heard.first() == Some(&0) && heard.last() == Some(&300_000));
    }
}

#[test]
fn an_upload_that_breaks_begins_anew() {
    let server = TestServer::new(|seen| match seen.number {
        0 | 2 => session("/v2/up"),
        1 => Reply::Bytes(Vec::new()),
        _ => reply("201 Created", "", b""),
    });
    let world = World::new();
    let digest = Digest::of(b"blob");
    world.open_to_push(&server.name()).upload_blob(&digest, &file(b"blob"), &|_| {}).unwrap();
    assert_eq!(server.seen()[3].body, b"blob");
    assert_eq!(world.slept.lock().unwrap().len(), 1);
}

#[test]
fn an_upload_is_not_led_astray() {
    let server = TestServer::new(taking("http://169.254.169.254/latest"));
    let digest = Digest::of(b"blob");
    let repository = World::new().open_to_push(&server.name());
    assert!(repository.upload_blob(&digest, &file(b"blob"), &|_| {}).is_err());
    let server = TestServer::new(taking("file:///etc/shadow"));
    let repository = World::new().open_to_push(&server.name());
    let error = repository.upload_blob(&digest, &file(b"blob"), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Lead { .. }), "{error}");
    let server = TestServer::new(|_| reply("202 Accepted", "", b""));
    let repository = World::new().open_to_push(&server.name());
    let error = repository.upload_blob(&digest, &file(b"blob"), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[test]
fn existing_blobs_are_found_and_mounted() {
    let digest = Digest::of(b"blob");
    let server = TestServer::new(|seen| match seen.number {
        0 => reply("200 OK", "", b""),
        1 => reply("404 Not Found", "", b""),
        2 => reply("201 Created", "", b""),
        3 => session("/v2/up"),
        _ => reply("405 Method Not Allowed", "", b""),
    });
    let repository = World::new().open_to_push(&server.name());
    assert!(repository.has_blob(&digest).unwrap());
    assert!(!repository.has_blob(&digest).unwrap());
    assert!(repository.mount_blob(&digest, "other/image").unwrap());
    assert!(!repository.mount_blob(&digest, "other/image").unwrap());
    assert!(!repository.mount_blob(&digest, "other/image").unwrap());
    let line = format!("POST /v2/some/image/blobs/uploads/?mount={digest}&from=other/image HTTP/1.1");
    assert_eq!(server.lines()[2], line);
}

#[test]
fn a_manifest_is_put_as_it_is() {
    let server = TestServer::new(|seen| match seen.number {
        0 => reply("503 Service Unavailable", "", b""),
        _ => reply("201 Created", "", b""),
    });
    let repository = World::new().open_to_push(&server.name());
    repository.put_manifest("v1", "application/x", b"{ }").unwrap();
    let seen = &server.seen()[1];
    assert_eq!(seen.line(), "PUT /v2/some/image/manifests/v1 HTTP/1.1");
    assert_eq!(
        (seen.header("content-type"), seen.body.as_slice()),
        (Some("application/x"), b"{ }".as_slice())
    );
}
