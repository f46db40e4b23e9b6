//! Text to tokens: text/template/parse/lex.go's rules.

use super::TemplateError;

/// White space inside actions and where `{{-` and `-}}` trim.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Text,
    /// `{{` and `}}`
    Open,
    Close,
    Field,
    Variable,
    Word,
    Dot,
    Number,
    /// What a literal means, its quotes and escapes resolved.
    Quoted(String),
    LeftParen,
    RightParen,
    Pipe,
    Comma,
    Declare,
    Assign,
}

/// `start..end` are bytes of the template; a field's and a variable's include the `.` or `$`.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// White space before it.
    pub spaced: bool,
}

pub(super) fn lex(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    let mut trim = false;
    while lexer.at < text.len() {
        trim = lexer.plain(trim)?;
    }
    Ok(lexer.tokens)
}

/// 1 for the first line.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::Parse { line: line_of(self.text, at), message: message.into() })
    }

    fn push(&mut self, kind: Kind, length: usize, spaced: bool) {
        let start = self.at;
        self.at += length;
        self.tokens.push(Token { kind, start, end: self.at, spaced });
    }

    /// Text up to the next action, and that action; whether the text after it is to be trimmed.
    fn plain(&mut self, trim_start: bool) -> Result<bool, TemplateError> {
        let rest = self.rest();
        let length = rest.find("{{").unwrap_or(rest.len());
        let (plain, action) = rest.split_at(length);
        let inner = action.strip_prefix("{{").unwrap_or_default();
        let trims = inner.strip_prefix('-').is_some_and(|after| after.starts_with(SPACES));
        let end = if trims { plain.trim_end_matches(SPACES).len() } else { plain.len() };
        let start = if trim_start { plain.len() - plain.trim_start_matches(SPACES).len() } else { 0 };
        let (is_end, before) = (action.is_empty(), self.at);
        if start < end {
            self.at = before + start;
            self.push(Kind::Text, end - start, false);
        }
        self.at = before + length;
        if is_end {
            return Ok(false);
        }
        let body = self.at + if trims { 3 } else { 2 };
        match self.comment(body)? {
            Some(trim) => Ok(trim),
            None => self.action(body),
        }
    }

    /// A comment that starts at `body`, if there is one.
    fn comment(&mut self, body: usize) -> Result<Option<bool>, TemplateError> {
        let inner = self.text.get(body..).unwrap_or_default();
        let skipped = inner.len() - inner.trim_start_matches(SPACES).len();
        // Without a trim marker a comment follows its delimiter at once.
        let skipped = if body == self.at + 3 { skipped } else { 0 };
        let Some(comment) = inner.get(skipped..).and_then(|inner| inner.strip_prefix("/*")) else {
            return Ok(None);
        };
        let Some(length) = comment.find("*/") else {
            return self.fail(self.at, "unclosed comment");
        };
        let after = body + skipped + 2 + length + 2;
        match self.closing(after) {
            Some((length, trim)) => {
                self.at = after + length;
                Ok(Some(trim))
            }
            None => self.fail(after, "comment ends before closing delimiter"),
        }
    }

    /// Length of the delimiter that closes an action at `at`, and whether it trims.
    fn closing(&self, at: usize) -> Option<(usize, bool)> {
        let rest = self.text.get(at..)?;
        let is_trim = rest.strip_prefix(SPACES).is_some_and(|rest| rest.starts_with("-}}"));
        if is_trim { Some((4, true)) } else { rest.starts_with("}}").then_some((2, false)) }
    }

    /// The tokens of an action; whether its end trims.
    fn action(&mut self, body: usize) -> Result<bool, TemplateError> {
        let opened = self.at;
        self.push(Kind::Open, body - opened, false);
        let (mut depth, mut spaced) = (0_usize, false);
        loop {
            if let Some((length, trim)) = self.closing(self.at) {
                if depth > 0 {
                    return self.fail(self.at, "unclosed left paren");
                }
                self.push(Kind::Close, length, spaced);
                return Ok(trim);
            }
            let Some(first) = self.rest().chars().next() else {
                return self.fail(opened, "unclosed action");
            };
            if SPACES.contains(&first) {
                self.at += 1;
                spaced = true;
                continue;
            }
            match first {
                '(' => depth += 1,
                ')' if depth == 0 => return self.fail(self.at, "unexpected right paren"),
                ')' => depth -= 1,
                _ => {}
            }
            self.token(first, spaced)?;
            spaced = false;
        }
    }

    fn token(&mut self, first: char, spaced: bool) -> Result<(), TemplateError> {
        let second = self.rest().chars().nth(1);
        match first {
            '(' => self.push(Kind::LeftParen, 1, spaced),
            ')' => self.push(Kind::RightParen, 1, spaced),
            '|' => self.push(Kind::Pipe, 1, spaced),
            ',' => self.push(Kind::Comma, 1, spaced),
            '=' => self.push(Kind::Assign, 1, spaced),
            ':' if second == Some('=') => self.push(Kind::Declare, 2, spaced),
            ':' => return self.fail(self.at, "expected :="),
            '"' | '`' => return self.quoted(first, spaced),
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => return self.number(spaced),
            '.' if second.is_some_and(is_word) => return self.word(Kind::Field, 1, spaced),
            '.' => self.push(Kind::Dot, 1, spaced),
            '$' => return self.word(Kind::Variable, 1, spaced),
            '+' | '-' | '0'..='9' => return self.number(spaced),
            c if is_word(c) => return self.word(Kind::Word, 0, spaced),
            c => {
                let message = format!("unrecognized character in action: U+{:04X} '{c}'", u32::from(c));
                return self.fail(self.at, message);
            }
        }
        Ok(())
    }

    fn word(&mut self, kind: Kind, sigil: usize, spaced: bool) -> Result<(), TemplateError> {
        let rest = self.rest().get(sigil..).unwrap_or_default();
        let length = sigil + rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.push(kind, length, spaced);
        match self.rest().chars().next() {
            Some(c) if !SPACES.contains(&c) && !".,|:)(=}".contains(c) => {
                self.fail(self.at, format!("bad character U+{:04X} '{c}'", u32::from(c)))
            }
            _ => Ok(()),
        }
    }

    /// Its value is the parser's to find; here it ends where no digit, letter, point or exponent's sign is.
    fn number(&mut self, spaced: bool) -> Result<(), TemplateError> {
        let mut length = 0;
        let mut before = None;
        for c in self.rest().chars() {
            let is_sign = matches!(c, '+' | '-') && matches!(before, None | Some('e' | 'E'));
            if !is_sign && c != '.' && !is_word(c) {
                break;
            }
            before = Some(c);
            length += c.len_utf8();
        }
        self.push(Kind::Number, length, spaced);
        Ok(())
    }

    fn quoted(&mut self, quote: char, spaced: bool) -> Result<(), TemplateError> {
        let opened = self.at;
        let inner = self.rest().get(1..).unwrap_or_default();
        let literal = match quote {
            '`' => inner.split_once('`').map(|(raw, _)| (raw.to_string(), raw.len())),
            _ => match unquote(inner) {
                Ok(literal) => literal,
                Err(message) => return self.fail(opened, message),
            },
        };
        match literal {
            Some((value, length)) => {
                self.push(Kind::Quoted(value), length + 2, spaced);
                Ok(())
            }
            None if quote == '`' => self.fail(opened, "unterminated raw quoted string"),
            None => self.fail(opened, "unterminated quoted string"),
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Go's interpreted string literal, from behind its opening quote: the value and the length of what stood
/// for it. Nothing if it does not end on its line.
fn unquote(inner: &str) -> Result<Option<(String, usize)>, String> {
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(Some((value, at))),
            '\n' => return Ok(None),
            '\\' => {
                let Some((_, escape)) = chars.next() else { return Ok(None) };
                let digits = match escape {
                    'a' => Err('\u{7}'),
                    'b' => Err('\u{8}'),
                    'f' => Err('\u{c}'),
                    'n' => Err('\n'),
                    'r' => Err('\r'),
                    't' => Err('\t'),
                    'v' => Err('\u{b}'),
                    '\\' | '"' => Err(escape),
                    'x' => Ok(2),
                    'u' => Ok(4),
                    'U' => Ok(8),
                    '\n' => return Ok(None),
                    _ => return Err(format!("unknown escape \\{escape} in a quoted string")),
                };
                match digits {
                    Err(character) => value.push(character),
                    Ok(count) => {
                        let hex: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                        let character = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                        // One byte of UTF-8 has no place in a text of ours.
                        let character = character.filter(|c| count > 2 || c.is_ascii());
                        let is_hex = hex.len() == count && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                        match character.filter(|_| is_hex) {
                            Some(character) => value.push(character),
                            None => return Err(format!("bad escape \\{escape}{hex} in a quoted string")),
                        }
                    }
                }
            }
            c => value.push(c),
        }
    }
    Ok(None)
}
