//! The header that every packet starts with (VirtIO 1.2, 5.10.6).

use vm_memory::{ByteValued, Le16, Le32, Le64};

pub const HEADER_BYTES: usize = 44;

/// VIRTIO_VSOCK_TYPE_STREAM.
pub const TYPE_STREAM: u16 = 1;

/// Flags of SHUTDOWN: the sender will receive, or send, nothing more.
pub const SHUTDOWN_RECEIVE: u32 = 1;
pub const SHUTDOWN_SEND: u32 = 2;
pub const SHUTDOWN_BOTH: u32 = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

/// struct virtio_vsock_hdr; packed, since its 44 bytes are no multiple of its largest field.
#[derive(Clone, Copy, Default)]
#[repr(C, packed)]
struct Raw {
    src_cid: Le64,
    dst_cid: Le64,
    src_port: Le32,
    dst_port: Le32,
    len: Le32,
    kind: Le16,
    op: Le16,
    flags: Le32,
    buf_alloc: Le32,
    fwd_cnt: Le32,
}

const _: () = assert!(size_of::<Raw>() == HEADER_BYTES);

// SAFETY: integers only, packed, so without padding; every bit pattern is a value.
unsafe impl ByteValued for Raw {}

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Op {
    Request = 1,
    Response = 2,
    Reset = 3,
    Shutdown = 4,
    Data = 5,
    CreditUpdate = 6,
    CreditRequest = 7,
}

impl Op {
    fn parse(op: u16) -> Option<Self> {
        const ALL: [Op; 7] = [
            Op::Request,
            Op::Response,
            Op::Reset,
            Op::Shutdown,
            Op::Data,
            Op::CreditUpdate,
            Op::CreditRequest,
        ];
        ALL.into_iter().find(|known| *known as u16 == op)
    }
}

/// A header, in the host's byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub src_cid: u64,
    pub dst_cid: u64,
    pub src_port: u32,
    pub dst_port: u32,
    /// Bytes of data behind the header.
    pub len: u32,
    pub kind: u16,
    /// None: a number that means nothing.
    pub op: Option<Op>,
    pub flags: u32,
    pub buf_alloc: u32,
    pub fwd_cnt: u32,
}

impl Header {
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Self {
        let mut raw = Raw::default();
        raw.as_mut_slice().copy_from_slice(&bytes);
        Self {
            src_cid: raw.src_cid.into(),
            dst_cid: raw.dst_cid.into(),
            src_port: raw.src_port.into(),
            dst_port: raw.dst_port.into(),
            len: raw.len.into(),
            kind: raw.kind.into(),
            op: Op::parse(raw.op.into()),
            flags: raw.flags.into(),
            buf_alloc: raw.buf_alloc.into(),
            fwd_cnt: raw.fwd_cnt.into(),
        }
    }

    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let raw = Raw {
            src_cid: self.src_cid.into(),
            dst_cid: self.dst_cid.into(),
            src_port: self.src_port.into(),
            dst_port: self.dst_port.into(),
            len: self.len.into(),
            kind: self.kind.into(),
            op: self.op.map_or(0, |op| op as u16).into(),
            flags: self.flags.into(),
            buf_alloc: self.buf_alloc.into(),
            fwd_cnt: self.fwd_cnt.into(),
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes.copy_from_slice(raw.as_slice());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_has_them() {
        let mut bytes = [0; HEADER_BYTES];
        for (at, value) in
            [(0, 3), (8, 2), (16, 52), (20, 1023), (24, 7), (28, 1), (30, 5), (32, 2), (36, 9), (40, 8)]
        {
            let field = u16::to_le_bytes(value);
            bytes[at..at + 2].copy_from_slice(&field);
        }
        let header = Header::parse(bytes);
        let expected = Header {
            src_cid: 3,
            dst_cid: 2,
            src_port: 52,
            dst_port: 1023,
            len: 7,
            kind: TYPE_STREAM,
            op: Some(Op::Data),
            flags: SHUTDOWN_SEND,
            buf_alloc: 9,
            fwd_cnt: 8,
        };
        assert_eq!(header, expected);
        assert_eq!(header.bytes(), bytes);
    }

    #[test]
    fn unknown_operations_are_none() {
        for op in [0, 8, u16::MAX] {
            assert_eq!(Op::parse(op), None);
        }
    }
}
