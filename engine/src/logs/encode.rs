//! Text into JSON strings, byte for byte as docker's daemon writes them.

/// What each line begins with, up to the text.
pub(super) const BEGIN: &[u8] = b"{\"log\":\"";

/// Appends `text` as the inside of a JSON string. What is not UTF-8 becomes U+FFFD, one a byte; beside
/// what JSON demands, `<`, `>`, `&` and the two Unicode line ends are escaped, so that logs can stand in
/// a web page.
pub(super) fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let (plain, rest) = text.split_at(plain_len(text));
        out.extend_from_slice(plain);
        let Some((&special, behind)) = rest.split_first() else { return };
        if special.is_ascii() {
            escape_ascii(special, out);
            text = behind;
        } else {
            // ASCII ends every sequence, so that these bytes can be looked at alone.
            let end = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
            let (wide, behind) = rest.split_at(end);
            escape_wide(wide, out);
            text = behind;
        }
    }
}

/// How many bytes at the front stand for themselves.
fn plain_len(text: &[u8]) -> usize {
    const STEP: usize = 16;
    // Without a branch a byte, so that the compiler makes vector instructions of it.
    let all_plain = |step: &&[u8]| !step.iter().fold(false, |special, &byte| special | is_special(byte));
    let steps = text.chunks_exact(STEP).take_while(all_plain).count() * STEP;
    let rest = text.get(steps..).unwrap_or_default();
    steps + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}

const fn is_special(byte: u8) -> bool {
    (byte < 0x20)
        | (byte >= 0x80)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
}

fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            let digit = |nibble: u8| HEX[usize::from(nibble & 0xf)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
        }
    }
}

fn escape_wide(wide: &[u8], out: &mut Vec<u8>) {
    for chunk in wide.utf8_chunks() {
        let valid = chunk.valid();
        let mut start = 0;
        for (at, line_end) in valid.match_indices(['\u{2028}', '\u{2029}']) {
            out.extend_from_slice(valid.get(start..at).unwrap_or_default().as_bytes());
            out.extend_from_slice(if line_end == "\u{2028}" { b"\\u2028" } else { b"\\u2029" });
            start = at + line_end.len();
        }
        out.extend_from_slice(valid.get(start..).unwrap_or_default().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_escaped_as_dockers_daemon_does_it() {
        assert_eq!(escaped(b"a\"b\\c\n\r\t\x00\x1f\x7f"), "a\\\"b\\\\c\\n\\r\\u0009\\u0000\\u001f\x7f");
        assert_eq!(escaped(b"<a & b>"), "\\u003ca \\u0026 b\\u003e");
        assert_eq!(escaped("grün 日本\u{2028}\u{2029}x".as_bytes()), "grün 日本\\u2028\\u2029x");
    }

    #[test]
    fn each_byte_that_is_not_utf8_is_replaced() {
        assert_eq!(escaped(b"a\xffb"), "a\\ufffdb");
        // A sequence cut short, a surrogate, an overlong form: Go's decoder takes them byte by byte.
        assert_eq!(escaped(b"\xe2\x82x"), "\\ufffd\\ufffdx");
        assert_eq!(escaped(b"\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd");
        assert_eq!(escaped(b"\xc0\xaf"), "\\ufffd\\ufffd");
    }

    proptest! {
        #[test]
        fn any_text_reads_back_with_a_json_parser(text: String) {
            let json = format!("\"{}\"", escaped(text.as_bytes()));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_bytes_make_sound_json(bytes: Vec<u8>) {
            let json = format!("\"{}\"", escaped(&bytes));
            prop_assert!(serde_json::from_str::<String>(&json).is_ok());
        }
    }
}
