//! What can be wrong with what is asked of networks.

use std::io;

use super::host::HostError;
use super::ipam::IpamError;
use super::pools::PoolError;
use super::ports::PortError;
use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Ipam(#[from] IpamError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("Failed to relay published ports")]
    Relay(#[source] io::Error),
    #[error("Failed to read /dev/urandom")]
    Random(#[source] io::Error),
    #[error(
        "conflicting options: --network {0} goes with no other network, and is nothing to be connected to"
    )]
    NotAlone(String),
    #[error("network {0:?} is specified multiple times")]
    Twice(String),
    #[error("A container can be on {0} networks at most")]
    TooMany(u8),
    #[error("conflicting options: {what} and --network {network}")]
    Conflict { what: &'static str, network: String },
    #[error(
        "--network host is the host's own network, and this container would run in a virtual machine, which \
         cannot be in it: run it with --isolation namespace, or publish its ports (-p)"
    )]
    HostNeedsNamespace,
    #[error(
        "Network {0} has the driver macvlan, which reaches no virtual machine: run the container with \
         --isolation namespace, or use a network with the driver bridge"
    )]
    MacvlanNeedsNamespace(String),
    #[error("user specified IP address is supported on user defined networks only")]
    AddressNeedsUserNetwork,
    #[error(
        "user specified IP address is supported only when connecting to networks with user configured \
         subnets, and network {0} has none of that family (hull network create --subnet)"
    )]
    AddressNeedsSubnet(String),
    #[error("network-scoped aliases are only supported for user-defined networks")]
    AliasNeedsUserNetwork,
    #[error("--network-opt is for virtual machines, and this container would run in host namespaces")]
    RatesNeedVm,
    #[error("Cannot link to {0}, as it does not belong to the default network")]
    LinkElsewhere(String),
}
