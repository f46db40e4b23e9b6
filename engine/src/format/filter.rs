//! `--filter key=value` of list commands, with docker's rules: of one key's values any may match, of labels
//! all must, and every key must.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use regex_lite::Regex;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("invalid argument {0:?} for \"-f, --filter\" flag: bad format of filter (expected name=value)")]
    Form(String),
    /// The command has no such filter.
    #[error("invalid filter '{0}'")]
    Key(String),
    #[error("invalid filter '{key}={value}'")]
    Value { key: String, value: String },
}

impl FilterError {
    /// For a value that the command cannot read.
    pub fn value(key: &str, value: &str) -> FilterError {
        FilterError::Value { key: key.to_string(), value: value.to_string() }
    }
}

/// A command's filters. One that is not given lets everything through.
#[derive(Debug, Default)]
pub struct Filters {
    by_key: BTreeMap<String, Vec<Wanted>>,
}

#[derive(Debug)]
struct Wanted {
    text: String,
    /// Compiled when first asked for; nothing if it is no pattern.
    pattern: OnceCell<Option<Regex>>,
}

impl Filters {
    /// Keys in any case, white space around both parts ignored; an empty word is no filter.
    pub fn parse<W: AsRef<str>>(words: &[W], allowed: &[&str]) -> Result<Filters, FilterError> {
        let mut by_key: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
        for word in words.iter().map(AsRef::as_ref).filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').ok_or_else(|| FilterError::Form(word.to_string()))?;
            let key = key.trim().to_lowercase();
            if !allowed.contains(&key.as_str()) {
                return Err(FilterError::Key(key));
            }
            let wanted = Wanted { text: value.trim().to_string(), pattern: OnceCell::new() };
            by_key.entry(key).or_default().push(wanted);
        }
        Ok(Filters { by_key })
    }

    /// Whether a key is given at all.
    pub fn contains(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// What is given for a key, for filters with a meaning of their own.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.wanted(key).iter().map(|wanted| wanted.text.as_str())
    }

    fn wanted(&self, key: &str) -> &[Wanted] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    fn any(&self, key: &str, is_wanted: impl FnMut(&Wanted) -> bool) -> bool {
        !self.contains(key) || self.wanted(key).iter().any(is_wanted)
    }

    /// The value itself.
    pub fn exact(&self, key: &str, value: &str) -> bool {
        self.any(key, |wanted| wanted.text == value)
    }

    /// One of several values.
    pub fn exact_any<'v>(&self, key: &str, values: impl Iterator<Item = &'v str> + Clone) -> bool {
        self.any(key, |wanted| values.clone().any(|value| wanted.text == value))
    }

    /// A value that starts so.
    pub fn prefix(&self, key: &str, value: &str) -> bool {
        self.any(key, |wanted| value.starts_with(&wanted.text))
    }

    /// The value itself, or a regular expression that matches somewhere in it; docker's `id`.
    pub fn pattern(&self, key: &str, value: &str) -> bool {
        self.any(key, |wanted| wanted.matches(value))
    }

    /// [`Filters::pattern`] of a container's name, which docker also takes with its slash: `^/web$`.
    pub fn name(&self, key: &str, name: &str) -> bool {
        let slashed = format!("/{name}");
        self.any(key, |wanted| wanted.matches(name) || wanted.matches(&slashed))
    }

    /// All of the labels asked for, each as `name` or `name=value`.
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|label| label == value),
            None => labels.contains_key(wanted),
        })
    }

    /// Of a filter that is true or false, as `dangling`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, FilterError> {
        let mut flag = None;
        // As docker tells it, with all that was given.
        let refused = || {
            let values: Vec<&str> = self.values(key).collect();
            FilterError::value(key, &format!("[{}]", values.join(" ")))
        };
        for value in self.values(key) {
            let given = match value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(refused()),
            };
            if flag.is_some_and(|flag| flag != given) {
                return Err(refused());
            }
            flag = Some(given);
        }
        Ok(flag)
    }
}

impl Wanted {
    fn matches(&self, value: &str) -> bool {
        let pattern = self.pattern.get_or_init(|| Regex::new(&self.text).ok());
        self.text == value || pattern.as_ref().is_some_and(|pattern| pattern.is_match(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["name", "id", "status", "label", "dangling"];

    fn filters(words: &[&str]) -> Filters {
        Filters::parse(words, &KEYS).unwrap()
    }

    #[test]
    fn what_is_no_filter_of_the_command_is_refused() {
        let error = |word: &str| Filters::parse(&[word], &KEYS).unwrap_err().to_string();
        assert_eq!(error("foo=1"), "invalid filter 'foo'");
        let form =
            "invalid argument \"name\" for \"-f, --filter\" flag: bad format of filter (expected name=value)";
        assert_eq!(error("name"), form);
        assert!(Filters::parse(&[""], &KEYS).unwrap().exact("name", "x"));
    }

    #[test]
    fn of_one_key_any_value_may_match_and_none_lets_all_through() {
        let filters = filters(&["status=exited", " Status = created "]);
        assert!(filters.exact("status", "exited") && filters.exact("status", "created"));
        assert!(!filters.exact("status", "running") && filters.exact("id", "anything"));
        assert!(filters.exact_any("status", ["x", "created"].into_iter()));
        assert_eq!(filters.values("status").count(), 2);
    }

    #[test]
    fn names_match_as_patterns_anywhere_and_with_their_slash() {
        assert!(filters(&["name=eb"]).name("name", "web1"));
        assert!(filters(&["name=^/web1$"]).name("name", "web1"));
        assert!(filters(&["name=^web.$"]).name("name", "web1"));
        assert!(!filters(&["name=^eb"]).name("name", "web1"));
        // No pattern, so only itself.
        assert!(
            !filters(&["name=we(b"]).name("name", "web1") && filters(&["name=we(b"]).name("name", "we(b")
        );
        assert!(filters(&["id=01"]).prefix("id", "0123") && !filters(&["id=12"]).prefix("id", "0123"));
        assert!(filters(&["id=12"]).pattern("id", "0123"));
    }

    #[test]
    fn all_labels_must_be_there() {
        let labels = BTreeMap::from([("a".to_string(), "1=2".to_string()), ("b".to_string(), String::new())]);
        assert!(filters(&["label=a", "label=b="]).labels("label", &labels));
        assert!(filters(&["label=a=1=2"]).labels("label", &labels));
        assert!(!filters(&["label=a", "label=c"]).labels("label", &labels));
        assert!(!filters(&["label=a=1"]).labels("label", &labels));
    }

    #[test]
    fn flags_are_true_or_false() {
        assert_eq!(filters(&[]).flag("dangling"), Ok(None));
        assert_eq!(filters(&["dangling=true", "dangling=1"]).flag("dangling"), Ok(Some(true)));
        assert_eq!(filters(&["dangling=0"]).flag("dangling"), Ok(Some(false)));
        let error = filters(&["dangling=x"]).flag("dangling").unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'dangling=[x]'");
        assert!(filters(&["dangling=0", "dangling=1"]).flag("dangling").is_err());
    }
}
