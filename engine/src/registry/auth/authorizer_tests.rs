use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use super::super::credentials::Secret;
use super::super::test_server::Server;
use super::*;

fn password() -> Option<Credentials> {
    Some(Credentials::Password { user: "jim".into(), password: Secret::new("geheim") })
}

fn authorizer(server: &Server, credentials: Option<Credentials>) -> Authorizer {
    Authorizer::with(&Settings::default(), &server.host, credentials)
}

/// A token server whose tokens are numbered.
fn tokens() -> (Server, String) {
    let next = AtomicU32::new(1);
    let server = Server::start(move |_, _| {
        let token = format!("t{}", next.fetch_add(1, Ordering::Relaxed));
        (200, Vec::new(), json!({"token": token}).to_string())
    });
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", server.host);
    (server, challenge)
}

fn nobody() -> Server {
    Server::start(|_, _| (500, Vec::new(), String::new()))
}

#[test]
fn basic_authentication_needs_a_login_and_holds_for_all_scopes() {
    let server = nobody();
    let scope = Scope::new("a", Access::Pull);
    assert_eq!(authorizer(&server, None).header_for(["Basic realm=\"x\""], &scope, None).unwrap(), None);
    let with = authorizer(&server, password());
    assert_eq!(with.known(&scope), None);
    let header = with.header_for(["Basic realm=\"x\""], &scope, None).unwrap();
    assert_eq!(header.as_deref(), Some("Basic amltOmdlaGVpbQ=="));
    assert_eq!(with.known(&Scope::new("b", Access::Push)), header);
    let error = with.header_for(["Basic"], &scope, header.as_deref()).unwrap_err().to_string();
    assert!(error.contains("unauthorized; hull login 127.0.0.1"), "{error}");
    assert!(server.asked().is_empty());
}

#[test]
fn a_token_is_kept_for_its_scope_and_asked_for_anew_when_it_is_refused() {
    let (server, challenge) = tokens();
    let (pull, push) = (Scope::new("a", Access::Pull), Scope::new("a", Access::Push));
    let authorizer = authorizer(&server, None);
    let header =
        |scope, refused| authorizer.header_for([challenge.as_str()], scope, refused).unwrap().unwrap();
    assert_eq!(header(&pull, None), "Bearer t1");
    assert_eq!(header(&pull, None), "Bearer t1");
    assert_eq!(header(&push, None), "Bearer t2");
    assert_eq!(header(&pull, Some("Bearer t1")), "Bearer t3");
    // Who comes later with the same old token has the new one already.
    assert_eq!(header(&pull, Some("Bearer t1")), "Bearer t3");
    assert_eq!(authorizer.known(&pull).as_deref(), Some("Bearer t3"));
    assert_eq!(authorizer.known(&Scope::none()), None);
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn a_token_whose_time_is_over_is_forgotten() {
    let (server, challenge) = tokens();
    let scope = Scope::new("a", Access::Pull);
    let authorizer = authorizer(&server, None);
    authorizer.header_for([challenge.as_str()], &scope, None).unwrap();
    authorizer.state().headers[0].expires = Some(Instant::now());
    assert_eq!(authorizer.known(&scope), None);
    assert_eq!(
        authorizer.header_for([challenge.as_str()], &scope, None).unwrap().as_deref(),
        Some("Bearer t2")
    );
    assert_eq!(authorizer.state().headers.len(), 1);
}

#[test]
fn threads_share_one_request_for_a_token() {
    let (server, challenge) = tokens();
    let authorizer = authorizer(&server, password());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let scope = Scope::new("a", Access::Pull);
                let header = authorizer.header_for([challenge.as_str()], &scope, None).unwrap();
                assert_eq!(header.as_deref(), Some("Bearer t1"));
            });
        }
    });
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_registrys_own_token_is_passed_on() {
    let (server, challenge) = tokens();
    let authorizer = authorizer(&server, Some(Credentials::Registry(Secret::new("rt"))));
    let header = authorizer.header_for([challenge.as_str()], &Scope::none(), None).unwrap();
    assert_eq!(header.as_deref(), Some("Bearer rt"));
    assert!(server.asked().is_empty());
}

#[test]
fn a_downgrade_of_the_realm_is_refused_before_anything_is_sent() {
    let server = nobody();
    let authorizer = Authorizer::with(&Settings::default(), "x.example", password());
    let challenge = format!("Bearer realm=\"http://{}/\"", server.host);
    let error = authorizer.header_for([challenge.as_str()], &Scope::none(), None).unwrap_err();
    assert!(matches!(error, Error::Realm { .. }), "{error}");
    assert!(authorizer.header_for(["Digest realm=x"], &Scope::none(), None).is_err());
    assert!(server.asked().is_empty());
}

#[test]
fn scopes_are_ours_and_the_challenges() {
    let mut push = Scope::new("a/b", Access::Push);
    push.also_pull_from.push("c".into());
    assert_eq!(push.words(), ["repository:a/b:pull,push", "repository:c:pull"]);
    assert!(Scope::none().words().is_empty());
    let own = vec!["repository:a:pull".to_owned()];
    let asked = with_asked(own, "repository:a:pull  registry:catalog:* x\u{e9}y");
    assert_eq!(asked, ["repository:a:pull", "registry:catalog:*"]);
    assert_eq!(with_asked(Vec::new(), &"x ".repeat(100)).len(), 1);
    let many: String = (0..100).map(|n| format!("s{n} ")).collect();
    assert_eq!(with_asked(Vec::new(), &many).len(), MAX_SCOPES);
}
