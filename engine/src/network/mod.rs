//! Networks: what connects sandboxes with each other, with the host and with the outside.
//!
//! A sandbox has one network namespace, which its containers share, and an *endpoint* on each network it is
//! connected to: a tap (virtual machine) or veth (namespaces) on the network's bridge. The supervisor owns the
//! host's side of it: its privileged thread makes endpoints when the sandbox comes up and takes them back when
//! it ends; what a killed one leaves is taken back by whoever sweeps after it. What happens inside the
//! namespace is the agent's affair, which is told by [`hull_guest::protocol::NetworkConfig`].
//!
//! ```text
//!   networks, endpoints (database) ── up ──► addresses, bridge, tap or veth, nftables
//!                                              │
//!   supervisor ── Interface, tap ──► agent, VMM ┘
//! ```
//!
//! Changes of the host's network are made one at a time, under `<run>/network.lock`.

mod attach;
pub mod bridge;
pub mod catalog;
pub mod create;
pub mod device;
pub mod dns;
pub mod egress;
mod error;
pub mod firewall;
pub mod foreign;
pub mod host;
pub mod inspect;
mod instance;
pub mod ipam;
pub mod membership;
pub mod model;
pub mod options;
pub mod place;
pub mod pools;
pub mod ports;
mod routes;
mod sweep;
pub mod sysctl;
mod tap;
mod veth;

pub use attach::{
    Attached, Endpoint, Plug, connect, device_mac, devices, disconnect, down, open, positions, sweep, up,
};
pub use error::NetworkError;
pub use host::Side;
pub use instance::{Instance, bridge_name, port_name};
pub use place::Place;
pub use routes::{host_leads_outside, host_prefixes};
