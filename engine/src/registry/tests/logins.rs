use std::io::Read;

use super::fixture::{MANIFEST, World, chain, descriptor};
use crate::image::Digest;
use crate::registry::test_server::{Reply, Seen, TestServer, ok, reply};

/// A token server whose tokens are numbered from 1.
fn tokens() -> TestServer {
    TestServer::new(|seen| ok(format!(r#"{{"token":"t{}"}}"#, seen.number + 1).as_bytes()))
}

/// A registry that takes one token, and else names the server of them.
fn wanting(token: &'static str, tokens: &TestServer, answer: fn(&Seen) -> Reply) -> TestServer {
    let challenge =
        format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"r\"\r\n", tokens.name());
    let wanted = format!("Bearer {token}");
    TestServer::new(move |seen| match seen.header("authorization") {
        Some(value) if value == wanted => answer(seen),
        _ => reply("401 Unauthorized", &challenge, br#"{"errors":[{"message":"who?"}]}"#),
    })
}

#[test]
fn a_token_is_fetched_once_and_goes_with_what_follows() {
    let tokens = tokens();
    let registry = wanting("t1", &tokens, |_| ok(MANIFEST));
    let repository = World::new().open(&registry.name());
    for _ in 0..3 {
        repository.manifest("latest").unwrap();
    }
    repository.blob(&descriptor(MANIFEST)).unwrap().read_to_end(&mut Vec::new()).unwrap();
    let asked = tokens.lines();
    assert_eq!(asked, ["GET /token?service=r&scope=repository%3Asome%2Fimage%3Apull HTTP/1.1"]);
    assert_eq!(registry.seen().len(), 5);
}

#[test]
fn a_token_that_is_over_is_renewed_while_a_blob_is_sent() {
    let tokens = tokens();
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n", tokens.name());
    // The session is opened with the first token, which is no good any more for the bytes.
    let registry =
        TestServer::new(move |seen| match (seen.line().split(' ').next(), seen.header("authorization")) {
            (Some("POST"), Some("Bearer t1")) => reply("202 Accepted", "Location: /v2/up\r\n", b""),
            (Some("PUT"), Some("Bearer t2")) => reply("201 Created", "", b""),
            _ => reply("401 Unauthorized", &challenge, b""),
        });
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, b"blob").unwrap();
    let repository = World::new().open_to_push(&registry.name());
    repository.upload_blob(&Digest::of(b"blob"), &file, &|_| {}).unwrap();
    assert_eq!(registry.seen().last().unwrap().body, b"blob");
    assert!(tokens.lines()[0].contains("pull%2Cpush"));
}

#[test]
fn the_login_of_the_registry_stays_there() {
    let store = TestServer::new(|_| ok(b"blob"));
    let location = format!("Location: http://{}/blob\r\n", store.name());
    let registry = TestServer::new(move |seen| match seen.header("authorization") {
        Some("Basic amltOmdlaGVpbQ==") => reply("307 Temporary Redirect", &location, b""),
        _ => reply("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", b""),
    });
    let world = World::new();
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"amltOmdlaGVpbQ=="}}}}}}"#, registry.name());
    std::fs::write(world.logins.path().join("config.json"), config).unwrap();
    let repository = world.open(&registry.name());
    for _ in 0..2 {
        repository.blob(&descriptor(b"blob")).unwrap().read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(registry.seen().len(), 3);
    assert!(store.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn a_store_that_wants_a_login_is_not_given_one() {
    let store =
        TestServer::new(|_| reply("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", b""));
    let location = format!("Location: http://{}/blob\r\n", store.name());
    let registry = TestServer::new(move |_| reply("307 Temporary Redirect", &location, b""));
    let error = World::new().open(&registry.name()).blob(&descriptor(b"blob")).err().unwrap();
    assert!(error.to_string().contains("answered 401"), "{error}");
    assert_eq!(store.seen().len(), 1);
}

#[test]
fn no_login_and_a_wrong_one_are_told_apart() {
    let tokens = tokens();
    let registry = wanting("never", &tokens, |_| ok(MANIFEST));
    let world = World::new();
    let error = chain(&world.open(&registry.name()).manifest("latest").unwrap_err());
    assert!(error.contains("wants a login"), "{error}");
    assert!(world.slept.lock().unwrap().is_empty());
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"amltOmdlaGVpbQ=="}}}}}}"#, registry.name());
    std::fs::write(world.logins.path().join("config.json"), config).unwrap();
    let error = chain(&world.open(&registry.name()).manifest("latest").unwrap_err());
    assert!(error.contains("unauthorized (who?)"), "{error}");
}

#[test]
fn a_mount_needs_the_other_repository_too() {
    let tokens = tokens();
    let registry = wanting("t1", &tokens, |_| reply("201 Created", "", b""));
    let repository = World::new().open_to_push(&registry.name());
    assert!(repository.mount_blob(&Digest::of(b"blob"), "other/image").unwrap());
    let scopes = "scope=repository%3Asome%2Fimage%3Apull%2Cpush&scope=repository%3Aother%2Fimage%3Apull";
    assert!(tokens.lines()[0].contains(scopes), "{:?}", tokens.lines());
}

#[test]
fn a_token_server_is_not_led_to_either() {
    let tokens = TestServer::new(|_| reply("302 Found", "Location: http://127.0.0.1:1/\r\n", b""));
    let registry = wanting("t1", &tokens, |_| ok(MANIFEST));
    assert!(World::new().open(&registry.name()).manifest("latest").is_err());
    assert_eq!(tokens.seen().len(), 1);
}
