//! Ethernet frames as they are, through packet(7), for cases that need a guest which sends what no honest one does.
//!
//!   hull-frames send DEVICE [COUNT] HEX...   each frame, COUNT times; says `sent N`, or which errors came
//!   hull-frames offload DEVICE HEX...        the same, each with a `struct virtio_net_hdr` in front of it
//!   hull-frames listen DEVICE                says `listening`, then each frame that arrives, until stdin ends

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// linux/if_packet.h
const PACKET_VNET_HDR: libc::c_int = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["send", device, count, ref frames @ ..] if count.parse::<u16>().is_ok() => {
            send(&open(device)?, count.parse()?, frames)
        }
        ["send", device, ref frames @ ..] => send(&open(device)?, 1, frames),
        ["offload", device, ref frames @ ..] => {
            let socket = open(device)?;
            set_option(&socket, PACKET_VNET_HDR, 1)?;
            send(&socket, 1, frames)
        }
        ["listen", device] => listen(&open(device)?),
        _ => Err("hull-frames send|offload|listen DEVICE [HEX...]".into()),
    }
}

/// All protocols of one device.
fn open(device: &str) -> Result<OwnedFd, Box<dyn Error>> {
    let all = u16::try_from(libc::ETH_P_ALL)?.to_be();
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, all.into()) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: a fresh descriptor that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zero is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_protocol = all;
    address.sll_ifindex = i32::try_from(nix::net::if_::if_nametoindex(device)?)?;
    let size = libc::socklen_t::try_from(size_of_val(&address))?;
    // SAFETY: the address is valid for the size given.
    let bound = unsafe { libc::bind(fd, (&raw const address).cast(), size) };
    if bound < 0 { Err(std::io::Error::last_os_error().into()) } else { Ok(socket) }
}

fn set_option(socket: &OwnedFd, option: libc::c_int, value: libc::c_int) -> Result<(), Box<dyn Error>> {
    let size = libc::socklen_t::try_from(size_of_val(&value))?;
    // SAFETY: the value is valid for the size given.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, (&raw const value).cast(), size)
    };
    if done < 0 { Err(std::io::Error::last_os_error().into()) } else { Ok(()) }
}

fn send(socket: &OwnedFd, count: u16, frames: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut answers = BTreeMap::<String, u32>::new();
    for frame in frames {
        let bytes = bytes(frame)?;
        for _ in 0..count {
            // SAFETY: the bytes are valid for their length.
            let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
            let answer =
                if sent < 0 { std::io::Error::last_os_error().to_string() } else { "sent".to_owned() };
            *answers.entry(answer).or_default() += 1;
        }
    }
    for (answer, count) in answers {
        println!("{answer} {count}");
    }
    Ok(())
}

fn listen(socket: &OwnedFd) -> Result<(), Box<dyn Error>> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut out = std::io::stdout();
    writeln!(out, "listening")?;
    out.flush()?;
    let mut buffer = vec![0u8; 65536];
    loop {
        // SAFETY: all zero is a value of it.
        let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
        let mut size = libc::socklen_t::try_from(size_of_val(&from))?;
        // SAFETY: buffer and address are valid for the sizes given.
        let length = unsafe {
            let (fd, from) = (socket.as_raw_fd(), (&raw mut from).cast());
            libc::recvfrom(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0, from, &raw mut size)
        };
        let length = usize::try_from(length).map_err(|_| std::io::Error::last_os_error())?;
        if from.sll_pkttype != libc::PACKET_OUTGOING {
            writeln!(out, "{}", hex(buffer.get(..length).unwrap_or_default()))?;
            out.flush()?;
        }
    }
}

fn bytes(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let byte = |at: usize| -> Result<u8, Box<dyn Error>> {
        Ok(u8::from_str_radix(hex.get(at..at + 2).ok_or("half a byte")?, 16)?)
    };
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
