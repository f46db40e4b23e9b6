//! `--log-driver` and `--log-opt`.

use serde::{Deserialize, Serialize};

use crate::container::size;

/// Files that a reader holds open at once, so that it loses none to a rotation.
const MOST_FILES: u32 = 512;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    #[default]
    JsonFile,
    /// Nothing is kept.
    None,
}

impl Driver {
    /// As `--log-driver` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Driver::JsonFile => "json-file",
            Driver::None => "none",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    pub driver: Driver,
    /// Bytes at which a file is rotated away; the line that crosses the limit still goes in. None: never.
    pub max_size: Option<u64>,
    /// Files kept, the live one included; at least 1.
    pub max_file: u32,
    /// Labels whose values go into each line.
    pub labels: Vec<String>,
    /// Variables whose values go into each line.
    pub env: Vec<String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            driver: Driver::JsonFile,
            max_size: Some(100_000_000),
            max_file: 3,
            labels: Vec::new(),
            env: Vec::new(),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("--log-driver \"{0}\" is not known; there are json-file and none")]
    Driver(String),
    #[error("--log-opt {0} does nothing with --log-driver none")]
    NoDriver(String),
    #[error("--log-opt \"{0}\" has no value; it takes KEY=VALUE")]
    NoValue(String),
    #[error("--log-opt \"{0}\" is not known to json-file; there are max-size, max-file, labels and env")]
    Key(String),
    #[error("--log-opt max-size={0} is not a size above 0; sizes look like 10k, 5m, 1g, or -1 for no limit")]
    Size(String),
    #[error("--log-opt max-file={0} is not a number from 1 to {MOST_FILES}")]
    Files(String),
}

impl LogConfig {
    /// Of `--log-driver` and each `--log-opt`; of an option given twice the last counts.
    pub fn from_words<W: AsRef<str>>(driver: Option<&str>, options: &[W]) -> Result<Self, ConfigError> {
        let driver = match driver {
            None | Some("json-file") => Driver::JsonFile,
            Some("none") => Driver::None,
            Some(other) => return Err(ConfigError::Driver(other.to_owned())),
        };
        let mut config = Self { driver, ..Self::default() };
        for word in options.iter().map(AsRef::as_ref) {
            let (key, value) = word.split_once('=').ok_or_else(|| ConfigError::NoValue(word.to_owned()))?;
            if config.driver == Driver::None {
                return Err(ConfigError::NoDriver(word.to_owned()));
            }
            config.set(key, value)?;
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let list = || value.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        match key {
            "max-size" if value == "-1" => self.max_size = None,
            "max-size" => match size::parse_decimal(value) {
                Ok(bytes) if bytes > 0 => self.max_size = Some(bytes),
                _ => return Err(ConfigError::Size(value.to_owned())),
            },
            "max-file" => match value.parse() {
                Ok(files @ 1..=MOST_FILES) => self.max_file = files,
                _ => return Err(ConfigError::Files(value.to_owned())),
            },
            "labels" => self.labels = list(),
            "env" => self.env = list(),
            _ => return Err(ConfigError::Key(key.to_owned())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<LogConfig, ConfigError> {
        LogConfig::from_words(None, options)
    }

    #[test]
    fn options_are_taken_in_dockers_words() {
        let config = parse(&["max-size=10k", "max-file=5", "labels=a,b", "env=HOME"]).unwrap();
        assert_eq!(config.max_size, Some(10_000));
        assert_eq!(config.max_file, 5);
        assert_eq!((config.labels, config.env), (vec!["a".into(), "b".into()], vec!["HOME".into()]));
        assert_eq!(parse(&["max-size=1g", "max-size=-1"]).unwrap().max_size, None);
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        assert_eq!(parse(&["compress=true"]), Err(ConfigError::Key("compress".into())));
        assert_eq!(parse(&["max-size"]), Err(ConfigError::NoValue("max-size".into())));
        assert_eq!(parse(&["max-size=0"]), Err(ConfigError::Size("0".into())));
        assert_eq!(parse(&["max-file=0"]), Err(ConfigError::Files("0".into())));
        let none: [&str; 0] = [];
        assert_eq!(LogConfig::from_words(Some("none"), &none).unwrap().driver, Driver::None);
        assert_eq!(LogConfig::from_words(Some("syslog"), &none), Err(ConfigError::Driver("syslog".into())));
        let refused = LogConfig::from_words(Some("none"), &["max-size=1m"]);
        assert_eq!(refused, Err(ConfigError::NoDriver("max-size=1m".into())));
    }

    #[test]
    fn a_stored_config_reads_back_and_gaps_are_defaults() {
        let config = parse(&["max-size=-1", "labels=a"]).unwrap();
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<LogConfig>(&json).unwrap(), config);
        assert_eq!(serde_json::from_str::<LogConfig>("{}").unwrap(), LogConfig::default());
    }
}
