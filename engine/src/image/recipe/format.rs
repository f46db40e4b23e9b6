//! What a recipe looks like: a header of 64 bytes, then one zstd frame of pieces, in the order of the
//! tar. A piece is a record of 20 bytes, the bytes that it brings along, and then a run of bytes of the
//! layer file; either of them may be empty, not both. All numbers are little-endian.
//!
//! The header is written last: what was cut short has none.

use crate::image::digest::Digest;

const MAGIC: [u8; 8] = *b"hullrcp\0";
const VERSION: u32 = 1;
/// Bytes that one piece may bring along.
pub const MAX_LITERAL: usize = 64 << 10;
/// Memory that the frame may ask its reader for: 512 KiB.
pub const WINDOW_LOG: u32 = 19;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub diff_id: Digest,
    /// Of the tar.
    pub tar_bytes: u64,
    /// Of the layer file that the places are meant for.
    pub layer_bytes: u64,
}

impl Header {
    pub const SIZE: usize = 64;

    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let parts: [&[u8]; 5] = [
            &MAGIC,
            // With 4 bytes that are reserved.
            &u64::from(VERSION).to_le_bytes(),
            self.diff_id.as_bytes(),
            &self.tar_bytes.to_le_bytes(),
            &self.layer_bytes.to_le_bytes(),
        ];
        for (place, byte) in bytes.iter_mut().zip(parts.concat()) {
            *place = byte;
        }
        bytes
    }

    /// `None`: of another format, or damaged.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (diff_id, rest) = rest.split_first_chunk()?;
        let (tar_bytes, rest) = rest.split_first_chunk()?;
        let layer_bytes = rest.first_chunk()?;
        (*magic == MAGIC && u64::from_le_bytes(*version) == u64::from(VERSION)).then_some(Self {
            diff_id: Digest::from_bytes(*diff_id),
            tar_bytes: u64::from_le_bytes(*tar_bytes),
            layer_bytes: u64::from_le_bytes(*layer_bytes),
        })
    }
}

/// The head of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Bytes that follow this record.
    pub literal: u32,
    /// Where the run begins in the layer file.
    pub offset: u64,
    /// Bytes of the run.
    pub length: u64,
}

impl Piece {
    pub const SIZE: usize = 20;

    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let parts = [&self.literal.to_le_bytes()[..], &self.offset.to_le_bytes(), &self.length.to_le_bytes()];
        for (place, byte) in bytes.iter_mut().zip(parts.concat()) {
            *place = byte;
        }
        bytes
    }

    pub fn decode(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let (literal, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let length = rest.first_chunk()?;
        Some(Self {
            literal: u32::from_le_bytes(*literal),
            offset: u64::from_le_bytes(*offset),
            length: u64::from_le_bytes(*length),
        })
    }
}
