//! What users say about registries.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// `[registries."host:port"]` of the config file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Plain http is tried where https does not answer, and certificates are not checked.
    pub insecure: bool,
    /// PEM file with certificates to trust, besides the system's.
    pub ca: Option<PathBuf>,
    /// PEM files with the certificate and the key to show the registry.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// URLs to ask first when pulling.
    pub mirrors: Vec<String>,
}

/// Everything a client is told besides the name of what it wants.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub registries: BTreeMap<String, RegistryConfig>,
    /// `--registry-mirror`: URLs to ask first for images of docker.io.
    pub mirrors: Vec<String>,
    /// Folder of docker's `config.json`: `--config`, else `DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
}

impl Settings {
    pub fn of(&self, registry: &str) -> RegistryConfig {
        self.registries.get(registry).cloned().unwrap_or_default()
    }

    /// The mirrors to ask for a registry's images, in order.
    pub fn mirrors_of(&self, registry: &str) -> impl Iterator<Item = &str> {
        let of_docker = self.mirrors.iter().filter(move |_| registry == "docker.io");
        let own = self.registries.get(registry).into_iter().flat_map(|config| &config.mirrors);
        of_docker.chain(own).map(String::as_str)
    }
}

/// Whether a registry is on this machine: http is good enough there, as for docker.
pub fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_names_that_look_like_it() {
        for registry in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "[::1]"]
        {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in ["127.0.0.1.example", "localhost.example:5000", "10.0.0.1", "docker.io"] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }
}
