//! What no endpoint and no network explains any more: left by a supervisor that was killed.

use super::device::{Devices, Result};

impl Devices {
    /// Removes the devices of this instance but those that `stays` knows by their names; says which.
    /// Without taps of machines that run, which would have lost their rows: those end with their machine.
    pub fn sweep(&mut self, stays: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for link in self.route.links()? {
            if link.alias.as_deref() == Some(&self.alias)
                && is_ours(&link.name)
                && !stays(&link.name)
                && self.route.delete_link(&link.name)?
            {
                removed.push(link.name);
            }
        }
        Ok(removed)
    }
}

/// The names that [`super::bridge_name`], [`super::port_name`] and [`super::Instance::default_bridge`] give.
fn is_ours(name: &str) -> bool {
    ["hull0", "hl", "hv"].iter().any(|prefix| name.starts_with(prefix))
}
