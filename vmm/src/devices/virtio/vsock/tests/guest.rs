//! The guest's side of the socket device, packet by packet.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::devices::virtio::driver::{Buffer, Driver};
use crate::devices::virtio::vsock::packet::{
    HEADER_BYTES, Header, Op, SHUTDOWN_BOTH, SHUTDOWN_SEND, TYPE_STREAM,
};
use crate::devices::virtio::vsock::{HOST_CID, READY_PORT, Vsock};

pub const CID: u64 = 3;
pub const RX: usize = 0;
pub const TX: usize = 1;
/// Bytes of a receive buffer, as Linux has them.
const BUFFER: u32 = 4096;
const BUFFERS: usize = 64;
/// Bytes the guest takes from a client before it says more.
pub const WINDOW: u32 = 256 * 1024;

/// A connection, as the guest sees it.
pub struct Peer {
    pub host_port: u32,
    pub port: u32,
    /// What the device said when it opened the connection.
    pub request: Header,
}

pub struct Guest {
    pub driver: Driver,
    pub path: PathBuf,
    /// What every packet of the guest announces.
    pub fwd_cnt: u32,
    pub buf_alloc: u32,
    /// Receive buffers are given back as soon as they were read.
    pub refill: bool,
    sent: u32,
    /// What the device has forwarded of it.
    forwarded: u32,
    _folder: tempfile::TempDir,
}

/// A client that has written its line.
pub fn connect(path: &Path, line: &[u8]) -> UnixStream {
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    // Fails if the device has closed already, which the caller will see.
    let _ = client.write_all(line);
    client
}

/// One line, byte by byte.
pub fn line_of(client: &mut UnixStream) -> String {
    let mut line = String::new();
    while !line.ends_with('\n') {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("the device closed the connection");
        line.push(byte[0].into());
    }
    line
}

/// All bytes up to EOF.
pub fn end_of(client: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        // Closed with bytes of ours unread.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("no end came: {error}"),
    }
}

impl Guest {
    /// The machine is on, the driver is not up.
    pub fn off() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vsock.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let device = Vsock::new(u32::try_from(CID).unwrap(), listener);
        let driver = Driver::new(Box::new(device));
        Self {
            driver,
            path,
            fwd_cnt: 0,
            buf_alloc: WINDOW,
            refill: true,
            sent: 0,
            forwarded: 0,
            _folder: folder,
        }
    }

    /// The driver is up; nobody listens.
    pub fn silent() -> Self {
        let mut guest = Self::off();
        guest.restart();
        guest
    }

    /// The doorbell was rung.
    pub fn listening() -> Self {
        let mut guest = Self::silent();
        guest.ring();
        guest
    }

    /// The guest reboots.
    pub fn restart(&mut self) {
        self.driver.start();
        (self.fwd_cnt, self.sent, self.forwarded) = (0, 0, 0);
        self.add_buffers(BUFFERS);
    }

    pub fn add_buffers(&mut self, count: usize) {
        for _ in 0..count {
            self.driver.add(RX, &[Buffer::In(BUFFER)]);
        }
        self.driver.kick(RX);
    }

    /// A client that wrote `line`.
    pub fn client(&mut self, line: &[u8]) -> UnixStream {
        connect(&self.path, line)
    }

    pub fn ring(&mut self) {
        self.send(Op::Request, 5, READY_PORT, 0, &[]);
        let reset = self.receive_op(Op::Reset);
        assert_eq!((reset.src_port, reset.dst_port), (READY_PORT, 5));
    }

    /// Makes sure that the device has seen what clients did up to now: it answers a question behind it.
    pub fn settle(&mut self) {
        let mut probe = connect(&self.path, b"bad line\n");
        assert_eq!(end_of(&mut probe), b"");
    }

    pub fn header(&self, op: Op, src_port: u32, dst_port: u32, flags: u32, len: u32) -> Header {
        Header {
            src_cid: CID,
            dst_cid: HOST_CID,
            src_port,
            dst_port,
            len,
            kind: TYPE_STREAM,
            op: Some(op),
            flags,
            buf_alloc: self.buf_alloc,
            fwd_cnt: self.fwd_cnt,
        }
    }

    /// Sends raw bytes, and waits until the device has taken them.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.driver.request(TX, &[Buffer::Out(bytes)]);
    }

    pub fn send_packet(&mut self, header: &Header, data: &[u8]) {
        self.driver.request(TX, &[Buffer::Out(&header.bytes()), Buffer::Out(data)]);
    }

    pub fn send(&mut self, op: Op, src_port: u32, dst_port: u32, flags: u32, data: &[u8]) {
        let header = self.header(op, src_port, dst_port, flags, u32::try_from(data.len()).unwrap());
        if data.is_empty() {
            self.send_bytes(&header.bytes());
        } else {
            self.send_packet(&header, data);
        }
    }

    pub fn send_op(&mut self, peer: &Peer, op: Op, flags: u32) {
        self.send(op, peer.port, peer.host_port, flags, &[]);
    }

    pub fn send_data(&mut self, peer: &Peer, data: &[u8]) {
        self.sent = self.sent.wrapping_add(u32::try_from(data.len()).unwrap());
        self.send(Op::Data, peer.port, peer.host_port, 0, data);
    }

    /// Sends any number of bytes, within the credit.
    pub fn send_all(&mut self, peer: &Peer, mut data: &[u8]) {
        while !data.is_empty() {
            let credit = super::BUF_ALLOC - self.sent.wrapping_sub(self.forwarded);
            if credit == 0 {
                self.receive_op(Op::CreditUpdate);
                continue;
            }
            let count = data.len().min(usize::try_from(credit).unwrap());
            let (now, later) = data.split_at(count);
            self.send_data(peer, now);
            data = later;
        }
    }

    pub fn answer(&mut self, request: &Header, op: Op) {
        self.send(op, request.dst_port, request.src_port, 0, &[]);
    }

    pub fn try_receive(&mut self) -> Option<(Header, Vec<u8>)> {
        let used = self.driver.try_used(RX)?;
        Some(self.unpack(&used.data, used.len))
    }

    pub fn receive(&mut self) -> (Header, Vec<u8>) {
        let used = self.driver.wait_used(RX);
        self.unpack(&used.data, used.len)
    }

    fn unpack(&mut self, data: &[u8], len: u32) -> (Header, Vec<u8>) {
        let len = usize::try_from(len).unwrap();
        let header = Header::parse(data[..HEADER_BYTES].try_into().unwrap());
        assert_eq!((header.src_cid, header.dst_cid, header.kind), (HOST_CID, CID, TYPE_STREAM));
        assert_eq!(usize::try_from(header.len).unwrap(), len - HEADER_BYTES);
        if self.refill {
            self.add_buffers(1);
        }
        self.forwarded = if header.op == Some(Op::Reset) { self.forwarded } else { header.fwd_cnt };
        (header, data[HEADER_BYTES..len].to_vec())
    }

    /// The next packet, which must be of this kind.
    pub fn receive_op(&mut self, op: Op) -> Header {
        let (header, _) = self.receive();
        assert_eq!(header.op, Some(op), "{header:?}");
        header
    }

    /// The next packet, which must be data for `peer`.
    pub fn receive_data(&mut self, peer: &Peer) -> Vec<u8> {
        let (header, data) = self.receive();
        assert_eq!((header.op, header.src_port), (Some(Op::Data), peer.host_port), "{header:?}");
        data
    }

    /// Everything up to the client's end, with credit for more as it comes in.
    pub fn receive_all(&mut self, peer: &Peer) -> Vec<u8> {
        self.receive_until(peer, SHUTDOWN_SEND)
    }

    /// Everything up to the end of the connection in both directions.
    pub fn receive_until_closed(&mut self, peer: &Peer) -> Vec<u8> {
        self.receive_until(peer, SHUTDOWN_BOTH)
    }

    fn receive_until(&mut self, peer: &Peer, flags: u32) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let (header, data) = self.receive();
            match header.op {
                Some(Op::Data) => all.extend(data),
                Some(Op::Shutdown) if header.flags & flags == flags => return all,
                Some(Op::Shutdown | Op::CreditUpdate) => {}
                other => panic!("{other:?} between data"),
            }
            let received = u32::try_from(all.len()).unwrap();
            if received.wrapping_sub(self.fwd_cnt) >= self.buf_alloc / 2 {
                self.fwd_cnt = received;
                self.send_op(peer, Op::CreditUpdate, 0);
            }
        }
    }

    /// Takes the next request, which must be for `port`.
    pub fn accept(&mut self, port: u32) -> Peer {
        let request = self.receive_op(Op::Request);
        assert_eq!(request.dst_port, port);
        (self.sent, self.forwarded) = (0, 0);
        self.answer(&request, Op::Response);
        Peer { host_port: request.src_port, port, request }
    }

    /// A connection, accepted and greeted.
    pub fn connection(&mut self) -> (UnixStream, Peer) {
        let mut client = self.client(b"CONNECT 52\n");
        let peer = self.accept(52);
        assert_eq!(line_of(&mut client), format!("OK {}\n", peer.host_port));
        (client, peer)
    }
}
