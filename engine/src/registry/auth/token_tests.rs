use serde_json::json;

use super::super::test_server::{Answered, Asked, Server};
use super::*;
use crate::registry::Settings;

fn password() -> Credentials {
    Credentials::Password { user: "jim".into(), password: Secret::new("ge heim") }
}

fn identity() -> Credentials {
    Credentials::Identity { user: "jim".into(), token: Secret::new("i+d") }
}

/// What a server with these answers is asked, and what comes of it.
fn fetched(
    credentials: Option<&Credentials>,
    answer: impl Fn(&Asked) -> Answered + Send + 'static,
) -> (Vec<Asked>, Result<Token>) {
    let server = Server::start(move |asked, _| answer(asked));
    let realm = format!("http://{}/token?x=y", server.host);
    let scopes = ["repository:a/b:pull,push".to_owned(), "repository:c:pull".to_owned()];
    let (registry, service) = (server.host.as_str(), Some("s v"));
    let question =
        Question { registry, realm: &realm, service, scopes: &scopes, credentials, offline: false };
    let token = fetch(&Wire::new(&Settings::default(), registry).unwrap(), &question);
    (server.asked(), token)
}

fn ok(body: Value) -> Answered {
    (200, Vec::new(), body.to_string())
}

/// The error's text for one answer.
fn refused(credentials: Option<&Credentials>, status: u16, body: &str) -> String {
    let body = body.to_owned();
    fetched(credentials, move |_| (status, Vec::new(), body.clone())).1.unwrap_err().to_string()
}

#[test]
fn without_a_login_a_token_is_asked_for_by_get() {
    let (asked, token) = fetched(None, |_| ok(json!({"token": "abc.def", "expires_in": 300})));
    let token = token.unwrap();
    assert_eq!((token.token.reveal(), token.identity), ("abc.def", None));
    let left = token.expires - Instant::now();
    assert!(left > Duration::from_secs(290) && left <= Duration::from_secs(300));
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    let path = "/token?x=y&service=s%20v&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull";
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", path));
    assert_eq!(asked.authorization, None);
}

#[test]
fn a_password_goes_into_the_header_and_not_into_the_url() {
    let (asked, token) = fetched(Some(&password()), |_| ok(json!({"access_token": "t", "token": "other"})));
    assert_eq!(token.unwrap().token.reveal(), "t");
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert!(asked.path.ends_with("&account=jim") && !asked.path.contains("heim"), "{}", asked.path);
    assert_eq!(asked.authorization, Some(basic("jim", &Secret::new("ge heim"))));
}

#[test]
fn an_identity_token_is_exchanged_by_post() {
    let (asked, token) =
        fetched(Some(&identity()), |_| ok(json!({"access_token": "t", "refresh_token": "new"})));
    assert_eq!(token.unwrap().identity, Some(Secret::new("new")));
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/token?x=y"));
    assert_eq!(
        asked.body,
        "grant_type=refresh_token&refresh_token=i%2Bd&client_id=docker&service=s%20v&scope=repository%3Aa%2Fb%3Apull%2Cpush%20repository%3Ac%3Apull"
    );
}

#[test]
fn a_server_that_takes_no_get_is_asked_by_post() {
    for status in [404, 405] {
        let (asked, token) = fetched(Some(&password()), move |asked| match asked.method.as_str() {
            "POST" => ok(json!({"access_token": "t"})),
            _ => (status, Vec::new(), String::new()),
        });
        assert_eq!(token.unwrap().token.reveal(), "t");
        let form = &asked[1].body;
        assert!(form.starts_with("grant_type=password&username=jim&password=ge%20heim&client_id="), "{form}");
        assert_eq!(asked[1].authorization, None);
    }
}

#[test]
fn refusals_are_told_in_the_servers_words_and_without_the_password() {
    let body = r#"{"details":"incorrect username or password\u001b[2J"}"#;
    let error = refused(Some(&password()), 401, body);
    assert!(error.contains(r"unauthorized (incorrect username or password\u{1b}[2J); hull login"), "{error}");
    assert!(!error.contains("heim"));
    assert!(refused(Some(&identity()), 403, "").contains("refused: unauthorized; hull login"));
    assert!(refused(None, 401, body).contains("hull login"));
    let error = refused(None, 503, r#"{"errors":[{"code":"X","message":"tired"}]}"#);
    assert!(error.ends_with("/token answered 503: tired"), "{error}");
    assert!(refused(None, 302, "").ends_with("/token answered 302"));
}

#[test]
fn a_server_that_is_busy_may_be_asked_again_when_it_says() {
    let busy = |_: &Asked| (429, vec!["Retry-After: 3".to_owned()], String::new());
    let error = crate::registry::Error::from(fetched(None, busy).1.unwrap_err());
    assert_eq!((error.is_transient(), error.retry_after()), (true, Some(Duration::from_secs(3))));
    let broken = |_: &Asked| (400, Vec::new(), String::new());
    assert!(!crate::registry::Error::from(fetched(None, broken).1.unwrap_err()).is_transient());
}

#[test]
fn an_answer_that_is_no_token_is_refused() {
    for (body, problem) in [
        ("{}", "its answer has no token"),
        (r#"{"token": ""}"#, "its answer has no token"),
        (r#"{"token": 5}"#, "its answer is not the JSON of a token"),
        ("<html>", "its answer is not the JSON of a token"),
        (r#"{"token": "a\r\nX-Evil: 1"}"#, "its token cannot be one"),
        (r#"{"token": "a b"}"#, "its token cannot be one"),
        (r#"{"token": "é"}"#, "its token cannot be one"),
    ] {
        let error = refused(None, 200, body);
        assert!(error.ends_with(problem), "{body}: {error}");
    }
    let long = json!({"token": "x".repeat(MAX_TOKEN + 1)}).to_string();
    assert!(refused(None, 200, &long).ends_with("its token cannot be one"));
    let endless = json!({"token": "x".repeat(2 << 20)}).to_string();
    let error = refused(None, 200, &endless);
    assert!(error.contains("more than 1048576 bytes"), "{error}");
}

#[test]
fn lifetimes_have_their_limits() {
    for (said, seconds) in [
        (json!(null), 60),
        (json!(1), 60),
        (json!(-5), 60),
        (json!("x"), 60),
        (json!(100), 100),
        (json!(u64::MAX), 24 * 3600),
    ] {
        let answer = serde_json::from_value(json!({"token": "t", "expires_in": said})).unwrap();
        let left = token_of(answer).unwrap().expires - Instant::now();
        assert!(left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 10), "{said}");
    }
}

#[test]
fn a_realm_that_lies_or_downgrades_is_not_asked() {
    let long = format!("https://x/{}", "y".repeat(MAX_REALM));
    for (registry, realm, problem) in [
        ("docker.io", "https://auth.docker.io/token", None),
        ("x.example", "https://x.example:5001/auth?a=b", None),
        ("x.example", "http://x.example/auth", Some("which is not https")),
        ("lab.example", "http://auth.example/", None),
        ("localhost:5000", "http://127.0.0.1:5001/", None),
        ("x.example", "https://localhost/", Some("which is on this machine")),
        ("lab.example", "http://127.0.0.1:631/", Some("which is on this machine")),
        ("x.example", "https://[::1]/", Some("which is on this machine")),
        ("x.example", "file:///etc/passwd", Some("which is no URL")),
        ("x.example", "ftp://x.example/", Some("which is neither https nor http")),
        ("x.example", "https://user@x.example/", Some("which has a user in it")),
        ("x.example", "/token", Some("which is no URL")),
        ("x.example", "https://x example/", Some("which is no URL")),
        ("x.example", long.as_str(), Some("which is no URL")),
    ] {
        let error = check_realm(registry, matches!(registry, "lab.example" | "localhost:5000"), realm)
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.is_some(), problem.is_some(), "{realm}: {error:?}");
        assert!(error.unwrap_or_default().ends_with(problem.unwrap_or_default()), "{realm}");
    }
}
