//! What a refused packet was about to reach: its headers, as far as they are there.

use std::net::IpAddr;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
/// Headers between that of IPv6 and the transport's (RFC 8200, 4).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// More of them than any honest packet has.
const MOST_HEADERS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Destination {
    pub address: IpAddr,
    /// IANA's number.
    pub protocol: u8,
    /// Of TCP, UDP and SCTP, in a packet's first fragment.
    pub port: Option<u16>,
}

impl Destination {
    /// Of the bytes of a packet of IPv4 or IPv6. None: it is none, or its headers are not whole.
    pub fn read(packet: &[u8]) -> Option<Destination> {
        match packet.first()? >> 4 {
            4 => read_v4(packet),
            6 => read_v6(packet),
            _ => None,
        }
    }

    pub fn protocol_name(&self) -> String {
        match self.protocol {
            1 => "icmp".to_owned(),
            TCP => "tcp".to_owned(),
            UDP => "udp".to_owned(),
            58 => "icmpv6".to_owned(),
            SCTP => "sctp".to_owned(),
            number => number.to_string(),
        }
    }
}

/// RFC 791, 3.1
fn read_v4(packet: &[u8]) -> Option<Destination> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let length = usize::from(header[0] & 0xf) * 4;
    let first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    let address = IpAddr::from([header[16], header[17], header[18], header[19]]);
    let rest = packet.get(length.max(20)..).filter(|_| first);
    Some(Destination { address, protocol: header[9], port: port(header[9], rest) })
}

/// RFC 8200, 3 and 4
fn read_v6(packet: &[u8]) -> Option<Destination> {
    let (header, mut rest) = packet.split_first_chunk::<40>()?;
    let address: [u8; 16] = *header.get(24..40)?.first_chunk()?;
    let (mut next, mut first) = (header[6], true);
    for _ in 0..MOST_HEADERS {
        let length = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(*rest.get(1)?) + 1) * 8,
            FRAGMENT => {
                let offset = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]) & 0xfff8;
                first &= offset == 0;
                8
            }
            _ => break,
        };
        next = *rest.first()?;
        rest = rest.get(length..)?;
    }
    let port = port(next, Some(rest).filter(|_| first));
    Some(Destination { address: address.into(), protocol: next, port })
}

fn port(protocol: u8, transport: Option<&[u8]>) -> Option<u16> {
    let ports: &[u8; 4] = transport?.first_chunk()?;
    matches!(protocol, TCP | UDP | SCTP).then(|| u16::from_be_bytes([ports[2], ports[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment: u16, options: usize) -> Vec<u8> {
        let mut packet = vec![0; 20 + options];
        packet[0] = 0x40 | u8::try_from(packet.len() / 4).unwrap();
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[9] = protocol;
        packet[16..20].copy_from_slice(&[192, 0, 2, 1]);
        packet.extend([0x12, 0x34, 1, 187, 0, 0]);
        packet
    }

    fn v6(headers: &[&[u8]], first: u8) -> Vec<u8> {
        let mut packet = vec![0; 40];
        (packet[0], packet[6], packet[39]) = (0x60, first, 7);
        headers.iter().for_each(|header| packet.extend(*header));
        packet.extend([0x12, 0x34, 1, 187]);
        packet
    }

    fn shown(packet: &[u8]) -> Option<String> {
        Destination::read(packet).map(|it| format!("{} {} {:?}", it.address, it.protocol_name(), it.port))
    }

    #[test]
    fn destinations_of_both_families_are_read() {
        assert_eq!(shown(&v4(6, 0, 0)).unwrap(), "192.0.2.1 tcp Some(443)");
        assert_eq!(shown(&v4(17, 0x4000, 8)).unwrap(), "192.0.2.1 udp Some(443)");
        assert_eq!(shown(&v4(6, 3, 0)).unwrap(), "192.0.2.1 tcp None");
        assert_eq!(shown(&v4(1, 0, 0)).unwrap(), "192.0.2.1 icmp None");
        assert_eq!(shown(&v4(99, 0, 0)).unwrap(), "192.0.2.1 99 None");
        assert_eq!(shown(&v6(&[], 6)).unwrap(), "::7 tcp Some(443)");
        let (options, fragment) = ([60, 0, 0, 0, 0, 0, 0, 0], [17, 0, 0, 1, 0, 0, 0, 0]);
        let padded = [6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(shown(&v6(&[&options, &padded], 0)).unwrap(), "::7 tcp Some(443)");
        assert_eq!(shown(&v6(&[&fragment], 44)).unwrap(), "::7 udp Some(443)");
        let later = [17, 0, 0, 8, 0, 0, 0, 0];
        assert_eq!(shown(&v6(&[&later], 44)).unwrap(), "::7 udp None");
    }

    #[test]
    fn packets_that_are_cut_anywhere_are_read_as_far_as_they_go() {
        for whole in [v4(6, 0, 12), v6(&[&[60, 0, 0, 0, 0, 0, 0, 0], &[6, 0, 0, 0, 0, 0, 0, 0]], 0)] {
            for length in 0..whole.len() {
                let _ = Destination::read(&whole[..length]);
            }
        }
        let mut endless = v6(&[&[0; 80]], 0);
        assert_eq!(shown(&endless).unwrap(), "::7 0 None");
        endless[41] = 255;
        assert_eq!(shown(&endless), None);
        for noise in [&[][..], &[0x45], &[0x40; 20], &[0x4f; 20], &[0x60; 40], &[0xff; 100]] {
            let _ = Destination::read(noise);
        }
    }
}
