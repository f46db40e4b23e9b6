//! What names without a registry mean: `short_names` of the config file.

use serde::Deserialize;

use super::reference::{self, Reference, ReferenceError};

/// The registry that names of users mean where they name none. By default docker.io, where a name of one
/// part is below `library/`. Names from files (archives, manifests) are always docker's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Naming {
    registry: String,
}

impl Default for Naming {
    fn default() -> Self {
        Self { registry: reference::DEFAULT_REGISTRY.to_owned() }
    }
}

impl TryFrom<String> for Naming {
    type Error = String;

    fn try_from(registry: String) -> Result<Self, String> {
        // Names are stored in full, so it must be told from the first part of a repository.
        match reference::split_registry(&format!("{registry}/name"), "") {
            (known, "name") if reference::is_registry(known) => Ok(Self { registry: known.to_owned() }),
            _ => Err(format!(
                "short_names = \"{registry}\" is not a registry: expected is a host with a dot or a port, or localhost"
            )),
        }
    }
}

impl Naming {
    /// A name as a user writes it.
    pub fn parse(&self, text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse_with(text, &self.registry)
    }

    /// The shortest form that [`Naming::parse`] reads as the same.
    pub fn familiar(&self, name: &Reference) -> String {
        format!("{}{}", self.familiar_repository(name), name.suffix())
    }

    /// Registry and repository in that form.
    pub fn familiar_repository(&self, name: &Reference) -> String {
        if name.registry != self.registry {
            return format!("{}/{}", name.registry, name.repository);
        }
        let short = match name.registry.as_str() {
            reference::DEFAULT_REGISTRY => name.short_repository(),
            _ => &name.repository,
        };
        match self.parse(short) {
            Ok(read) if (&read.registry, &read.repository) == (&name.registry, &name.repository) => {
                short.to_owned()
            }
            _ => format!("{}/{}", name.registry, name.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(registry: &str) -> Naming {
        Naming::try_from(registry.to_owned()).unwrap()
    }

    #[test]
    fn a_name_without_a_registry_is_the_configured_ones() {
        let naming = naming("registry.example:5000");
        for (short, long) in [
            ("alpine", "registry.example:5000/alpine:latest"),
            ("team/app:1", "registry.example:5000/team/app:1"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("localhost/app", "localhost/app:latest"),
        ] {
            let name = naming.parse(short).unwrap();
            assert_eq!(name.to_string(), long);
            assert_eq!(naming.parse(&naming.familiar(&name)).unwrap(), name);
        }
        assert_eq!(naming.familiar(&"registry.example:5000/alpine:3".parse().unwrap()), "alpine:3");
        assert_eq!(naming.familiar(&"alpine:3".parse().unwrap()), "docker.io/library/alpine:3");
    }

    #[test]
    fn by_default_names_are_dockers() {
        let naming = Naming::default();
        for text in ["alpine:latest", "user/app:1", "localhost:5000/app:latest"] {
            let name: Reference = text.parse().unwrap();
            assert_eq!(
                (naming.parse(text).unwrap(), naming.familiar(&name)),
                (name.clone(), name.familiar())
            );
        }
        assert_eq!(super::tests::naming("index.docker.io"), naming);
    }

    #[test]
    fn what_reads_as_part_of_a_repository_is_no_registry() {
        for bad in ["", "example", "a/b.c", "a b.c", "host:x", "https://example.com"] {
            assert!(Naming::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
