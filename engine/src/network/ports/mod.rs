//! Ports of a sandbox that others reach by an address of the host.
//!
//! Each is a socket of the supervisor's from before the sandbox starts until it ends, so that a port that is
//! taken fails the start, and nobody else takes it later. What comes from outside never meets that socket:
//! nftables passes it to the sandbox. The rest is relayed, from the host itself by a loopback address, where
//! the sandbox has no address of that family, and everything where hull runs without root.
//!
//! ```text
//!   outside ───────── nftables ──────────► container
//!   the host itself ─ socket ─ relay ────► container
//! ```

pub mod bind;
pub mod parse;
pub mod relay;
pub mod show;
mod socket;

use std::net::{IpAddr, SocketAddr};

use crate::network::model::Port;
use crate::store;

pub use bind::{Bound, bind};
pub use relay::{Relay, Work};

#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("Bind for {at} failed: port is already allocated{}", told(.holder.as_deref()))]
    Taken { at: SocketAddr, holder: Option<String> },
    #[error("Bind for {address}:{first}-{last} failed: all ports are allocated")]
    AllTaken { address: IpAddr, first: u16, last: u16 },
    #[error(
        "Bind for {0} failed: such a low port takes root, or sysctl net.ipv4.ip_unprivileged_port_start={port}",
        port = .0.port()
    )]
    Privileged(SocketAddr),
    #[error("Bind for {0} failed: this host has no such address")]
    NoAddress(SocketAddr),
    #[error("Bind for {at} failed")]
    Bind { at: SocketAddr, source: std::io::Error },
    #[error("SCTP ports cannot be published, only TCP and UDP: {0}")]
    Sctp(Port),
    #[error("More than {} ports cannot be published", parse::MOST)]
    TooMany,
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn told(holder: Option<&str>) -> String {
    holder.map(|holder| format!(" (by {holder})")).unwrap_or_default()
}
