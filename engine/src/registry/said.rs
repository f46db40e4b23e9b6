//! What registries and token servers say in errors.

use serde_json::Value;

use crate::text::escape;

/// How much of it is shown.
const MAX_SHOWN: usize = 500;

/// An answer's words in one line, escaped; which servers put into different places: the OCI
/// distribution-spec's "Error Codes", what its authors' token server says, OAuth 2.0 (RFC 6749, 5.2).
pub fn said(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let words = match (of_registry(&json), &json) {
        (Some(words), _) => words,
        // Something else than JSON, if it is no page for browsers.
        (None, Value::Null) if !text.trim_start().starts_with('<') => text.trim().to_owned(),
        (None, json) => {
            let places = ["details", "message", "error_description"].map(|name| json.get(name));
            places.into_iter().flatten().find_map(Value::as_str).unwrap_or_default().to_owned()
        }
    };
    escape(&words.chars().take(MAX_SHOWN).collect::<String>()).to_string()
}

fn of_registry(json: &Value) -> Option<String> {
    let one = |error: &Value| {
        let word = |name: &str| error.get(name)?.as_str().filter(|text| !text.is_empty());
        word("message")
            .map(str::to_owned)
            .or_else(|| word("code").map(|code| code.to_lowercase().replace('_', " ")))
    };
    let all: Vec<String> = json.get("errors")?.as_array()?.iter().filter_map(one).collect();
    Some(all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_by_their_messages() {
        let text = br#"{"errors":[{"code":"DENIED","message":"no \u001b[2J"},{"code":"BLOB_UNKNOWN","detail":[1]}]}"#;
        assert_eq!(said(text), "no \\u{1b}[2J; blob unknown");
        assert_eq!(said(br#"{"error":"invalid","error_description":"wrong grant"}"#), "wrong grant");
        assert_eq!(said(br#"{"details":"incorrect"}"#), "incorrect");
        assert_eq!(said(br#"{"errors":"odd"}"#), "");
        assert_eq!(said(b" slow\ndown "), "slow\\ndown");
        assert_eq!(said(b"<html>503</html>"), "");
        assert_eq!(said(&[b'x'; 1000]).len(), MAX_SHOWN);
    }
}
