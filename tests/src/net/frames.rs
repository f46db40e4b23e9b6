//! Frames of hand, as `hull-frames` sends them: hexadecimal text.

use std::net::{Ipv4Addr, Ipv6Addr};

pub const EVERYBODY: [u8; 6] = [0xff; 6];

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `02:42:ac:11:00:02`
pub fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

pub fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// An 802.1Q tag behind the addresses.
pub fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    [&frame[..12], &0x8100u16.to_be_bytes(), &vlan.to_be_bytes(), &frame[12..]].concat()
}

/// RFC 826; operation 1 asks, 2 answers.
pub fn arp(operation: u16, sender: ([u8; 6], Ipv4Addr), target: ([u8; 6], Ipv4Addr)) -> Vec<u8> {
    let head = [&[0, 1, 8, 0, 6, 4][..], &operation.to_be_bytes()].concat();
    let body = [&sender.0[..], &sender.1.octets(), &target.0, &target.1.octets()].concat();
    let to = if operation == 1 { EVERYBODY } else { target.0 };
    ethernet(to, sender.0, ARP, &[head, body].concat())
}

/// Where a datagram says it is from, and where it goes.
#[derive(Clone, Copy)]
pub struct Path {
    pub from_mac: [u8; 6],
    pub to_mac: [u8; 6],
    pub from: Ipv4Addr,
    pub to: Ipv4Addr,
}

impl Path {
    pub fn udp(self, from_port: u16, to_port: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).unwrap();
        // No checksum, which IPv4 allows.
        let head = [from_port, to_port, length, 0].map(u16::to_be_bytes).concat();
        self.ip(17, &[head, payload.to_vec()].concat())
    }

    /// RFC 792: an echo request.
    pub fn ping(self) -> Vec<u8> {
        let mut message = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
        message.extend(b"hull");
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.ip(1, &message)
    }

    /// RFC 2131, as far as a listener looks: an offer from a server that there is none of.
    pub fn dhcp_offer(self) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[..4].copy_from_slice(&[2, 1, 6, 0]);
        message[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        message.extend([53, 1, 2, 255]);
        self.udp(67, 68, &message)
    }

    fn ip(self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let mut head = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
        head.extend(self.from.octets());
        head.extend(self.to.octets());
        let sum = checksum(&head);
        head[10..12].copy_from_slice(&sum.to_be_bytes());
        head.extend(payload);
        ethernet(self.to_mac, self.from_mac, IPV4, &head)
    }
}

/// RFC 4861, 4.2: whoever believes it routes by way of the sender, and has an address of 2001:db8:bad::/64.
pub fn router_advertisement(from_mac: [u8; 6]) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    // Prefix information: on link, for addresses (RFC 4861, 4.6.2).
    message.extend([3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0]);
    message.extend("2001:db8:bad::".parse::<Ipv6Addr>().unwrap().octets());
    icmp6(from_mac, [0x33, 0x33, 0, 0, 0, 1], "ff02::1".parse().unwrap(), message)
}

/// RFC 4861, 4.4: "`taken` is at my address", unasked, and to be believed over what is known.
pub fn neighbour_advertisement(from_mac: [u8; 6], taken: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(taken.octets());
    message.extend([2, 1]);
    message.extend(from_mac);
    icmp6(from_mac, [0x33, 0x33, 0, 0, 0, 1], "ff02::1".parse().unwrap(), message)
}

/// From the link-local address that the MAC makes (RFC 4291, appendix A).
fn icmp6(from_mac: [u8; 6], to_mac: [u8; 6], to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let [a, b, c, d, e, f] = from_mac;
    let from = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let pseudo = [&from[..], &to.octets(), &[0, 0, length[0], length[1], 0, 0, 0, 58], &message].concat();
    let sum = checksum(&pseudo);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let head = [&[0x60, 0, 0, 0, length[0], length[1], 58, 255][..], &from, &to.octets()].concat();
    ethernet(to_mac, from_mac, IPV6, &[head, message].concat())
}

/// RFC 1071
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
