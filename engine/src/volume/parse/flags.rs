//! The words behind the last colon of `-v`.

use hull_guest::protocol::Propagation;

/// At most one word of each kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub readonly: bool,
    pub propagation: Option<Propagation>,
    /// Whether what is mounted below the source comes along: the `r` of a propagation, and without one.
    pub recursive: bool,
    pub nocopy: bool,
}

/// None: it is not one of docker's modes.
pub fn parse(mode: &str) -> Option<Flags> {
    let mut flags = Flags { recursive: true, ..Flags::default() };
    let (mut access, mut label, mut consistency) = (false, false, false);
    if mode.is_empty() {
        return Some(flags);
    }
    for word in mode.split(',') {
        let again = match word {
            "rw" | "ro" => {
                flags.readonly = word == "ro";
                std::mem::replace(&mut access, true)
            }
            // SELinux labels, which containers here do not have: any process of theirs may use any label.
            "z" | "Z" => std::mem::replace(&mut label, true),
            // How a virtual machine may cache, of docker on other systems; here it sees each change at once.
            "consistent" | "cached" | "delegated" | "default" => std::mem::replace(&mut consistency, true),
            "nocopy" => std::mem::replace(&mut flags.nocopy, true),
            _ => {
                let (propagation, recursive) = propagation(word)?;
                flags.recursive = recursive;
                flags.propagation.replace(propagation).is_some()
            }
        };
        if again {
            return None;
        }
    }
    Some(flags)
}

/// A propagation, and whether the bind is recursive.
pub fn propagation(word: &str) -> Option<(Propagation, bool)> {
    let (word, recursive) = match word.strip_prefix('r') {
        Some(rest) => (rest, true),
        None => (word, false),
    };
    let propagation = match word {
        "private" => Propagation::Private,
        "slave" => Propagation::Slave,
        "shared" => Propagation::Shared,
        _ => return None,
    };
    Some((propagation, recursive))
}

/// Docker's word.
pub fn word(propagation: Propagation, recursive: bool) -> &'static str {
    match (propagation, recursive) {
        (Propagation::Private, true) => "rprivate",
        (Propagation::Private, false) => "private",
        (Propagation::Slave, true) => "rslave",
        (Propagation::Slave, false) => "slave",
        (Propagation::Shared, true) => "rshared",
        (Propagation::Shared, false) => "shared",
    }
}
