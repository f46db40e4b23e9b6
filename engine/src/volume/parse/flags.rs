//! The words behind the last colon of `-v`.

use hull_guest::protocol::Propagation;

/// At most one word of each kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub readonly: bool,
    pub propagation: Option<Propagation>,
    pub nocopy: bool,
}

/// None: it is not one of docker's modes.
pub fn parse(mode: &str) -> Option<Flags> {
    let mut flags = Flags::default();
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
            _ => flags.propagation.replace(propagation(word)?).is_some(),
        };
        if again {
            return None;
        }
    }
    Some(flags)
}

/// With or without the `r`: what is mounted below the source is always as the source is.
pub fn propagation(word: &str) -> Option<Propagation> {
    match word {
        "private" | "rprivate" => Some(Propagation::Private),
        "slave" | "rslave" => Some(Propagation::Slave),
        "shared" | "rshared" => Some(Propagation::Shared),
        _ => None,
    }
}

/// Docker's word.
pub fn word(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Private => "rprivate",
        Propagation::Slave => "rslave",
        Propagation::Shared => "rshared",
    }
}
