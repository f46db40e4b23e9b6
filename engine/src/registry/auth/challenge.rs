//! What a registry asks for: the `WWW-Authenticate` headers of a 401 (RFC 9110, 11.6.1; RFC 6750, 3; the
//! distribution's token specification).

/// What is read of one header, and of all of a response's.
const MAX_HEADER: usize = 16 << 10;
const MAX_CHALLENGES: usize = 16;
const MAX_PARAMETERS: usize = 32;

/// A way to log in that hull knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token, to be had from the realm.
    Bearer {
        realm: String,
        service: Option<String>,
        /// Separated by spaces, as it came.
        scope: Option<String>,
    },
    /// User and password in each request.
    Basic,
}

impl Challenge {
    /// The one to answer, of a response's headers: a token where there is one to be had, since it keeps
    /// the password away from the registry. `None` where there is nothing that hull knows.
    pub fn choose<'h>(headers: impl IntoIterator<Item = &'h str>) -> Option<Self> {
        let mut raw = Vec::new();
        for header in headers {
            parse(header, &mut raw);
        }
        let bearer = raw.iter().find_map(|challenge| {
            let realm = challenge.get("bearer", "realm")?.to_owned();
            let own = |name| challenge.get("bearer", name).map(str::to_owned);
            Some(Self::Bearer { realm, service: own("service"), scope: own("scope") })
        });
        bearer.or_else(|| raw.iter().any(|challenge| challenge.scheme == "basic").then_some(Self::Basic))
    }
}

#[derive(Debug)]
struct Raw {
    /// In lower case, as the names of the parameters.
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Raw {
    fn get(&self, scheme: &str, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| self.scheme == scheme && key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Adds a header's challenges. What comes after something that has not their form is left out.
fn parse(header: &str, into: &mut Vec<Raw>) {
    if header.len() > MAX_HEADER {
        return;
    }
    let mut rest = Cursor(header);
    let known = into.len();
    loop {
        rest.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        let Some(word) = rest.token() else { return };
        rest.skip(is_space);
        if !rest.eat('=') {
            if into.len() == MAX_CHALLENGES {
                return;
            }
            into.push(Raw { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            continue;
        }
        // A parameter belongs to a scheme of this header. `abc==` is no parameter, but a token68.
        let Some(challenge) = into.get_mut(known..).and_then(<[_]>::last_mut) else { return };
        rest.skip(is_space);
        let value = match rest.0.bytes().next() {
            None | Some(b',') => continue,
            Some(b'=') => {
                rest.skip(|byte| byte == b'=');
                continue;
            }
            Some(b'"') => rest.quoted(),
            Some(_) => rest.token().map(str::to_owned),
        };
        let (Some(value), true) = (value, challenge.parameters.len() < MAX_PARAMETERS) else { return };
        challenge.parameters.push((word.to_ascii_lowercase(), value));
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// RFC 9110, 5.6.2; with the `/` of a token68 and of realms that servers forget to quote.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/:".contains(&byte)
}

struct Cursor<'t>(&'t str);

impl<'t> Cursor<'t> {
    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        self.0 = self.0.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(&skipped));
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.0.strip_prefix(wanted).inspect(|rest| self.0 = rest).is_some()
    }

    fn token(&mut self) -> Option<&'t str> {
        let end = self.0.bytes().position(|byte| !is_token(byte)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// A quoted string (RFC 9110, 5.6.4), its escapes resolved.
    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut characters = self.0.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = self.0.get(at + 1..)?;
                    return Some(value);
                }
                '\\' => value.push(characters.next()?.1),
                other => value.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: own(service), scope: own(scope) })
    }

    #[test]
    fn the_challenges_of_known_registries_are_understood() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="insufficient_scope""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            (r#"Basic realm="basic-realm""#, Some(Challenge::Basic)),
            ("BASIC", Some(Challenge::Basic)),
            (r#"bearer  Realm = "https://x/t" , SERVICE=y"#, bearer("https://x/t", Some("y"), None)),
            ("Bearer realm=https://x/t,service=y", bearer("https://x/t", Some("y"), None)),
            (r#"Basic realm="r", Bearer realm="https://x/t""#, bearer("https://x/t", None, None)),
            (r#"Negotiate abc==, NTLM, Basic realm="r""#, Some(Challenge::Basic)),
            (r#"Digest realm="r", nonce="x""#, None),
            (r#"Bearer realm="""#, None),
            ("Bearer", None),
            ("", None),
        ] {
            assert_eq!(Challenge::choose([header]), expected, "{header}");
        }
    }

    #[test]
    fn quotes_hold_commas_and_escapes() {
        let header = r#"Bearer service="a, Basic realm=\"b\"\\", realm="https://x""#;
        assert_eq!(Challenge::choose([header]), bearer("https://x", Some(r#"a, Basic realm="b"\"#), None));
    }

    #[test]
    fn a_token_is_preferred_over_all_headers() {
        let found = Challenge::choose([r#"Basic realm="r""#, r#"Bearer realm="https://x""#]);
        assert_eq!(found, bearer("https://x", None, None));
    }

    #[test]
    fn what_is_malformed_or_endless_ends_the_header() {
        for header in [
            r#"realm="https://x", Bearer"#,
            r#"Bearer realm="https://x"#,
            r#"Bearer realm="https://x\"#,
            "Bearer \u{fc}=1, realm=https://x",
        ] {
            assert_eq!(Challenge::choose([header]), None, "{header}");
        }
        // A parameter does not reach back into the header before.
        assert_eq!(Challenge::choose(["Bearer", r#"realm="https://x""#]), None);
        let many = format!("Bearer {}realm=x", "a=b,".repeat(MAX_PARAMETERS));
        assert_eq!(Challenge::choose([many.as_str()]), None);
        let long = format!("Basic, x=\"{}\"", "y".repeat(MAX_HEADER));
        assert_eq!(Challenge::choose([long.as_str()]), None);
        assert_eq!(Challenge::choose([format!("{}Basic", "a,".repeat(MAX_CHALLENGES)).as_str()]), None);
    }

    proptest! {
        #[test]
        fn no_header_upsets_the_parser(header in "\\PC{0,200}", tail in "[a-zA-Z =,\"\\\\]{0,200}") {
            let _ = Challenge::choose([header.as_str(), tail.as_str()]);
        }

        #[test]
        fn any_value_survives_quoting(value in "[ -~]{1,60}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer x=\"\", realm=\"{quoted}\", service=s");
            prop_assert_eq!(Challenge::choose([header.as_str()]), bearer(&value, Some("s"), None));
        }
    }
}
