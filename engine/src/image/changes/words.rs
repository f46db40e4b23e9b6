//! Words of a Dockerfile's line: quotes, backslashes and variables (Dockerfile reference, "Environment
//! replacement").

use super::ChangeError;

/// Splits at blanks outside of quotes. Quotes and backslashes stay, for [`Text::expand`].
pub fn split(line: &str) -> Result<Vec<&str>, ChangeError> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut escaped) = (None, None, false);
    for (at, c) in line.char_indices() {
        if start.is_none() && !c.is_whitespace() {
            start = Some(at);
        }
        match (c, quote) {
            _ if escaped => escaped = false,
            // In single quotes it stands for itself.
            ('\\', None | Some('"')) => escaped = true,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => {
                words.extend(start.take().and_then(|start| line.get(start..at)));
            }
            _ => {}
        }
    }
    if quote.is_some() {
        return Err(ChangeError::Quote(line.to_owned()));
    }
    words.extend(start.and_then(|start| line.get(start..)));
    Ok(words)
}

/// A word or line to be freed of its quotes, with its variables replaced.
pub struct Text<'a> {
    text: &'a str,
    env: &'a [String],
    limit: usize,
}

impl<'a> Text<'a> {
    pub fn new(text: &'a str, env: &'a [String], limit: usize) -> Self {
        Text { text, env, limit }
    }

    pub fn expand(&self) -> Result<String, ChangeError> {
        let mut out = String::new();
        let (mut rest, mut quote) = (self.text, None);
        while let Some(c) = rest.chars().next() {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                ('$', None | Some('"')) => rest = self.variable(rest, &mut out)?,
                ('\\', None | Some('"')) => match rest.chars().next() {
                    // In double quotes only what means something there can be escaped.
                    Some(next) if quote.is_none() || matches!(next, '"' | '$' | '\\') => {
                        out.push(next);
                        rest = rest.get(next.len_utf8()..).unwrap_or_default();
                    }
                    _ => out.push('\\'),
                },
                (c, _) => out.push(c),
            }
            if out.len() > self.limit {
                return Err(ChangeError::Long(self.text.to_owned()));
            }
        }
        match quote {
            None => Ok(out),
            Some(_) => Err(ChangeError::Quote(self.text.to_owned())),
        }
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        let mut words = self.env.iter().filter_map(|word| word.split_once('='));
        words.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// `NAME`, `{NAME}`, `{NAME:-word}` or `{NAME:+word}` at the start of `rest`; what follows it.
    fn variable<'t>(&self, rest: &'t str, out: &mut String) -> Result<&'t str, ChangeError> {
        let bad = || ChangeError::Variable(self.text.to_owned());
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let Some(braced) = rest.strip_prefix('{') else {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            match name {
                // A dollar sign by itself.
                "" => out.push('$'),
                name => out.push_str(self.value(name).unwrap_or_default()),
            }
            return Ok(behind);
        };
        let (inside, behind) = braced.split_once('}').ok_or_else(bad)?;
        let end = inside.find(|c| !is_name(c)).unwrap_or(inside.len());
        let (name, operation) = inside.split_at(end);
        if name.is_empty() {
            return Err(bad());
        }
        let value = self.value(name).filter(|value| !value.is_empty());
        match (operation.get(..2), operation.get(2..)) {
            _ if operation.is_empty() => out.push_str(value.unwrap_or_default()),
            (Some(":-"), Some(word)) => out.push_str(value.unwrap_or(word)),
            (Some(":+"), Some(word)) => out.push_str(value.map_or("", |_| word)),
            _ => return Err(bad()),
        }
        Ok(behind)
    }
}
