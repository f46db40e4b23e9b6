//! Block requests: from the bytes of a chain to something typed (VirtIO 1.2, 5.2.6).

use super::SECTOR;
use crate::devices::virtio::chain::{Reader, Short};

/// Bytes of a request's header, and of one range to discard or zero.
const HEADER: usize = 16;
const RANGE: usize = 16;
/// Bytes of the answer to [`Command::GetId`].
pub const ID_BYTES: usize = 20;

const T_IN: u32 = 0;
const T_OUT: u32 = 1;
const T_FLUSH: u32 = 4;
const T_GET_ID: u32 = 8;
const T_DISCARD: u32 = 11;
const T_WRITE_ZEROES: u32 = 13;

/// The only flag a range may have; for zeroing only.
const F_UNMAP: u32 = 1;

/// The last byte of each answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// A command, with the sector it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Read { sector: u64 },
    Write { sector: u64 },
    Flush,
    GetId,
    Discard,
    WriteZeroes,
}

impl Command {
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Status> {
        let header = reader.read::<HEADER>().map_err(|Short| Status::IoError)?;
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        match u32::from_le_bytes([t0, t1, t2, t3]) {
            T_IN => Ok(Self::Read { sector }),
            T_OUT => Ok(Self::Write { sector }),
            T_FLUSH => Ok(Self::Flush),
            T_GET_ID => Ok(Self::GetId),
            T_DISCARD => Ok(Self::Discard),
            T_WRITE_ZEROES => Ok(Self::WriteZeroes),
            _ => Err(Status::Unsupported),
        }
    }
}

/// A range of sectors to discard or zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub sector: u64,
    pub sectors: u32,
    pub unmap: bool,
}

impl Range {
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Status> {
        let bytes = reader.read::<RANGE>().map_err(|Short| Status::IoError)?;
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, f0, f1, f2, f3] = bytes;
        let flags = u32::from_le_bytes([f0, f1, f2, f3]);
        if flags & !F_UNMAP != 0 {
            return Err(Status::Unsupported);
        }
        Ok(Self {
            sector: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            sectors: u32::from_le_bytes([n0, n1, n2, n3]),
            unmap: flags & F_UNMAP != 0,
        })
    }
}

/// Offset in bytes of `len` bytes from `sector` on, if they lie on a disk of `capacity` sectors.
pub fn place(sector: u64, len: u64, capacity: u64) -> Result<u64, Status> {
    let sectors = len / SECTOR;
    let end = sector.checked_add(sectors).filter(|end| *end <= capacity);
    match (end, len % SECTOR) {
        (Some(_), 0) => sector.checked_mul(SECTOR).ok_or(Status::IoError),
        _ => Err(Status::IoError),
    }
}
