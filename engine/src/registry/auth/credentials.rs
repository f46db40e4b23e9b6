//! What one logs in with.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A password or token. Shown nowhere, not even by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Where it has to be sent or stored.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    Password {
        user: String,
        password: Secret,
    },
    /// A refresh token that a token server gave, for which it gives tokens (docker's `identitytoken`).
    Identity {
        user: String,
        token: Secret,
    },
    /// A token that the registry itself takes (docker's `registrytoken`).
    Registry(Secret),
}

impl Credentials {
    /// The user's name, empty where only a token is known.
    pub fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } | Self::Identity { user, .. } => user,
            Self::Registry(_) => "",
        }
    }
}

/// `Authorization` of basic authentication (RFC 7617).
pub fn basic(user: &str, password: &Secret) -> String {
    format!("Basic {}", encode(user, password))
}

/// `user:password` in base64, for headers and for docker's config.json.
pub fn encode(user: &str, password: &Secret) -> String {
    STANDARD.encode(format!("{user}:{}", password.reveal()))
}

/// The other way round. Old docker clients padded with NUL.
pub fn decode(text: &str) -> Option<(String, Secret)> {
    let decoded = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), Secret::new(password.trim_matches('\0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_survive_base64() {
        let password = Secret::new("pass:wörd\"");
        assert_eq!(decode(&encode("jim", &password)), Some(("jim".into(), password)));
        assert_eq!(basic("Aladdin", &Secret::new("open sesame")), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(decode(&STANDARD.encode("a:b\0\0")), Some(("a".into(), Secret::new("b"))));
        for broken in ["", "amlt", "#", "/w=="] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn debug_output_tells_no_secret() {
        let credentials = Credentials::Password { user: "jim".into(), password: Secret::new("geheim") };
        assert!(!format!("{credentials:?}").contains("geheim"));
    }
}
