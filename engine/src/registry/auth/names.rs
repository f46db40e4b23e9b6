//! What registries are called: in images' names, on the network, and in docker's config.json.

use ureq::http::uri::Authority;

use super::error::{Error, Result};

/// What images' names call Docker Hub.
pub const DOCKER: &str = "docker.io";
/// Docker Hub's key in `config.json`, a URL that was the v1 registry.
pub const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// The key under which docker keeps a registry's login.
pub fn key_of(registry: &str) -> &str {
    if registry == DOCKER { DOCKER_KEY } else { registry }
}

/// Whether a key of `config.json` is a registry's: docker's own, or the URL that an old client wrote.
pub fn is_key_of(key: &str, registry: &str) -> bool {
    match hostname(key) {
        "index.docker.io" | "registry-1.docker.io" => registry == DOCKER,
        host => host == registry,
    }
}

/// `host[:port]` of a URL, or of what is none (docker's ConvertToHostname).
pub fn hostname(server: &str) -> &str {
    let rest = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    rest.split('/').next().unwrap_or_default()
}

/// The registry that a user means, who may give a URL.
pub fn server(given: &str) -> Result<String> {
    let host = hostname(given.trim());
    let named = host.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty());
    if !named || host.contains('@') {
        return Err(Error::Server(format!("{given:?}")));
    }
    Ok(if is_key_of(host, DOCKER) { DOCKER.to_owned() } else { host.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_old_clients_are_known() {
        for (key, registry) in [
            (DOCKER_KEY, DOCKER),
            ("docker.io", DOCKER),
            ("index.docker.io", DOCKER),
            ("https://registry-1.docker.io/v2/", DOCKER),
            ("x.example:5000", "x.example:5000"),
            ("https://x.example:5000/v1/", "x.example:5000"),
            ("http://x.example", "x.example"),
        ] {
            assert!(is_key_of(key, registry), "{key}");
        }
        for (key, registry) in
            [("x.example", DOCKER), ("x.example", "x.example:5000"), ("docker.io", "x.example")]
        {
            assert!(!is_key_of(key, registry), "{key}");
        }
    }

    #[test]
    fn a_server_is_a_host_or_a_url_of_one() {
        for (given, registry) in [
            ("docker.io", Some(DOCKER)),
            (DOCKER_KEY, Some(DOCKER)),
            ("https://x.example:5000/v2/", Some("x.example:5000")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("localhost", Some("localhost")),
            ("", None),
            ("user@host", None),
            ("a b", None),
            (":5000", None),
            ("x\n", Some("x")),
            ("x\ny", None),
        ] {
            assert_eq!(server(given).ok().as_deref(), registry, "{given:?}");
        }
    }
}
