//! Ids and names of containers.

use std::io::Read;

/// Two words and, from the second try on, a number: names people can say.
const FIRST: [&str; 32] = [
    "amber", "bold", "brave", "brisk", "calm", "clear", "coral", "deft", "eager", "fair", "fleet", "gentle",
    "golden", "hardy", "jolly", "keen", "lively", "lucid", "merry", "mild", "noble", "plucky", "quick",
    "quiet", "rapid", "serene", "sharp", "silver", "steady", "sunny", "swift", "tidal",
];
const SECOND: [&str; 32] = [
    "anchor", "beacon", "bosun", "bow", "brig", "buoy", "captain", "clipper", "compass", "cutter", "deck",
    "dinghy", "ferry", "fjord", "galley", "gull", "harbour", "helm", "jetty", "keel", "ketch", "lagoon",
    "lantern", "mast", "pilot", "quay", "reef", "rudder", "sail", "schooner", "sloop", "tern",
];

/// 64 random hexadecimal digits.
pub fn new_id() -> std::io::Result<String> {
    let mut bytes = [0u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The name a container gets when none is asked for; each `attempt` gives another.
pub fn generate(id: &str, attempt: usize) -> String {
    let digit = |index: usize| {
        let digits = id.get(index * 4..index * 4 + 4).unwrap_or("0");
        usize::from_str_radix(digits, 16).unwrap_or(0)
    };
    let first = FIRST[digit(attempt % 8) % FIRST.len()];
    let second = SECOND[digit(attempt % 8 + 8) % SECOND.len()];
    if attempt == 0 {
        format!("{first}_{second}")
    } else {
        format!("{first}_{second}{}", digit(attempt % 16))
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a container name; names are [a-zA-Z0-9][a-zA-Z0-9_.-]+, at most 128 characters")]
pub struct BadName(String);

/// Docker's grammar for names.
pub fn check(name: &str) -> Result<(), BadName> {
    let mut bytes = name.bytes();
    let sound = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && (2..=128).contains(&name.len())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if sound { Ok(()) } else { Err(BadName(name.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_names_follow_docker_grammar() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 64);
        for attempt in 0..40 {
            assert_eq!(check(&generate(&one, attempt)), Ok(()));
        }
        assert_ne!(generate(&one, 0), generate(&one, 1));
        for bad in ["", "a", "-a", "a b", "a/b", &"a".repeat(129)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
