use serde_json::json;

use super::super::test_server::{Answered, Server};
use super::*;

const PASSWORD: &str = "geheim";

fn login(server: &Server, password: &str) -> Result<Credentials> {
    check(&Settings::default(), &server.host, "jim", &Secret::new(password))
}

fn stored() -> Credentials {
    Credentials::Password { user: "jim".into(), password: Secret::new(PASSWORD) }
}

fn unauthorized(challenge: String) -> Answered {
    (401, vec![format!("WWW-Authenticate: {challenge}")], String::new())
}

/// A registry with its own token server, which knows one user and gives identity tokens or not.
fn with_tokens(identity: Option<&'static str>) -> Server {
    Server::start(move |asked, host| match asked.path.split('?').next() {
        Some("/token") if asked.authorization == Some(basic("jim", &Secret::new(PASSWORD))) => {
            (200, Vec::new(), json!({"token": "t", "refresh_token": identity}).to_string())
        }
        Some("/token") => (401, Vec::new(), r#"{"details":"no"}"#.into()),
        _ if asked.authorization.as_deref() == Some("Bearer t") => (200, Vec::new(), "{}".into()),
        _ => unauthorized(format!("Bearer realm=\"http://{host}/token\",service=\"s\"")),
    })
}

#[test]
fn a_password_is_tried_before_it_is_kept() {
    let server = Server::start(|asked, _| match &asked.authorization {
        Some(value) if *value == basic("jim", &Secret::new(PASSWORD)) => (200, Vec::new(), "{}".into()),
        _ => unauthorized("Basic realm=\"x\"".into()),
    });
    assert_eq!(login(&server, PASSWORD).unwrap(), stored());
    let error = login(&server, "falsch").unwrap_err().to_string();
    assert!(error.ends_with("unauthorized: incorrect username or password") && !error.contains("falsch"));
    assert!(server.asked().iter().all(|asked| asked.path == "/v2/"));
}

#[test]
fn an_identity_token_is_kept_in_the_passwords_place() {
    let server = with_tokens(Some("idt"));
    let kept = Credentials::Identity { user: "jim".into(), token: Secret::new("idt") };
    assert_eq!(login(&server, PASSWORD).unwrap(), kept);
    let asked = server.asked();
    assert!(asked[1].path.contains("offline_token=true&client_id=docker"), "{}", asked[1].path);
    assert_eq!(asked.len(), 3);
}

#[test]
fn without_an_identity_token_the_password_is_kept() {
    let server = with_tokens(None);
    assert_eq!(login(&server, PASSWORD).unwrap(), stored());
    assert!(matches!(login(&server, "falsch"), Err(Error::Incorrect { .. })));
}

#[test]
fn a_registry_without_logins_takes_any() {
    let server = Server::start(|_, _| (200, Vec::new(), "{}".into()));
    assert_eq!(login(&server, PASSWORD).unwrap(), stored());
}

#[test]
fn what_is_no_registry_keeps_nothing() {
    for status in [404, 500, 302] {
        let server = Server::start(move |_, _| (status, Vec::new(), String::new()));
        login(&server, PASSWORD).unwrap_err();
    }
    let server = Server::start(|_, _| unauthorized("Negotiate".into()));
    assert!(matches!(login(&server, PASSWORD), Err(Error::UnknownChallenge(_))));
    assert!(server.asked().iter().all(|asked| asked.authorization.is_none()));
}
