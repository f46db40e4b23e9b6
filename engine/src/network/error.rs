//! What can be wrong with what is asked of networks.

use std::io;

use hull_guest::protocol::Prefix;

use super::host::HostError;
use super::ipam::IpamError;
use super::model::Driver;
use super::pools::PoolError;
use super::ports::PortError;
use crate::container::config::UnreadableConfig;
use crate::format::filter::FilterError;
use crate::store;
use crate::supervisor::client::ClientError;

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
    #[error(
        "--egress is not enforced on network {0}, which has the driver macvlan: use one with the driver bridge"
    )]
    EgressNeedsBridge(String),
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
    #[error("operation is not permitted on predefined {0} network")]
    Predefined(String),
    #[error(
        "\"{0}\" is not a name for a network; names are [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 128 characters"
    )]
    Name(String),
    #[error("only one instance of \"{0}\" network is allowed")]
    OneOnly(Driver),
    #[error("There is no network driver \"{0}\"; there are bridge and macvlan")]
    Driver(String),
    #[error("Invalid subnet {0}, which is to be like 172.20.0.0/16 or fd00:1::/64")]
    Subnet(String),
    #[error("Subnet {0} is of IPv6, which needs --ipv6")]
    NeedsIpv6(Prefix),
    #[error("A network has one subnet of IPv4 and one of IPv6 at most")]
    SeveralSubnets,
    #[error("every ip-range or gateway must have a corresponding subnet")]
    NeedsSubnet,
    #[error("no matching subnet for {what} {word}")]
    NoMatchingSubnet { what: &'static str, word: String },
    #[error("cannot configure multiple {what} on the same subnet ({subnet})")]
    Several { what: &'static str, subnet: Prefix },
    #[error("-o {name}={value}: {why}")]
    Option { name: String, value: String, why: String },
    #[error("A macvlan network needs a device of the host's: -o parent=DEVICE")]
    NeedsParent,
    #[error("{0} is a pre-defined network and cannot be removed")]
    CannotRemove(String),
    #[error("container cannot be disconnected from host network or connected to host network")]
    HostNetwork,
    #[error(
        "container sharing network namespace with another container or host cannot be connected to any other \
         network"
    )]
    Shared,
    #[error("{container} is in pod {pod}, whose network it shares: connect or disconnect the pod")]
    PodMember { container: String, pod: String },
    #[error(
        "container cannot be connected to multiple networks with one of the networks in private (none) mode"
    )]
    Private,
    #[error("{0} runs without a network; stop it first")]
    RunsAlone(String),
    #[error("container {container} is not connected to network {network}")]
    NotConnected { container: String, network: String },
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("{0}")]
    Until(String),
    #[error(transparent)]
    Config(#[from] UnreadableConfig),
    #[error(transparent)]
    Client(#[from] ClientError),
}
