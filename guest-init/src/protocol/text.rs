//! Byte strings in JSON: text where it is UTF-8, `{"b64": "..."}` where it is not.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Arguments, environment, paths: bytes without a NUL, usually UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Plain(String),
    Base64 { b64: String },
}

impl Text {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(plain) => plain.serialize(serializer),
            Err(_) => Wire::Base64 { b64: STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = match Wire::deserialize(deserializer)? {
            Wire::Plain(plain) => plain.into_bytes(),
            Wire::Base64 { b64 } => STANDARD.decode(b64).map_err(D::Error::custom)?,
        };
        Ok(Text(bytes))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text(text.as_bytes().to_vec())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(text.into_bytes())
    }
}

impl From<OsString> for Text {
    fn from(text: OsString) -> Self {
        Text(text.into_vec())
    }
}

impl From<&OsStr> for Text {
    fn from(text: &OsStr) -> Self {
        Text(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_utf8_travels_as_base64() {
        let raw = Text(vec![b'a', 0xff]);
        let json = serde_json::to_string(&raw).unwrap();
        assert_eq!(json, r#"{"b64":"Yf8="}"#);
        assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), raw);
        assert_eq!(serde_json::to_string(&Text::from("x")).unwrap(), r#""x""#);
    }
}
