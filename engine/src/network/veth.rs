//! Pairs of devices between a bridge and a sandbox's network namespace, and devices on a parent's link.

use std::os::fd::BorrowedFd;

use hull_guest::netlink::Errno;
use hull_guest::netlink::route::Veth;
use hull_guest::protocol::Mac;

use super::device::{Devices, Port, Result};

impl Devices {
    /// The peer is made right in the sandbox's namespace, down, with the address that the agent finds it by.
    pub fn add_veth(
        &mut self,
        port: &Port,
        peer_name: &str,
        peer_mac: Mac,
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let veth = Veth {
            name: port.name,
            mac: None,
            peer_name,
            peer_mac: Some(peer_mac),
            peer_netns: Some(netns),
            mtu: port.mtu,
        };
        match self.route.add_veth(&veth) {
            // Left of an earlier sandbox, which is ending; the device may have gone by itself by now.
            Err(error) if error.is(Errno::EXIST) => {
                self.route.delete_link(port.name)?;
                self.route.add_veth(&veth)?;
            }
            made => made?,
        }
        let joined = self.join(port);
        if joined.is_err() {
            let _ = self.route.delete_link(port.name);
        }
        joined
    }

    /// A device of its own on the link of `parent`, made in the sandbox's namespace. It ends with the
    /// namespace.
    pub fn add_macvlan(&mut self, name: &str, parent: &str, mac: Mac, netns: BorrowedFd<'_>) -> Result<()> {
        let parent = self.index(parent)?;
        Ok(self.route.add_macvlan(name, parent, Some(mac), Some(netns))?)
    }
}
