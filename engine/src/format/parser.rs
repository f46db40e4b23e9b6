//! Tokens to nodes: text/template/parse/parse.go's grammar, without what defines templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ast::{Arm, At, Command, Function, Node, Operand, OperandKind, Pipe};
use super::lexer::{Kind, Token, line_of};
use super::{MAX_DEPTH, TemplateError};

type Result<T> = std::result::Result<T, TemplateError>;

/// The nodes, and the names of all fields that occur.
pub(super) fn parse(text: &str, tokens: &[Token]) -> Result<(Vec<Node>, BTreeSet<String>)> {
    let variables = vec![String::new()];
    let mut parser = Parser { text, tokens, at: 0, depth: 0, variables, fields: BTreeSet::new() };
    let (nodes, stop) = parser.list()?;
    match stop {
        Stop::Text => Ok((nodes, parser.fields)),
        Stop::End => parser.fail("unexpected {{end}}"),
        Stop::Else => parser.fail("unexpected {{else}}"),
    }
}

/// What ended a list of nodes; of `{{end}}` and `{{else` the word is read.
#[derive(Debug, PartialEq)]
enum Stop {
    Text,
    End,
    Else,
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    /// Names in scope, without `$`; the first is `$` itself.
    variables: Vec<String>,
    fields: BTreeSet<String>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn peek_is(&self, kind: &Kind) -> bool {
        self.peek().is_some_and(|token| token.kind == *kind)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn source(&self, token: &Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn word(&self) -> Option<&'a str> {
        self.peek().filter(|token| token.kind == Kind::Word).map(|token| self.source(token))
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        let token = self.tokens.get(self.at.min(self.tokens.len().saturating_sub(1)));
        let line = line_of(self.text, token.map_or(0, |token| token.start));
        Err(TemplateError::Parse { line, message: message.into() })
    }

    fn unexpected<T>(&self, place: &str) -> Result<T> {
        match self.peek() {
            Some(token) => self.fail(format!("unexpected {:?} in {place}", self.source(token))),
            None => self.fail("unexpected EOF"),
        }
    }

    /// From the token `first` to the last one read.
    fn span(&self, first: usize) -> At {
        let start = self.tokens.get(first).map_or(0, |token| token.start);
        let end = self.tokens.get(self.at.saturating_sub(1)).map_or(start, |token| token.end);
        self.position(start, self.text.get(start..end).unwrap_or_default())
    }

    fn position(&self, start: usize, part: &str) -> At {
        let line_start =
            self.text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        At { line: line_of(self.text, start), column: start - line_start, text: part.to_string() }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail(format!("more than {MAX_DEPTH} blocks and parentheses within each other"));
        }
        Ok(())
    }

    /// Text and actions up to the end, `{{end}}` or `{{else`.
    fn list(&mut self) -> Result<(Vec<Node>, Stop)> {
        self.deeper()?;
        let mut nodes = Vec::new();
        let stop = loop {
            let Some(token) = self.next() else { break Stop::Text };
            if token.kind == Kind::Text {
                nodes.push(Node::Text(self.source(token).to_string()));
                continue;
            }
            match self.word() {
                Some("end") => {
                    self.at += 1;
                    self.close("end")?;
                    break Stop::End;
                }
                Some("else") => {
                    self.at += 1;
                    break Stop::Else;
                }
                _ => nodes.push(self.action()?),
            }
        };
        self.depth -= 1;
        Ok((nodes, stop))
    }

    fn close(&mut self, place: &str) -> Result<()> {
        if !self.peek_is(&Kind::Close) {
            return self.unexpected(place);
        }
        self.at += 1;
        Ok(())
    }

    fn action(&mut self) -> Result<Node> {
        match self.word() {
            Some(word @ ("if" | "with")) => {
                self.at += 1;
                self.branch(word)
            }
            Some("range") => {
                self.at += 1;
                self.range()
            }
            Some(word @ ("define" | "template" | "block" | "break" | "continue")) => {
                self.fail(format!("{word} is not supported"))
            }
            _ => {
                let pipe = self.pipe("command", 1)?;
                self.close("command")?;
                Ok(Node::Action(pipe))
            }
        }
    }

    fn branch(&mut self, word: &str) -> Result<Node> {
        let scope = self.variables.len();
        let mut arms = Vec::new();
        let mut word = word.to_string();
        let otherwise = loop {
            let pipe = self.pipe(&word, 1)?;
            self.close(&word)?;
            let (body, stop) = self.list()?;
            arms.push(Arm { pipe, sets_dot: word == "with", body });
            match stop {
                Stop::Text => return self.fail("unexpected EOF"),
                Stop::End => break Vec::new(),
                Stop::Else => {}
            }
            match self.word() {
                Some(next @ ("if" | "with")) => {
                    word = next.to_string();
                    self.at += 1;
                }
                _ => break self.last_list()?,
            }
        };
        self.variables.truncate(scope);
        Ok(Node::Branch { arms, otherwise })
    }

    /// What follows `{{else`.
    fn last_list(&mut self) -> Result<Vec<Node>> {
        self.close("else")?;
        match self.list()? {
            (nodes, Stop::End) => Ok(nodes),
            (_, Stop::Else) => self.fail("expected end; found {{else}}"),
            (_, Stop::Text) => self.fail("unexpected EOF"),
        }
    }

    fn range(&mut self) -> Result<Node> {
        let scope = self.variables.len();
        let pipe = self.pipe("range", 2)?;
        self.close("range")?;
        let (body, stop) = self.list()?;
        let otherwise = match stop {
            Stop::Text => return self.fail("unexpected EOF"),
            Stop::End => Vec::new(),
            Stop::Else => self.last_list()?,
        };
        self.variables.truncate(scope);
        Ok(Node::Range { pipe, body, otherwise })
    }

    /// `$a, $b := command | command`, up to a delimiter or parenthesis, which stays.
    fn pipe(&mut self, place: &str, most_names: usize) -> Result<Pipe> {
        let first = self.at;
        let (names, assigns) = self.names(place, most_names)?;
        let mut commands = Vec::new();
        loop {
            match self.peek().map(|token| &token.kind) {
                None => return self.fail("unexpected EOF"),
                Some(Kind::Close | Kind::RightParen) if commands.is_empty() => {
                    return self.fail(format!("missing value for {place}"));
                }
                Some(Kind::Close | Kind::RightParen) => break,
                Some(_) => commands.push(self.command(commands.len(), place)?),
            }
            if self.peek_is(&Kind::Pipe) {
                self.at += 1;
                if self.peek_is(&Kind::Close) || self.peek_is(&Kind::RightParen) {
                    return self.fail(format!("missing value for {place}"));
                }
            }
        }
        // In scope from here on, not in the commands themselves.
        if !assigns {
            self.variables.extend(names.iter().cloned());
        }
        Ok(Pipe { at: self.span(first), names, assigns, commands })
    }

    fn names(&mut self, place: &str, most: usize) -> Result<(Vec<String>, bool)> {
        let first = self.at;
        let mut names = Vec::new();
        while let Some(token) = self.peek().filter(|token| token.kind == Kind::Variable) {
            names.push(self.source(token).trim_start_matches('$').to_string());
            self.at += 1;
            match self.peek().map(|token| &token.kind) {
                Some(Kind::Comma) if names.len() < most => self.at += 1,
                Some(Kind::Comma) => {
                    return self.fail(format!("too many declarations in {place}"));
                }
                Some(kind @ (Kind::Declare | Kind::Assign)) => {
                    let assigns = *kind == Kind::Assign;
                    for name in names.iter().filter(|_| assigns) {
                        self.known(name)?;
                    }
                    self.at += 1;
                    return Ok((names, assigns));
                }
                _ => break,
            }
        }
        self.at = first;
        Ok((Vec::new(), false))
    }

    fn known(&self, name: &str) -> Result<()> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        self.fail(format!("undefined variable \"${name}\""))
    }

    fn command(&mut self, stage: usize, place: &str) -> Result<Command> {
        let first = self.at;
        let mut operands = Vec::new();
        while let Some(token) = self.peek() {
            if matches!(token.kind, Kind::Close | Kind::RightParen | Kind::Pipe) {
                break;
            }
            if !operands.is_empty() && !token.spaced {
                return self.unexpected("operand");
            }
            operands.push(self.operand(place)?);
        }
        let mut operands = operands.into_iter();
        let Some(head) = operands.next() else { return self.fail(format!("missing value for {place}")) };
        if stage > 0 && !matches!(head.kind, OperandKind::Function(_)) {
            return self.fail(format!("non executable command in pipeline stage {}", stage + 1));
        }
        Ok(Command { at: self.span(first), first: head, arguments: operands.collect() })
    }

    fn operand(&mut self, place: &str) -> Result<Operand> {
        let first = self.at;
        let Some(token) = self.next() else { return self.fail("unexpected EOF") };
        let source = self.source(token);
        let kind = match &token.kind {
            Kind::Dot => OperandKind::Dot,
            Kind::Quoted(text) => OperandKind::Literal(Value::String(text.clone())),
            Kind::Number => OperandKind::Literal(self.number(source)?),
            Kind::Field => {
                self.at -= 1;
                OperandKind::Field(self.chain(true))
            }
            Kind::Variable => {
                let name = source.trim_start_matches('$');
                self.at -= 1;
                self.known(name)?;
                self.at += 1;
                OperandKind::Variable(name.to_string(), self.chain(false))
            }
            Kind::Word => self.named(source)?,
            Kind::LeftParen => {
                self.deeper()?;
                let pipe = self.pipe("parenthesized pipeline", 0)?;
                // The lexer has counted the parentheses.
                self.at += 1;
                self.depth -= 1;
                OperandKind::Group(Box::new(pipe), self.chain(false))
            }
            _ => {
                self.at -= 1;
                return self.unexpected(place);
            }
        };
        if self.peek().is_some_and(|next| !next.spaced && next.kind == Kind::Field) {
            return self.fail(format!("unexpected . after term {source:?}"));
        }
        Ok(Operand { at: self.operand_at(first), kind })
    }

    /// Go points at the second field of a chain.
    fn operand_at(&self, first: usize) -> At {
        let whole = self.span(first);
        match self.tokens.get(first + 1).filter(|_| self.at > first + 1) {
            Some(second) if second.kind == Kind::Field => self.position(second.start, &whole.text),
            _ => whole,
        }
    }

    /// `.A.B`, as far as nothing is between them.
    fn chain(&mut self, mut even_spaced: bool) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(token) = self.peek() {
            if token.kind != Kind::Field || (token.spaced && !even_spaced) {
                break;
            }
            even_spaced = false;
            names.push(self.source(token).trim_start_matches('.').to_string());
            self.at += 1;
        }
        self.fields.extend(names.iter().cloned());
        names
    }

    fn named(&self, word: &str) -> Result<OperandKind> {
        Ok(match word {
            "true" => OperandKind::Literal(Value::Bool(true)),
            "false" => OperandKind::Literal(Value::Bool(false)),
            "nil" => OperandKind::Nil,
            _ => match Function::named(word) {
                Some(function) => OperandKind::Function(function),
                None => return self.fail(format!("function {word:?} not defined")),
            },
        })
    }

    fn number(&self, source: &str) -> Result<Value> {
        let (sign, digits) = match source.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", source.strip_prefix('+').unwrap_or(source)),
        };
        let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
        let integer = match hex {
            Some(hex) if hex.starts_with(['+', '-']) => None,
            Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
            None => source.parse().ok(),
        };
        let is_float = hex.is_none() && digits.starts_with(|c: char| c == '.' || c.is_ascii_digit());
        let number = match integer {
            Some(integer) => Some(serde_json::Number::from(integer)),
            None if is_float => source.parse().ok().and_then(serde_json::Number::from_f64),
            None => None,
        };
        match number {
            Some(number) => Ok(Value::Number(number)),
            None => self.fail(format!("bad number syntax: {source:?}")),
        }
    }
}
