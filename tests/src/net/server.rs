//! Servers that tell who asks: HTTP and UDP on the same port of one address.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

use crate::net::Namespace;

/// Ends when dropped, so that it does not hold its namespace.
pub struct Server {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Server {
    /// Answers `NAME to PEER\n`, over HTTP whatever is asked, over UDP with the datagram behind it.
    pub fn start(namespace: &Namespace, at: &str, name: &'static str) -> Server {
        let at: SocketAddr = at.parse().unwrap();
        let server = namespace
            .enter(|| Ok::<_, io::Error>(Server { tcp: TcpListener::bind(at)?, udp: UdpSocket::bind(at)? }));
        let server = server.unwrap_or_else(|e| panic!("{at}: {e}"));
        let (tcp, udp) = (server.tcp.try_clone().unwrap(), server.udp.try_clone().unwrap());
        std::thread::spawn(move || serve(&tcp, name));
        std::thread::spawn(move || echo(&udp, name));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for fd in [self.tcp.as_raw_fd(), self.udp.as_raw_fd()] {
            // SAFETY: no pointers. Wakes the thread that waits for it, also where it is not connected.
            unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
        }
    }
}

fn serve(listener: &TcpListener, name: &str) {
    while let Ok((mut stream, peer)) = listener.accept() {
        let name = name.to_owned();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream.try_clone()?).lines();
            while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
            write!(stream, "HTTP/1.0 200 OK\r\n\r\n{name} to {}\n", peer.ip())
        });
    }
}

fn echo(socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 1500];
    // Shut down, it reports datagrams of no bytes from nobody.
    while let Ok((length @ 1.., peer)) = socket.recv_from(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let _ = socket.send_to(format!("{name} to {}: {text}", peer.ip()).as_bytes(), peer);
    }
}
