//! Showing text that a guest, an image or a registry chose.

use std::fmt::{self, Write as _};

/// Shows untrusted bytes on a terminal: control characters (C0, DEL, C1), invisible and
/// direction-changing characters and bytes that are not UTF-8 appear as escapes, so that no name can
/// move the cursor, hide itself or forge a line.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

/// [`Escaped`] for whatever has bytes.
pub fn escape<T: AsRef<[u8]> + ?Sized>(untrusted: &T) -> Escaped<'_> {
    Escaped(untrusted.as_ref())
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_shown(character) {
                    f.write_char(character)?;
                } else {
                    write!(f, "{}", character.escape_default())?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a terminal may be sent this character as it is.
pub(crate) fn is_shown(character: char) -> bool {
    let invisible = matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    !character.is_control() && !invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(escape("a\x1b[2Jb\nc\u{9b}31m").to_string(), r"a\u{1b}[2Jb\nc\u{9b}31m");
    }

    #[test]
    fn text_that_reorders_itself_is_escaped_and_plain_text_is_not() {
        assert_eq!(escape("exe\u{202e}gpj").to_string(), r"exe\u{202e}gpj");
        assert_eq!(escape("grüße 日本").to_string(), "grüße 日本");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown_in_hex() {
        assert_eq!(escape(b"a\xff\xfeb").to_string(), r"a\xff\xfeb");
    }
}
