//! Frames as a hostile guest may make them, and who gets to see them.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::network::place::Place;
use hull_guest::netlink::route::Rtnetlink;

pub const EVERYBODY: [u8; 6] = [0xff; 6];
pub const IP4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IP6: u16 = 0x86dd;

/// A socket that sends and sees whole frames at a device.
pub struct Raw(OwnedFd);

impl Raw {
    pub fn at(place: &Place, device: &str) -> Raw {
        place
            .enter(|| {
                let link = Rtnetlink::open().unwrap().link_by_name(device).unwrap().unwrap();
                let all = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
                // SAFETY: socket(2) takes numbers only, and the descriptor is nobody else's.
                let socket = unsafe {
                    let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, all.into());
                    assert!(fd >= 0);
                    OwnedFd::from_raw_fd(fd)
                };
                // SAFETY: a struct sockaddr_ll of zeros is one.
                let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
                address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
                address.sll_protocol = all;
                address.sll_ifindex = i32::try_from(link.index).unwrap();
                let size = u32::try_from(size_of_val(&address)).unwrap();
                // SAFETY: bind(2) reads the address, which lives through the call.
                let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
                assert_eq!(bound, 0);
                Raw(socket)
            })
            .unwrap()
    }

    /// Runts are refused here by the sending kernel.
    pub fn send(&self, frame: &[u8]) -> bool {
        nix::sys::socket::send(self.0.as_raw_fd(), frame, nix::sys::socket::MsgFlags::empty()).is_ok()
    }

    /// All that came in until a frame with the mark at its end.
    pub fn received_until(&self, mark: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let mut waiting =
                [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&self.0), nix::poll::PollFlags::POLLIN)];
            assert_eq!(nix::poll::poll(&mut waiting, 5000u16), Ok(1), "the last frame did not come");
            let mut buffer = vec![0; 4096];
            let length = nix::unistd::read(&self.0, &mut buffer).unwrap();
            buffer.truncate(length);
            if buffer.ends_with(mark) {
                return frames;
            }
            frames.push(buffer);
        }
    }
}

pub fn frame(to: [u8; 6], from: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &ethertype.to_be_bytes(), payload].concat()
}

pub fn udp4(from: &str, to: &str, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let (from, to): (std::net::Ipv4Addr, std::net::Ipv4Addr) = (from.parse().unwrap(), to.parse().unwrap());
    let udp = udp(ports, data);
    let length = u16::try_from(20 + udp.len()).unwrap().to_be_bytes();
    let mut header = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header[..], &udp].concat()
}

/// Without a checksum, which IPv4 allows.
pub fn udp(ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap().to_be_bytes();
    [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &length, &[0, 0], data].concat()
}

pub fn ip6(from: &str, to: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to): (std::net::Ipv6Addr, std::net::Ipv6Addr) = (from.parse().unwrap(), to.parse().unwrap());
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0, length[0], length[1], next, 255][..], &from.octets(), &to.octets(), payload].concat()
}

/// Type, and a body: the target's address for those of neighbours.
pub fn icmp6(kind: u8, target: &str, data: &[u8]) -> Vec<u8> {
    let target: std::net::Ipv6Addr = target.parse().unwrap();
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), data].concat()
}

pub fn arp(operation: u8, mac: [u8; 6], from: &str, about: &str) -> Vec<u8> {
    let (from, about): (std::net::Ipv4Addr, std::net::Ipv4Addr) =
        (from.parse().unwrap(), about.parse().unwrap());
    [&[0, 1, 8, 0, 6, 4, 0, operation][..], &mac, &from.octets(), &[0; 6], &about.octets()].concat()
}
