//! Messages and their attributes: bytes to be sent, and what was received taken apart.

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
pub(super) const HEADER: usize = 16;
/// Everything in a message begins at a multiple of this.
const ALIGN: usize = 4;
/// The attribute's payload is attributes. (Rtnetlink ignores it, nfnetlink asks for it.)
const NLA_F_NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = (1 << 14) - 1;

/// A message that grows by attributes. Its length and sequence number are set when it is sent.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `kind` and `flags` as netlink(7) names them; `fixed` is the family's own header.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(fixed);
        let mut message = Message { bytes };
        message.pad();
        message
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    /// One attribute. None of hull's comes near the limit of 64 KiB; one that does is cut, and refused by
    /// the kernel.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let value = value.get(..value.len().min(usize::from(u16::MAX) - 4)).unwrap_or(value);
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
        self
    }

    pub fn attribute_u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attribute(kind, &[value])
    }

    pub fn attribute_u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub fn attribute_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// In network byte order, as nfnetlink has all its numbers.
    pub fn attribute_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Text, ended by a NUL.
    pub fn attribute_str(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut text = value.as_bytes().to_vec();
        text.push(0);
        self.attribute(kind, &text)
    }

    /// An attribute made of those that `fill` adds.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) -> &mut Self {
        let start = self.bytes.len();
        self.attribute(kind | NLA_F_NESTED, &[]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(header) = self.bytes.get_mut(start..start + 2) {
            header.copy_from_slice(&length.to_ne_bytes());
        }
        self
    }

    /// Bytes that are no attribute, as `struct ifinfomsg` behind VETH_INFO_PEER.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self.pad();
        self
    }

    /// The attributes, without the header.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    pub(super) fn finish(mut self, sequence: u32, also: u16) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if let Some((header, _)) = self.bytes.split_first_chunk_mut::<HEADER>() {
            header[0..4].copy_from_slice(&length.to_ne_bytes());
            let flags = u16::from_ne_bytes([header[6], header[7]]) | also;
            header[6..8].copy_from_slice(&flags.to_ne_bytes());
            header[8..12].copy_from_slice(&sequence.to_ne_bytes());
        }
        self.bytes
    }
}

/// The attributes in `bytes`, as far as they are whole: type without its flags, payload.
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The first of this type.
    pub fn of_kind(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, _) = self.rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let value = self.rest.get(4..length)?;
        self.rest = self.rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_out_as_they_went_in() {
        let mut message = Message::new(7, 1, &[1, 2, 3, 4]);
        message.attribute_str(3, "lo").nested(5, |inner| {
            inner.attribute_u32(1, 9).attribute_u8(2, 8);
        });
        message.attribute_u16(6, 2);
        let bytes = message.finish(42, 4);
        assert_eq!(u32::from_ne_bytes(bytes[0..4].try_into().unwrap()) as usize, bytes.len());
        assert_eq!(u16::from_ne_bytes(bytes[6..8].try_into().unwrap()), 5);
        assert_eq!(u32::from_ne_bytes(bytes[8..12].try_into().unwrap()), 42);
        let all: Vec<_> = attributes(&bytes[HEADER + 4..]).collect();
        assert_eq!(all.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [3, 5, 6]);
        assert_eq!(all[0].1, b"lo\0");
        let inner: Vec<_> = attributes(all[1].1).collect();
        assert_eq!(inner, [(1, 9u32.to_ne_bytes().as_slice()), (2, &[8])]);
    }

    #[test]
    fn attributes_that_are_cut_off_end_the_walk() {
        for bytes in [&[][..], &[4], &[3, 0, 1, 0], &[9, 0, 1, 0, 5], &[0, 0, 0, 0, 4, 0, 1, 0]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}
