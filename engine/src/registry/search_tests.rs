use serde_json::json;

use super::auth::test_server::{Answered, Asked, Server};
use super::*;

fn ok(body: &serde_json::Value) -> Answered {
    (200, Vec::new(), body.to_string())
}

fn not_found() -> Answered {
    (404, Vec::new(), "404 page not found".into())
}

fn searched(server: &Server, term: &str, limit: usize) -> Result<Found> {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { docker_config: Some(folder.path().to_owned()), ..Settings::default() };
    search(&settings, &server.host, term, limit)
}

/// A registry with a catalog alone, three names a page.
fn catalog_of(names: &'static [&'static str]) -> Server {
    Server::start(move |asked: &Asked, _| {
        let Some(query) = asked.path.strip_prefix("/v2/_catalog?n=1000") else { return not_found() };
        let last = query.strip_prefix("&last=").unwrap_or_default().replace("%2F", "/");
        let rest: Vec<_> = names.iter().filter(|name| **name > last.as_str()).collect();
        let page: Vec<_> = rest.iter().take(3).collect();
        let next = vec!["Link: </v2/_catalog?last=x>; rel=\"next\"".to_owned()];
        (200, if rest.len() > 3 { next } else { Vec::new() }, json!({"repositories": page}).to_string())
    })
}

#[test]
fn a_registry_with_v1_search_is_asked_for_it() {
    let server = Server::start(|_, _| {
        ok(&json!({"num_results": 1, "results": [
            {"name": "jim/app", "description": "An app", "star_count": 7, "is_official": true},
            {"name": "jim/other", "description": null},
        ]}))
    });
    let Found::Images(images) = searched(&server, "jim/a p", 25).unwrap() else { panic!() };
    let [first, second] = images.as_slice() else { panic!("{images:?}") };
    assert_eq!((first.name.as_str(), first.star_count, first.is_official), ("jim/app", 7, true));
    assert_eq!((second.description.as_ref(), second.star_count), (None, 0));
    assert_eq!(server.asked()[0].path, "/v1/search?q=jim%2Fa%20p&n=25");
}

#[test]
fn names_come_from_the_catalog_where_there_is_no_search() {
    let server = catalog_of(&["a", "app", "apple", "jim/app", "UPPER/app", "x", "z/app"]);
    let names = |term, limit| match searched(&server, term, limit).unwrap() {
        Found::Names(names) => names.join(" ").replace(&server.host, ""),
        Found::Images(images) => panic!("{images:?}"),
    };
    // Out of order for a sorted catalog: what is no name is left out.
    assert_eq!(names("app", 25), "/app /apple /jim/app /z/app");
    assert_eq!(names("App", 2), "/app /apple");
    assert_eq!(names("nothing", 25), "");
}

#[test]
fn a_catalog_without_end_is_read_to_a_limit() {
    let server = Server::start(|asked: &Asked, _| {
        let next = vec!["Link: </x>; rel=\"next\"".to_owned()];
        match asked.path.starts_with("/v2/") {
            true => (200, next, json!({"repositories": ["same"]}).to_string()),
            false => not_found(),
        }
    });
    let Found::Names(names) = searched(&server, "same", 25).unwrap() else { panic!() };
    assert_eq!((names.len(), server.asked().len()), (2, 3));
}

#[test]
fn a_registry_without_either_says_so() {
    let server = Server::start(|_, _| not_found());
    let error = searched(&server, "x", 25).unwrap_err().to_string();
    assert_eq!(error, format!("{} offers no search, and no catalog of its repositories", server.host));
    let page = Server::start(|_, _| (200, Vec::new(), "<html>Welcome</html>".into()));
    assert!(matches!(searched(&page, "x", 25), Err(Error::NoSearch(_))));
    let tired = Server::start(|_, _| (503, Vec::new(), "tired".into()));
    assert!(searched(&tired, "x", 25).unwrap_err().to_string().ends_with("answered 503: tired"));
}

#[test]
fn a_catalog_for_users_alone_wants_a_login() {
    let server = Server::start(|asked: &Asked, _| match asked.path.starts_with("/v2/") {
        true => (401, vec!["WWW-Authenticate: Basic realm=\"x\"".into()], String::new()),
        false => not_found(),
    });
    let error = searched(&server, "x", 25).unwrap_err().to_string();
    assert!(error.contains("hull login 127.0.0.1"), "{error}");
}
