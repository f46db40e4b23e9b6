//! Labels and variables of the container that go into each line.

use std::collections::BTreeMap;

use super::{LogConfig, LogError};

/// By key, as they are shown.
pub type Attrs = BTreeMap<String, String>;

/// The longest attrs, as JSON: they are in every line, and readers bound lines.
pub(super) const MAX_BYTES: usize = 512 << 10;

impl LogConfig {
    /// The values of the labels and variables that this config names. A variable wins over a label of
    /// the same name.
    pub fn attrs<'a>(
        &self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        env: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Attrs {
        let named = |keys: &[String], key: &str| keys.iter().any(|wanted| wanted == key);
        let labels = labels.into_iter().filter(|(key, _)| named(&self.labels, key));
        let env = env.into_iter().filter(|(key, _)| named(&self.env, key));
        labels.chain(env).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

/// As JSON; empty without attrs.
pub(super) fn to_json(attrs: &Attrs) -> Result<Vec<u8>, LogError> {
    if attrs.is_empty() {
        return Ok(Vec::new());
    }
    // Strings to strings: there is nothing in it that JSON could not say.
    let json = serde_json::to_vec(attrs).unwrap_or_default();
    if json.len() > MAX_BYTES {
        return Err(LogError::Attrs { bytes: json.len() });
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attrs_are_the_named_labels_and_variables() {
        let config = LogConfig::from_words(None, &["labels=a,b", "env=b,HOME"]).unwrap();
        let attrs =
            config.attrs([("a", "1"), ("b", "2"), ("c", "3")], [("b", "4"), ("HOME", "/"), ("PATH", "x")]);
        let shown: Vec<_> = attrs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(shown, ["HOME=/", "a=1", "b=4"]);
    }

    #[test]
    fn attrs_that_no_line_could_hold_are_refused() {
        let attrs = Attrs::from([("a".to_owned(), "x".repeat(MAX_BYTES))]);
        assert!(matches!(to_json(&attrs), Err(LogError::Attrs { .. })));
    }
}
