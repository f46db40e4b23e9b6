//! Patterns of names, as `images -f reference=` takes them.

use regex_lite::Regex;

use super::{Naming, Reference};

/// Go's path.Match over an image's familiar name, with or without its tag.
#[derive(Debug)]
pub struct Pattern(Option<Regex>);

impl Pattern {
    /// One that is malformed matches nothing, as docker's.
    pub fn new(text: &str) -> Self {
        Self(translate(text).and_then(|regex| Regex::new(&regex).ok()))
    }

    pub fn matches(&self, naming: &Naming, name: &Reference) -> bool {
        self.0.as_ref().is_some_and(|regex| {
            regex.is_match(&naming.familiar(name)) || regex.is_match(&naming.familiar_repository(name))
        })
    }
}

/// `*` and `?` stop at slashes; `[a-z]`, `[^a-z]`; a backslash takes the next character as it is.
fn translate(pattern: &str) -> Option<String> {
    let mut regex = "^".to_owned();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => class(&mut chars, &mut regex)?,
            '\\' => literal(chars.next()?, &mut regex),
            c => literal(c, &mut regex),
        }
    }
    Some(regex + "$")
}

fn class(chars: &mut std::str::Chars<'_>, regex: &mut String) -> Option<()> {
    regex.push('[');
    let mut first = true;
    loop {
        match chars.next()? {
            '^' if first => regex.push('^'),
            ']' if !first => break,
            '-' if !first => regex.push('-'),
            '\\' => literal(chars.next()?, regex),
            c => literal(c, regex),
        }
        first = false;
    }
    regex.push(']');
    Some(())
}

fn literal(c: char, regex: &mut String) {
    if c.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_go_path_match() {
        let matches = |pattern: &str, name: &str| {
            Pattern::new(pattern).matches(&Naming::default(), &name.parse().unwrap())
        };
        for (pattern, name, expected) in [
            ("busybox", "busybox:1", true),
            ("busybox:1", "busybox:1", true),
            ("busybox:2", "busybox:1", false),
            ("busy*", "busybox:1", true),
            ("*", "busybox", true),
            ("*", "user/app", false),
            ("*/*", "user/app", true),
            ("*/bb:1", "localhost:5000/bb:1", true),
            ("local*/*", "localhost:5000/bb:1", true),
            ("bb", "localhost:5000/bb:1", false),
            ("busybo?", "busybox", true),
            ("busybo[a-z]", "busybox", true),
            ("busybo[^x]", "busybox", false),
            ("a.b", "axb", false),
            ("[", "busybox", false),
            ("busybox\\", "busybox", false),
            (r"busyb\ox", "busybox", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
