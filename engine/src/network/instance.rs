//! Several stores on one machine have networks of their own, so what they make in the kernel has to be told
//! apart.

use std::path::Path;

use sha2::{Digest, Sha256};

/// The store whose networks these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Nothing for the system's own store, else six hexadecimal digits of its root's name.
    suffix: String,
}

impl Instance {
    pub fn of_root(root: &Path) -> Instance {
        if root == Path::new("/var/lib/hull") {
            return Instance { suffix: String::new() };
        }
        let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let digits: String = hash.iter().take(3).map(|byte| format!("{byte:02x}")).collect();
        Instance { suffix: format!("-{digits}") }
    }

    /// Of the nftables tables, in both families.
    pub fn table(&self) -> String {
        format!("hull{}", self.suffix)
    }

    /// Of the default network's bridge.
    pub fn default_bridge(&self) -> String {
        format!("hull0{}", self.suffix)
    }

    /// What every device of the store says of itself (ifalias), for sweeps to find.
    pub fn alias(&self) -> String {
        format!("hull{}", self.suffix)
    }
}

/// A user network's bridge.
pub fn bridge_name(network: &str) -> String {
    format!("hl{}", network.get(..12).unwrap_or(network))
}

/// The host's end of an endpoint, tap or veth.
pub fn port_name(endpoint: &str) -> String {
    format!("hv{}", endpoint.get(..12).unwrap_or(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_a_device_name_and_differ_between_stores() {
        let (system, other) =
            (Instance::of_root(Path::new("/var/lib/hull")), Instance::of_root(Path::new("/x")));
        assert_eq!((system.table().as_str(), system.default_bridge().as_str()), ("hull", "hull0"));
        assert_ne!(system.table(), other.table());
        let id = "0123456789abcdef".repeat(4);
        for name in [other.default_bridge(), bridge_name(&id), port_name(&id)] {
            assert!(name.len() <= 15, "{name}");
        }
    }
}
