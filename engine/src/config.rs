//! hull's config file: `/etc/hull/config.toml`, for other users `$XDG_CONFIG_HOME/hull/config.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::container::size;
use crate::image::Naming;
use crate::image::convert::Options;
use crate::registry::RegistryConfig;
use crate::sandbox::mode::IsolationRequest;

/// Every key is optional; unknown keys are refused, since a misspelt `require_vm` would be none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What `--isolation` is when it is not given.
    #[serde(default)]
    pub isolation: IsolationRequest,
    /// Nothing weaker than a virtual machine, whatever the command line says.
    #[serde(default)]
    pub require_vm: bool,
    /// Guest kernel, ELF or bzImage, in place of the one that hull came with.
    #[serde(default)]
    pub kernel: Option<PathBuf>,
    /// Write the console of each virtual machine to `boot.log` in its folder, and show its end when
    /// the machine dies. Costs start time.
    #[serde(default)]
    pub boot_log: bool,
    /// The registry that image names without one mean; docker.io by default.
    #[serde(default)]
    pub short_names: Naming,
    /// By `host[:port]`, as it stands in images' names.
    #[serde(default)]
    pub registries: BTreeMap<String, RegistryConfig>,
    /// URLs to ask first for images of docker.io.
    #[serde(default)]
    pub registry_mirrors: Vec<String>,
    #[serde(default)]
    pub images: ImagesConfig,
}

/// What images may ask of this machine: ceilings against decompression bombs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagesConfig {
    /// Bytes that a layer may unpack to, as `"64g"`.
    #[serde(deserialize_with = "bytes")]
    pub max_unpacked: u64,
    /// Files, folders and links that a layer may have, and an image's root.
    pub max_entries: u64,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        let Options { max_unpacked, max_entries, .. } = Options::default();
        Self { max_unpacked, max_entries }
    }
}

impl ImagesConfig {
    pub fn options(&self) -> Options {
        Options { max_unpacked: self.max_unpacked, max_entries: self.max_entries, ..Options::default() }
    }
}

fn bytes<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    size::parse(&String::deserialize(value)?).map_err(D::Error::custom)
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("Failed to read the config file {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("The config file {} has a mistake in line {line}: {message}", path.display())]
    Parse { path: PathBuf, line: usize, message: String },
}

impl Config {
    /// Reads the file named; without a name the usual one, which need not exist.
    pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
        let path = match named {
            Some(path) => path.to_path_buf(),
            None => default_path(),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                let start = error.span().map_or(0, |span| span.start);
                let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
                ConfigError::Parse { path, line, message: error.message().to_string() }
            }),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Config::default())
            }
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }
}

fn default_path() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/etc/hull/config.toml");
    }
    crate::paths::xdg("XDG_CONFIG_HOME", ".config").join("hull/config.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_need_a_registry() {
        let config: Config = toml::from_str("short_names = \"registry.example\"").unwrap();
        assert_eq!(config.short_names.parse("app").unwrap().registry, "registry.example");
        assert!(toml::from_str::<Config>("short_names = \"example\"").is_err());
    }

    #[test]
    fn ceilings_for_images_are_sizes_and_numbers() {
        let config: Config = toml::from_str("[images]\nmax_unpacked = \"2g\"\nmax_entries = 1000\n").unwrap();
        assert_eq!(
            (config.images.options().max_unpacked, config.images.options().max_entries),
            (2 << 30, 1000)
        );
        let config: Config = toml::from_str("[images]\nmax_entries = 7\n").unwrap();
        assert_eq!((config.images.max_unpacked, config.images.max_entries), (64 << 30, 7));
        for bad in ["max_unpacked = \"many\"", "max_unpacked = 5", "max_entries = -1", "max_entry = 1"] {
            assert!(toml::from_str::<Config>(&format!("[images]\n{bad}\n")).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_key_is_refused_with_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "isolation = \"vm\"\nrequire_vmm = true\n").unwrap();
        let error = Config::load(Some(file.path())).unwrap_err().to_string();
        assert!(error.contains("line 2: unknown field `require_vmm`") && !error.contains('\n'), "{error}");
    }
}
