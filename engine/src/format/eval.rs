//! Runs a template's nodes over data: text/template/exec.go's rules.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::ast::{At, Command, Function, Node, Operand, OperandKind, Pipe};
use super::functions::{self, Failure, Style};
use super::value::{Bounded, Datum, is_true, print, shown, sorted, type_name};
use super::{MAX_STEPS, TOO_LONG, TOO_MANY, TemplateError};

type Result<T> = std::result::Result<T, TemplateError>;

/// What a template is run over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    pub root: &'a Value,
    /// For `.Label "name"`, which rows have.
    pub labels: Option<&'a BTreeMap<String, String>>,
    pub escape: bool,
    pub heading: bool,
}

impl Default for Input<'_> {
    fn default() -> Self {
        Input { root: &Value::Null, labels: None, escape: false, heading: false }
    }
}

/// The text up to an error, and the whole or the error.
pub(super) fn run(nodes: &[Node], input: &Input<'_>) -> (String, Result<String>) {
    let root = Cow::Borrowed(input.root);
    let mut run = Run {
        input: *input,
        steps: 0,
        variables: vec![(String::new(), root.clone())],
        out: Bounded::default(),
    };
    match run.nodes(nodes, &root) {
        Ok(()) => {
            let text = run.out.into_string();
            (String::new(), Ok(text))
        }
        Err(error) => (run.out.into_string(), Err(error)),
    }
}

/// What docker leaves out of its JSON where it is not set, and templates may ask for all the same.
const OMITTED: [&str; 16] = [
    "Annotations",
    "ExposedPorts",
    "Health",
    "Healthcheck",
    "Init",
    "MacAddress",
    "Mounts",
    "NetworkDisabled",
    "Shell",
    "SizeRootFs",
    "SizeRw",
    "StopSignal",
    "StopTimeout",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
];

struct Run<'a> {
    input: Input<'a>,
    steps: u32,
    variables: Vec<(String, Datum<'a>)>,
    out: Bounded,
}

fn fail<T>(at: &At, message: impl Into<String>) -> Result<T> {
    let (line, column) = (at.line, at.column);
    Err(TemplateError::Execute { line, column, part: at.text.clone(), message: message.into() })
}

impl<'a> Run<'a> {
    fn nodes(&mut self, nodes: &[Node], dot: &Datum<'a>) -> Result<()> {
        for node in nodes {
            self.step()?;
            match node {
                Node::Text(text) => self.out.write_str(text).map_err(|_| TOO_LONG)?,
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.names.is_empty() {
                        self.show(&value)?;
                    }
                }
                Node::Branch { arms, otherwise } => {
                    let scope = self.variables.len();
                    self.branch(arms, otherwise, dot)?;
                    self.variables.truncate(scope);
                }
                Node::Range { pipe, body, otherwise } => {
                    let scope = self.variables.len();
                    self.range(pipe, body, otherwise, dot)?;
                    self.variables.truncate(scope);
                }
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(TOO_MANY);
        }
        Ok(())
    }

    fn show(&mut self, value: &Datum<'a>) -> Result<()> {
        let escape = self.input.escape && matches!(value, Cow::Borrowed(_));
        let shown = match value.as_ref() {
            Value::Null => self.out.write_str("<no value>"),
            value => print(&mut self.out, value, escape),
        };
        shown.map_err(|_| TOO_LONG)
    }

    fn branch(&mut self, arms: &[super::ast::Arm], otherwise: &[Node], dot: &Datum<'a>) -> Result<()> {
        for arm in arms {
            let value = self.pipe(&arm.pipe, dot)?;
            if is_true(&value) {
                return self.nodes(&arm.body, if arm.sets_dot { &value } else { dot });
            }
        }
        self.nodes(otherwise, dot)
    }

    fn range(&mut self, pipe: &Pipe, body: &[Node], otherwise: &[Node], dot: &Datum<'a>) -> Result<()> {
        let value = self.pipe_value(pipe, dot)?;
        let elements = match elements(&value, self.input.escape) {
            Some(elements) => elements,
            None => {
                let mut text = Bounded::default();
                print(&mut text, &value, true).map_err(|_| TOO_LONG)?;
                let at = pipe.commands.last().map_or(&pipe.at, |command| &command.first.at);
                return fail(at, format!("range can't iterate over {}", text.into_string()));
            }
        };
        if elements.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, element) in elements {
            self.step()?;
            let scope = self.variables.len();
            match pipe.names.as_slice() {
                [] => {}
                [only] => self.bind(pipe, only, element.clone()),
                [first, second, ..] => {
                    self.bind(pipe, first, key);
                    self.bind(pipe, second, element.clone());
                }
            }
            self.nodes(body, &element)?;
            self.variables.truncate(scope);
        }
        Ok(())
    }

    fn bind(&mut self, pipe: &Pipe, name: &str, value: Datum<'a>) {
        if !pipe.assigns {
            self.variables.push((name.to_string(), value));
        } else if let Some((_, old)) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            *old = value;
        }
    }

    /// The value of a pipe, its variable bound.
    fn pipe(&mut self, pipe: &Pipe, dot: &Datum<'a>) -> Result<Datum<'a>> {
        let value = self.pipe_value(pipe, dot)?;
        for name in &pipe.names {
            self.bind(pipe, name, value.clone());
        }
        Ok(value)
    }

    fn pipe_value(&mut self, pipe: &Pipe, dot: &Datum<'a>) -> Result<Datum<'a>> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Cow::Owned(Value::Null)))
    }

    fn command(&mut self, command: &Command, dot: &Datum<'a>, last: Option<Datum<'a>>) -> Result<Datum<'a>> {
        let first = &command.first;
        match &first.kind {
            OperandKind::Function(function) => self.call(*function, command, dot, last),
            OperandKind::Nil => fail(&first.at, "nil is not a command"),
            OperandKind::Field(names) if names.as_slice() == ["Label"] && command.arguments.len() == 1 => {
                self.label(command, dot)
            }
            OperandKind::Field(names) | OperandKind::Variable(_, names)
                if !command.arguments.is_empty() && !names.is_empty() =>
            {
                let name = names.last().map_or("", String::as_str);
                fail(&first.at, format!("{name} is not a method but has arguments"))
            }
            _ if !command.arguments.is_empty() => {
                fail(&first.at, format!("can't give argument to non-function {}", first.at.text))
            }
            _ => self.operand(first, dot),
        }
    }

    /// `.Label "name"`: docker's one method with an argument.
    fn label(&mut self, command: &Command, dot: &Datum<'a>) -> Result<Datum<'a>> {
        let name = match command.arguments.first() {
            Some(argument) => self.operand(argument, dot)?,
            None => Cow::Owned(Value::Null),
        };
        let Value::String(name) = name.as_ref() else {
            return fail(&command.at, "expected string for the name of a label");
        };
        if self.input.heading {
            let last = name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ");
            return Ok(Cow::Owned(Value::String(last)));
        }
        let Some(labels) = self.input.labels else {
            return fail(&command.first.at, "Label is not a method but has arguments");
        };
        let value = labels.get(name).map_or("", String::as_str);
        Ok(Cow::Owned(Value::String(shown(value, self.input.escape).into_owned())))
    }

    fn call(
        &mut self,
        function: Function,
        command: &Command,
        dot: &Datum<'a>,
        last: Option<Datum<'a>>,
    ) -> Result<Datum<'a>> {
        let given = command.arguments.len() + usize::from(last.is_some());
        let (least, most) = function.arity();
        if given < least || given > most {
            let (name, more) = (function.name(), if least == most { "" } else { "at least " });
            let message = format!("wrong number of args for {name}: want {more}{least} got {given}");
            return fail(&command.first.at, message);
        }
        let mut arguments = Vec::with_capacity(given);
        for argument in &command.arguments {
            let value = self.operand(argument, dot)?;
            let decides = match function {
                Function::And => !is_true(&value),
                Function::Or => is_true(&value),
                _ => false,
            };
            if decides {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(last);
        if matches!(function, Function::And | Function::Or) {
            return Ok(arguments.pop().unwrap_or(Cow::Owned(Value::Null)));
        }
        let style = Style { escape: self.input.escape, heading: self.input.heading };
        functions::call(function, arguments, style).or_else(|failure| match failure {
            Failure::Limit => Err(TOO_LONG),
            Failure::Call(message) => {
                fail(&command.at, format!("error calling {}: {message}", function.name()))
            }
            Failure::Argument(index, message) => {
                fail(command.arguments.get(index).map_or(&command.at, |argument| &argument.at), message)
            }
        })
    }

    fn operand(&mut self, operand: &Operand, dot: &Datum<'a>) -> Result<Datum<'a>> {
        let at = &operand.at;
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Cow::Owned(Value::Null)),
            OperandKind::Literal(value) => Ok(Cow::Owned(value.clone())),
            OperandKind::Field(names) => self.fields(dot.clone(), names, at),
            OperandKind::Variable(name, names) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = found.map(|(_, value)| value.clone());
                self.fields(value.unwrap_or(Cow::Owned(Value::Null)), names, at)
            }
            OperandKind::Function(function) => {
                let (least, _) = function.arity();
                if least > 0 {
                    let name = function.name();
                    return fail(at, format!("wrong number of args for {name}: want {least} got 0"));
                }
                let style = Style { escape: self.input.escape, heading: self.input.heading };
                functions::call(*function, Vec::new(), style).or(Err(TOO_LONG))
            }
            OperandKind::Group(pipe, names) => {
                let value = self.pipe(pipe, dot)?;
                self.fields(value, names, at)
            }
        }
    }

    fn fields(&self, mut value: Datum<'a>, names: &[String], at: &At) -> Result<Datum<'a>> {
        for name in names {
            let found = match value {
                Cow::Borrowed(Value::Object(map)) => map.get(name).map(Cow::Borrowed),
                Cow::Owned(Value::Object(ref mut map)) => map.remove(name).map(Cow::Owned),
                ref value if value.is_null() => Some(Cow::Owned(Value::Null)),
                value => {
                    return fail(at, format!("can't evaluate field {name} in type {}", type_name(&value)));
                }
            };
            value = match found {
                Some(found) => found,
                None if OMITTED.contains(&name.as_str()) => Cow::Owned(Value::Null),
                None if self.must_exist(&value, name) => {
                    return fail(at, format!("map has no entry for key {name:?}"));
                }
                None => Cow::Owned(Value::Null),
            };
        }
        Ok(value)
    }

    /// The module's first rule.
    fn must_exist(&self, value: &Datum<'a>, name: &str) -> bool {
        let is_root = matches!(value, Cow::Borrowed(value) if std::ptr::eq(*value, self.input.root));
        !self.input.heading && (is_root || name.starts_with(char::is_uppercase))
    }
}

/// Keys and elements of what can be ranged over.
fn elements<'a>(value: &Datum<'a>, escape: bool) -> Option<Vec<(Datum<'a>, Datum<'a>)>> {
    let key = |key: &str, escape| Cow::Owned(Value::String(shown(key, escape).into_owned()));
    match value {
        Cow::Borrowed(Value::Array(list)) => Some(numbered(list.iter().map(Cow::Borrowed))),
        Cow::Owned(Value::Array(list)) => Some(numbered(list.iter().cloned().map(Cow::Owned))),
        Cow::Borrowed(Value::Object(map)) => {
            let entries = sorted(map).into_iter();
            Some(entries.map(|(name, element)| (key(name, escape), Cow::Borrowed(element))).collect())
        }
        Cow::Owned(Value::Object(map)) => {
            let entries = sorted(map).into_iter();
            Some(entries.map(|(name, element)| (key(name, false), Cow::Owned(element.clone()))).collect())
        }
        value if value.is_null() => Some(Vec::new()),
        _ => None,
    }
}

fn numbered<'a>(list: impl Iterator<Item = Datum<'a>>) -> Vec<(Datum<'a>, Datum<'a>)> {
    list.enumerate().map(|(index, element)| (Cow::Owned(Value::from(index)), element)).collect()
}
