//! Docker's `--format` and `--filter`: templates over JSON, rows of lists, conditions on rows.
//!
//! A template is a subset of Go's text/template ([`SUBSET`]), rendered over a [`serde_json::Value`] instead
//! of Go's typed values. Where JSON tells less than Go's types do, these rules decide:
//!
//! - A field of the outermost object, and a name that begins with a capital (a struct's field in Go), must
//!   exist: `map has no entry for key "Foo"`. Excepted are those that docker leaves out where they are not
//!   set, such as `Health`. Any other name is a map's key, as of a label, and prints `<no value>` where it
//!   is absent.
//! - `null` is Go's nil, and the empty list and map where one is asked for. Its fields are `null`.
//! - `index` with a key that is absent gives `""` where the map holds strings, else nil.
//! - An object prints as Go's map does, keys sorted: `map[a:1 b:[x y]]`.
//!
//! Templates come from the user, what they show comes from guests and images: nesting, steps and output
//! are capped, and [`Template::render_escaped`] escapes text of the data, not of the template.

mod ast;
mod compare;
mod eval;
pub mod filter;
pub mod float;
mod functions;
mod json;
mod lexer;
mod parser;
mod printf;
pub mod rows;
pub mod tabwriter;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

pub use json::{to_json, to_json_pretty};
pub use printf::quote;

/// What of Go's templates there is, for a help text.
pub const SUBSET: &str = r#"A format is text with actions in {{ }}, a subset of Go's text/template:

  {{.Name}} {{.State.Pid}} {{.}}     a field, a field of a field, everything
  {{"text"}} {{`text`}} {{1}}        text and numbers; \t and \n in "text"
  {{$x := .Name}} {{$x}} {{$}}       a variable; $ is what the format began with
  {{.Name | upper}} {{f (g .X)}}     the last argument from the left; parentheses
  {{if A}} {{else if B}} {{else}} {{end}}
  {{with .X}} {{else}} {{end}}       as if, and . is .X inside
  {{range .X}} {{else}} {{end}}      for each element; of a map by sorted keys
  {{range $key, $value := .X}} {{end}}
  {{- and -}}                        trim the white space before and after
  {{/* a comment */}}

Functions:
  json .X                            as JSON
  index .X "key" 0                   an element of a map or a list
  slice .X 0 12                      a part of a text or a list
  len .X
  and or not                         of any values; and, or stop at the first that decides
  eq ne lt le gt ge                  compare; eq with more than two: equal to one of them
  print println printf               %s %d %v %q %t %x %X %e %f %g with width, precision, - + 0
  join .X ","  split .X ","          list to text, text to list
  upper lower title .X
  pad .X 1 2  truncate .X 12         spaces before and after; the first bytes

Lists also take: json (one object a line), table (the default columns), and "table FORMAT"
with \t between columns, headed by the fields' names."#;

/// Bytes that one rendering may make, and a function in it.
const MAX_TEXT: usize = 16 << 20;
const TOO_LONG: TemplateError = TemplateError::Limit("16 MiB of text");
/// Actions and elements that one rendering may go through.
const MAX_STEPS: u32 = 2_000_000;
const TOO_MANY: TemplateError = TemplateError::Limit("two million steps");
/// Blocks and parentheses within each other.
const MAX_DEPTH: usize = 32;

/// One line, as docker's: `template parsing error: template: :LINE:OFFSET: ...`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template. Line from 1.
    #[error("template parsing error: template: :{line}: {message}")]
    Parse { line: usize, message: String },
    /// The template does not fit the data. Line from 1, byte of the line from 0, the part that failed.
    #[error("template parsing error: template: :{line}:{column}: executing \"\" at <{part}>: {message}")]
    Execute { line: usize, column: usize, part: String, message: String },
    /// More than a rendering may cost.
    #[error("template parsing error: template: the result exceeds {0}")]
    Limit(&'static str),
}

impl TemplateError {
    /// With what `docker inspect` ends: 64 for a template that cannot be parsed, else 1. Lists end with 1
    /// either way.
    pub fn inspect_exit_code(&self) -> u8 {
        if matches!(self, TemplateError::Parse { .. }) { 64 } else { 1 }
    }
}

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<ast::Node>,
    fields: BTreeSet<String>,
}

impl Template {
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let tokens = lexer::lex(text)?;
        let (nodes, fields) = parser::parse(text, &tokens)?;
        Ok(Template { nodes, fields })
    }

    /// Text of the data as it is, for a reader that is a program.
    pub fn render(&self, data: &Value) -> Result<String, TemplateError> {
        eval::run(&self.nodes, &eval::Input { root: data, ..eval::Input::default() }).1
    }

    /// Text of the data escaped as [`crate::text::escape`] does, for a terminal. JSON stays JSON.
    pub fn render_escaped(&self, data: &Value) -> Result<String, TemplateError> {
        eval::run(&self.nodes, &eval::Input { root: data, escape: true, ..eval::Input::default() }).1
    }

    /// Whether a field of this name occurs, for what is costly to find out.
    pub fn mentions(&self, field: &str) -> bool {
        self.fields.contains(field)
    }
}
