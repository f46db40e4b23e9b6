//! Names of images: `[registry/]repository[:tag][@digest]`, with Docker's short forms (distribution's
//! reference grammar).

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, DigestError};

pub(super) const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// Bytes of registry and repository together, and of a tag.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A name in full. Shown by [`fmt::Display`] as it is stored; [`Reference::familiar`] is what people
/// write and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub registry: String,
    pub repository: String,
    /// `latest` if neither tag nor digest was given.
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    #[error("\"{0}\" is not a valid image name: {1}")]
    Invalid(String, &'static str),
    #[error("\"{0}\" is not a valid image name")]
    Digest(String, #[source] DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse_with(text, DEFAULT_REGISTRY)
    }
}

impl Reference {
    /// A name that means `default_registry` if it names none.
    pub(super) fn parse_with(text: &str, default_registry: &str) -> Result<Self, ReferenceError> {
        let shown = || text.chars().take(300).collect::<String>();
        let invalid = |why| ReferenceError::Invalid(shown(), why);
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                (name, Some(digest.parse().map_err(|source| ReferenceError::Digest(shown(), source))?))
            }
            None => (text, None),
        };
        // A colon before the last slash is a registry's port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid(
                "a tag is up to 128 letters, digits and \"._-\", and begins with none of \".-\"",
            ));
        }
        let (registry, repository) = split_registry(name, default_registry);
        if !is_registry(registry) {
            return Err(invalid("bad registry name"));
        }
        if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid("the repository must be lower case"));
        }
        if !repository.split('/').all(is_component) {
            return Err(invalid(
                "a repository is made of lower-case letters, digits and single separators (\".\", \"_\", \"__\", dashes)",
            ));
        }
        let repository = match repository.contains('/') || registry != DEFAULT_REGISTRY {
            true => repository.to_owned(),
            false => format!("library/{repository}"),
        };
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(invalid("it is longer than 255 characters"));
        }
        if digest.is_none() && tag.is_none() && is_id(name) {
            return Err(invalid("64 hex digits are an image's id"));
        }
        let tag = tag.or(digest.is_none().then_some(DEFAULT_TAG)).map(str::to_owned);
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// The repository without `library/`. Of `library/a/b` that would be another one's name.
    pub fn short_repository(&self) -> &str {
        let short = self.repository.strip_prefix("library/").filter(|rest| !rest.contains('/'));
        short.unwrap_or(&self.repository)
    }

    /// Registry and repository, without Docker's defaults.
    pub fn familiar_repository(&self) -> String {
        let short = self.short_repository();
        // A repository of Docker Hub may begin with what looks like a registry.
        match short.parse::<Self>() {
            Ok(read) if self.registry == DEFAULT_REGISTRY && read.is_in_repository_of(self) => {
                short.to_owned()
            }
            _ => format!("{}/{}", self.registry, self.repository),
        }
    }

    pub fn is_in_repository_of(&self, other: &Reference) -> bool {
        (&self.registry, &self.repository) == (&other.registry, &other.repository)
    }

    /// The shortest form that means the same.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_repository(), self.suffix())
    }

    /// The name under which the store keeps it: by digest if there is one, else by tag.
    pub fn canonical(&self) -> String {
        let suffix = match self.digest {
            Some(digest) => format!("@{digest}"),
            None => format!(":{}", self.tag.as_deref().unwrap_or(DEFAULT_TAG)),
        };
        format!("{}/{}{suffix}", self.registry, self.repository)
    }

    /// Tag and digest, with what precedes them.
    pub(super) fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}"));
        let digest = self.digest.map(|digest| format!("@{digest}"));
        tag.unwrap_or_default() + &digest.unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

/// Whether a name says neither tag nor digest.
pub fn is_name_only(text: &str) -> bool {
    !text.contains('@') && !text.rsplit('/').next().unwrap_or_default().contains(':')
}

/// The first part is a registry if it looks like a host: has a dot or a port, or is localhost.
pub(super) fn split_registry<'a>(name: &'a str, default_registry: &'a str) -> (&'a str, &'a str) {
    match name.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (default_registry, name),
    }
}

pub(super) fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("ipv6", port.strip_prefix(':').or(port.is_empty().then_some("0")))
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, Some("0")),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    host.split('.').all(is_label) && port.is_some_and(is_port)
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or dashes.
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separators =
        component.split(|c: char| c.is_ascii() && alphanumeric(u8::try_from(c).unwrap_or(0)));
    let bounded = component.bytes().next().is_some_and(alphanumeric)
        && component.bytes().last().is_some_and(alphanumeric);
    bounded
        && separators.all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_id(text: &str) -> bool {
    Digest::from_hex(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().map_or_else(|error| error.to_string(), |name| name.to_string())
    }

    #[test]
    fn short_names_are_filled_up_as_docker_does() {
        for (short, long) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b/c:x", "localhost:5000/a/b/c:x"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("ghcr.io/Org", "\"ghcr.io/Org\" is not a valid image name: the repository must be lower case"),
            ("a__b/c-----d.e", "docker.io/a__b/c-----d.e:latest"),
        ] {
            assert_eq!(full(short), long);
        }
    }

    #[test]
    fn no_name_is_shown_as_anothers() {
        for (full, shown) in [
            ("docker.io/library/user/app", "library/user/app:latest"),
            ("docker.io/localhost/app", "docker.io/localhost/app:latest"),
            ("docker.io/quay.io/app:1", "docker.io/quay.io/app:1"),
        ] {
            let name: Reference = full.parse().unwrap();
            assert_eq!(name.familiar(), shown);
            assert_eq!(name.familiar().parse(), Ok(name));
        }
    }

    #[test]
    fn digests_stand_for_tags() {
        let digest = Digest::of(b"");
        let name: Reference = format!("alpine@{digest}").parse().unwrap();
        assert_eq!((name.tag.as_deref(), name.digest), (None, Some(digest)));
        assert_eq!(name.canonical(), format!("docker.io/library/alpine@{digest}"));
        let both: Reference = format!("alpine:3@{digest}").parse().unwrap();
        assert_eq!(both.familiar(), format!("alpine:3@{digest}"));
    }

    #[test]
    fn familiar_names_are_short_again() {
        for text in ["alpine:latest", "user/app:1", "localhost:5000/app:latest"] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), text);
        }
    }

    #[test]
    fn malformed_names_are_refused() {
        let long = "a".repeat(300);
        let id = Digest::of(b"").hex();
        for bad in [
            "",
            ":",
            "a:",
            "a:-x",
            "a::b",
            "A",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a\nb",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a@",
            "a@sha256:12",
            "a@sha512:12",
            "a:b/c:d",
            "../a",
            "host:99999/a",
            "ho_st.x/a",
            "é",
            &long,
            &id,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
