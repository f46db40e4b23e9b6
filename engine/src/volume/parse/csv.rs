//! One record of comma-separated values, with the quotes of RFC 4180, as docker's client reads `--mount`.

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    #[error("EOF")]
    Nothing,
    #[error("parse error on line 1, column {0}: bare \" in non-quoted-field")]
    Bare(usize),
    #[error("parse error on line 1, column {0}: extraneous or missing \" in quoted-field")]
    Quote(usize),
}

/// The fields of a line. Columns count bytes from 1, as in docker's messages.
pub fn fields(line: &str) -> Result<Vec<String>, CsvError> {
    if line.is_empty() {
        return Err(CsvError::Nothing);
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let at = line.len() - rest.len();
        let after = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(line, quoted, &mut fields)?,
            None => {
                let (field, after) = cut(rest);
                if let Some(quote) = field.find('"') {
                    return Err(CsvError::Bare(at + quote + 1));
                }
                fields.push(field.to_string());
                after
            }
        };
        match after {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// What comes before the next comma, and behind it.
fn cut(text: &str) -> (&str, Option<&str>) {
    match text.split_once(',') {
        Some((field, rest)) => (field, Some(rest)),
        None => (text, None),
    }
}

/// Reads on behind the opening quote. What is left behind the comma.
fn quoted_field<'a>(
    line: &'a str,
    mut rest: &'a str,
    fields: &mut Vec<String>,
) -> Result<Option<&'a str>, CsvError> {
    let mut field = String::new();
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err(CsvError::Quote(line.len() + 1));
        };
        field.push_str(part);
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            rest = more;
        } else if after.is_empty() {
            fields.push(field);
            return Ok(None);
        } else if let Some(more) = after.strip_prefix(',') {
            fields.push(field);
            return Ok(Some(more));
        } else {
            return Err(CsvError::Quote(line.len() - after.len()));
        }
    }
}
