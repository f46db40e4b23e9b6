//! Extended attributes, in the encoding of an EROFS inode: `{name length, prefix, value length, name,
//! value}` padded to four bytes, sorted by prefix and name.

use super::erofs::format::{XATTR_PREFIXES, align};

/// Marks a directory whose content in lower layers is hidden, as overlayfs does.
pub const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// Marks a directory that the layer does not describe.
pub const IMPLIED: &[u8] = b"trusted.hull.implied";
/// Marks a hard link into a lower layer; the value is the path.
pub const LOWER_LINK: &[u8] = b"trusted.hull.link";

/// Bytes of one inode's attributes: Linux lists no more (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum XattrError {
    #[error("extended attributes of more than 64 KiB")]
    Size,
    #[error("an extended attribute's name is longer than 255 bytes")]
    Name,
    #[error("malformed extended attributes")]
    Encoding,
}

/// Names from a tar that must not reach an inode: overlayfs's own would hide files from inside an
/// image, and hull's own are the markers above.
fn is_reserved(name: &[u8]) -> bool {
    const RESERVED: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"trusted.hull."];
    RESERVED.iter().any(|prefix| name.starts_with(prefix))
}

/// Encodes a tar entry's attributes. Reserved names, and those of no namespace that EROFS knows, are
/// left out, as other tools leave out what the file system they unpack to does not take.
pub fn encode(attributes: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, XattrError> {
    let kept = attributes.iter().filter(|(name, _)| !is_reserved(name));
    encode_all(kept.map(|(name, value)| (name.as_slice(), value.as_slice())))
}

/// Encodes attributes whatever their name.
pub fn encode_all<'a>(attributes: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Vec<u8>, XattrError> {
    let mut split: Vec<_> = attributes
        .filter_map(|(name, value)| split_name(name).map(|(prefix, rest)| (prefix, rest, value)))
        .collect();
    split.sort_unstable();
    let mut encoded = Vec::new();
    for (prefix, name, value) in split {
        encoded.push(u8::try_from(name.len()).map_err(|_| XattrError::Name)?);
        encoded.push(prefix);
        encoded.extend(u16::try_from(value.len()).map_err(|_| XattrError::Size)?.to_le_bytes());
        encoded.extend_from_slice(name);
        encoded.extend_from_slice(value);
        encoded.resize(align(encoded.len(), 4), 0);
        if encoded.len() > MAX_BYTES {
            return Err(XattrError::Size);
        }
    }
    Ok(encoded)
}

fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    XATTR_PREFIXES.iter().find_map(|(index, prefix, whole)| {
        let rest = name.strip_prefix(prefix.as_bytes())?;
        // An access list's prefix is its whole name; a namespace's must be followed by one.
        (rest.is_empty() == *whole && !name.contains(&0)).then_some((*index, rest))
    })
}

/// Name and value.
type Attribute<'a> = (Vec<u8>, &'a [u8]);

/// Takes an encoded set apart again: whole names and values.
pub fn decode(mut encoded: &[u8]) -> Result<Vec<Attribute<'_>>, XattrError> {
    let mut attributes = Vec::new();
    while let Some((head, rest)) = encoded.split_first_chunk::<4>() {
        let [name_len, index, low, high] = *head;
        let (name_len, value_len) = (usize::from(name_len), usize::from(u16::from_le_bytes([low, high])));
        let name = rest.get(..name_len).ok_or(XattrError::Encoding)?;
        let value = rest.get(name_len..name_len + value_len).ok_or(XattrError::Encoding)?;
        let prefix = XATTR_PREFIXES.iter().find(|(known, ..)| *known == index).ok_or(XattrError::Encoding)?.1;
        attributes.push(([prefix.as_bytes(), name].concat(), value));
        encoded = rest.get(align(4 + name_len + value_len, 4) - 4..).ok_or(XattrError::Encoding)?;
    }
    if encoded.is_empty() { Ok(attributes) } else { Err(XattrError::Encoding) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (name.into(), value.into())
    }

    #[test]
    fn attributes_read_back_and_reserved_ones_are_dropped() {
        let given = [
            pair("user.b", b"12345"),
            pair("security.capability", &[1, 0, 0, 2]),
            pair("user.a", b""),
            pair("system.posix_acl_access", &[2, 0, 0, 0]),
            pair("trusted.overlay.opaque", b"y"),
            pair("user.overlay.whiteout", b"y"),
            pair("trusted.hull.link", b"etc/shadow"),
            pair("com.apple.provenance", b"x"),
            pair("user.", b"x"),
        ];
        let encoded = encode(&given).unwrap();
        let names: Vec<_> =
            decode(&encoded).unwrap().into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect();
        assert_eq!(names, ["user.a", "user.b", "system.posix_acl_access", "security.capability"]);
    }

    #[test]
    fn too_much_is_refused() {
        assert_eq!(encode(&[pair("user.a", &vec![0; 65_536])]), Err(XattrError::Size));
        assert_eq!(
            encode(&[pair("user.a", &vec![0; 40_000]), pair("user.b", &vec![0; 40_000])]),
            Err(XattrError::Size)
        );
        assert_eq!(encode(&[pair(&format!("user.{}", "x".repeat(256)), b"")]), Err(XattrError::Name));
    }

    #[test]
    fn damaged_sets_are_refused() {
        for bad in [&[1_u8, 1, 0][..], &[1, 1, 0, 0], &[0, 99, 0, 0], &[1, 1, 9, 0, b'a', 0, 0, 0]] {
            assert_eq!(decode(bad), Err(XattrError::Encoding));
        }
    }
}
