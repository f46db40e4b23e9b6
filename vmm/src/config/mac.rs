//! Ethernet addresses as text: six bytes in hexadecimal, with colons between them.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// The usual form, in lower case.
pub fn format(mac: &[u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// Two digits a byte, in either case. None for anything else.
pub fn parse(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

pub(super) fn serialize<S: Serializer>(mac: &[u8; 6], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(mac))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 6], D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::custom(format_args!("{text:?} is not an Ethernet address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let mac = [0x02, 0x68, 0x75, 0x6c, 0x00, 0xff];
        assert_eq!(format(&mac), "02:68:75:6c:00:ff");
        assert_eq!(parse("02:68:75:6c:00:ff"), Some(mac));
        assert_eq!(parse("02:68:75:6C:00:FF"), Some(mac));
    }

    #[test]
    fn what_is_not_six_pairs_of_digits_is_no_address() {
        for text in [
            "",
            "02",
            "02:68:75:6c:00",
            "02:68:75:6c:00:ff:01",
            "2:68:75:6c:00:ff",
            "+2:68:75:6c:00:ff",
            "02-68-75-6c-00-ff",
            "02:68:75:6c:00:fg",
            "02:68:75:6c:00:ff:",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
