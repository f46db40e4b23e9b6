//! Real taps, in a network namespace that the test makes. They need root and /dev/net/tun.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs in a thread that has a network namespace of its own; not at all where that cannot be had.
fn in_network(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let is_possible = unshare(CloneFlags::CLONE_NEWNET).is_ok()
                && File::options().read(true).write(true).open("/dev/net/tun").is_ok();
            match is_possible {
                true => test(),
                false => eprintln!("skipped: needs root and /dev/net/tun"),
            }
        });
        thread.join().unwrap();
    });
}

fn request() -> libc::ifreq {
    // SAFETY: all fields of ifreq may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"tap0") {
        *to = from.cast_signed();
    }
    request
}

fn tap(flags: libc::c_int) -> File {
    let tap = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = request();
    request.ifr_ifru.ifru_flags = (u16::try_from(flags).unwrap()).cast_signed();
    // SAFETY: TUNSETIFF reads a struct ifreq, which lives as long as the call.
    assert_eq!(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }, 0);
    tap
}

fn socket(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> OwnedFd {
    // SAFETY: takes numbers only; what comes back is a new descriptor, or negative.
    let fd = unsafe { libc::socket(domain, kind, protocol) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: just made, for us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Sets flags, or an address, of tap0.
fn set(what: libc::Ioctl, request: &libc::ifreq) {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
    // SAFETY: the calls in use here read a struct ifreq, which lives as long as the call.
    assert_eq!(unsafe { libc::ioctl(socket.as_raw_fd(), what, request) }, 0);
}

/// Gives tap0 the address 10.9.8.1/8 and brings it up.
fn bring_up() {
    let mut address = request();
    // SAFETY: an address of IPv4 is smaller than the field that it is written to.
    unsafe {
        let inet = (&raw mut address.ifr_ifru.ifru_addr).cast::<libc::sockaddr_in>();
        (*inet).sin_family = u16::try_from(libc::AF_INET).unwrap();
        (*inet).sin_addr.s_addr = u32::from_ne_bytes([10, 9, 8, 1]);
    }
    set(libc::SIOCSIFADDR, &address);
    let mut flags = request();
    flags.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap();
    set(libc::SIOCSIFFLAGS, &flags);
}

const FLAGS: libc::c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

fn connected_tap() -> (Driver, NetHandle) {
    let (net, handle) = device();
    handle.plug(tap(FLAGS), &NONE).unwrap();
    bring_up();
    let mut driver = Driver::started(Box::new(net));
    driver.wait_interrupt();
    for _ in 0..3 {
        add_buffers(&mut driver);
    }
    (driver, handle)
}

/// From 10.9.8.2 port 7 to 10.9.8.1, with the checksum left to the host.
fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    let udp_len = u16::try_from(8 + payload.len()).unwrap();
    let mut packet = vec![0; HEADER];
    // Checksum wanted, from the start of UDP's header, at its 6th byte.
    packet[0] = 1;
    packet[6] = 34;
    packet[8] = 6;
    packet.extend([0xff; 6]);
    packet.extend(MAC);
    packet.extend([8, 0]);
    let mut ip = vec![0x45, 0];
    ip.extend((20 + udp_len).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 8, 2, 10, 9, 8, 1]);
    let sum = fold(ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum());
    ip[10..12].copy_from_slice(&(!sum).to_be_bytes());
    packet.extend(ip);
    packet.extend([0, 7]);
    packet.extend(port.to_be_bytes());
    packet.extend(udp_len.to_be_bytes());
    // The sum of the pseudo header: addresses, protocol, length.
    let pseudo = 2 * 0x0a09 + 0x0802 + 0x0801 + 17 + u32::from(udp_len);
    packet.extend(fold(pseudo).to_be_bytes());
    packet.extend(payload);
    packet
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap()
}

#[test]
fn datagrams_of_a_guest_reach_sockets_of_the_host_and_bad_ones_nobody() {
    in_network(|| {
        let (mut driver, _handle) = connected_tap();
        let socket = UdpSocket::bind("10.9.8.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut bad = datagram(port, b"bad");
        // A kind of segments that does not exist.
        bad[1] = 0x33;
        send(&mut driver, &bad);
        // Segments of TCP, without a checksum, without a size.
        bad[..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        send(&mut driver, &bad);
        // A checksum far behind the end; a header longer than the packet.
        bad[..HEADER].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        send(&mut driver, &bad);
        bad[..HEADER].copy_from_slice(&[0, 1, 0xff, 0xff, 9, 0, 0, 0, 0, 0, 0, 0]);
        send(&mut driver, &bad);
        send(&mut driver, &datagram(port, b"good"));
        let mut data = [0; 100];
        assert_eq!(socket.recv(&mut data).unwrap(), 4);
        assert_eq!(&data[..4], b"good");
    });
}

#[test]
fn packets_of_the_host_reach_the_guest() {
    in_network(|| {
        let (mut driver, handle) = connected_tap();
        let socket = UdpSocket::bind("10.9.8.1:0").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"to the guest", "10.255.255.255:9").unwrap();
        // Among what a host says by itself when an interface comes up.
        loop {
            let packet = receive(&mut driver);
            assert_eq!(packet[NUM_BUFFERS..HEADER], [1, 0]);
            if packet.ends_with(b"to the guest") {
                break;
            }
        }
        handle.unplug().unwrap();
        assert!(socket.send_to(b"", "10.255.255.255:9").is_err(), "the interface went with its only user");
    });
}

#[test]
fn taps_of_another_kind_are_refused() {
    for flags in [libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR, libc::IFF_TAP | libc::IFF_NO_PI] {
        in_network(|| {
            let (_net, handle) = device();
            let error = handle.plug(tap(flags), &NONE).unwrap_err();
            assert!(matches!(error, PlugError::Tap(TapError::Flags(_))), "{error}");
        });
    }
    in_network(|| {
        let (_net, handle) = device();
        let unbound = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
        let error = handle.plug(unbound, &NONE).unwrap_err();
        assert!(matches!(error, PlugError::Tap(TapError::NotATap(_))), "{error}");
    });
}

#[test]
fn an_interface_that_the_host_deletes_is_a_cable_that_leads_nowhere() {
    in_network(|| {
        let (mut driver, handle) = connected_tap();
        // A process of the thread is in its network namespace.
        match std::process::Command::new("ip").args(["link", "del", "tap0"]).status() {
            Ok(status) => assert!(status.success()),
            Err(error) => return eprintln!("skipped: ip: {error}"),
        }
        wait_config_change(&mut driver);
        assert_eq!((status(&mut driver), handle.is_up()), (0, false));
        send(&mut driver, &datagram(9, b"lost"));
        assert!(driver.failure.cause().is_none(), "the machine goes on");
        handle.unplug().unwrap();
        let far = plug(&handle);
        wait_config_change(&mut driver);
        send(&mut driver, &packet(1, 60));
        assert_eq!(far.receive(), packet(1, 60));
    });
}
