//! What list commands print: docker's table, a line a row, or JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::json::to_json;
use super::tabwriter::align;
use super::{Template, TemplateError, eval};

/// One thing of a list.
#[derive(Debug, Clone)]
pub struct Row {
    fields: Value,
    labels: BTreeMap<String, String>,
}

impl Row {
    /// Fields by docker's names. All of them are in the JSON, so every row needs the same.
    pub fn new(fields: impl Into<Value>) -> Row {
        let mut fields = fields.into();
        // Docker's are sorted.
        if let Value::Object(fields) = &mut fields {
            fields.sort_keys();
        }
        Row { fields, labels: BTreeMap::new() }
    }

    /// For `{{.Label "name"}}`.
    #[must_use]
    pub fn with_labels(self, labels: BTreeMap<String, String>) -> Row {
        Row { labels, ..self }
    }
}

/// The headings of a command's columns, by field.
pub type Headings<'a> = &'a [(&'a str, &'a str)];

/// A list's `--format`.
#[derive(Debug)]
pub enum RowFormat {
    Table(Template),
    Lines(Template),
    Json,
}

impl RowFormat {
    /// None, nothing and `table` are the default table, whose columns are given as a template:
    /// `{{.ID}}\t{{.Names}}`. `json` is a JSON object a line, `table ...` a table of other columns, everything
    /// else a line a row. In all of it `\t` and `\n` are tab and line end, even inside actions, as docker's.
    pub fn parse(format: Option<&str>, default_table: &str) -> Result<RowFormat, TemplateError> {
        let format = format.unwrap_or_default().trim_matches(' ');
        let template =
            |text: &str| Template::parse(&text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n"));
        match format.strip_prefix("table") {
            Some("") => Ok(RowFormat::Table(template(default_table)?)),
            Some(columns) => Ok(RowFormat::Table(template(columns)?)),
            None if format.is_empty() => Ok(RowFormat::Table(template(default_table)?)),
            None if format == "json" => Ok(RowFormat::Json),
            None => Ok(RowFormat::Lines(template(format)?)),
        }
    }

    /// Whether a field is asked for by its name, for what is costly to find out.
    pub fn mentions(&self, field: &str) -> bool {
        match self {
            RowFormat::Table(template) | RowFormat::Lines(template) => template.mentions(field),
            RowFormat::Json => false,
        }
    }

    /// All rows, each line ended. Text of the rows is escaped for a terminal.
    pub fn render(&self, headings: Headings<'_>, rows: &[Row]) -> Result<String, TemplateError> {
        let mut text = match self {
            RowFormat::Table(template) => format!("{}\n", heading(template, headings)),
            RowFormat::Lines(_) | RowFormat::Json => String::new(),
        };
        for row in rows {
            text.push_str(&self.line(row)?);
            text.push('\n');
        }
        Ok(if matches!(self, RowFormat::Table(_)) { align(&text) } else { text })
    }

    /// One row of a list that has no end, its line not ended. A table's columns are not aligned.
    pub fn line(&self, row: &Row) -> Result<String, TemplateError> {
        match self {
            RowFormat::Json => Ok(to_json(&row.fields)),
            RowFormat::Table(template) | RowFormat::Lines(template) => {
                let labels = Some(&row.labels);
                let input = eval::Input { root: &row.fields, labels, escape: true, heading: false };
                eval::run(&template.nodes, &input).1
            }
        }
    }
}

/// The template over the headings. What fails there ends the line without a word, as docker's: the rows
/// will tell.
fn heading(template: &Template, headings: Headings<'_>) -> String {
    let headings = headings.iter().map(|(field, heading)| ((*field).to_string(), Value::from(*heading)));
    let root = Value::Object(headings.collect());
    let input = eval::Input { root: &root, heading: true, ..eval::Input::default() };
    let (partial, whole) = eval::run(&template.nodes, &input);
    whole.unwrap_or(partial)
}

/// A cell's text cut to a number of characters, the last of them a `…` then.
pub fn ellipsis(text: &str, most: usize) -> Cow<'_, str> {
    if text.chars().count() <= most {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    Cow::Owned(if most == 0 { kept } else { kept + "…" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEADINGS: Headings = &[("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Image", "IMAGE")];
    const DEFAULT: &str = r"{{.ID}}\t{{.Image}}\t{{.Names}}";

    fn row(id: &str, names: &str, image: &str) -> Row {
        let Value::Object(fields) = json!({"Names": names, "ID": id, "Image": image}) else { unreachable!() };
        Row::new(fields).with_labels([("com.x.my-label".to_string(), format!("of {names}"))].into())
    }

    fn rendered(format: Option<&str>) -> String {
        let rows =
            [row("0123456789ab", "one", "busybox"), row("1123456789ab", "another", "a/long/name:latest")];
        match RowFormat::parse(format, DEFAULT).and_then(|format| format.render(HEADINGS, &rows)) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn without_a_format_there_is_the_default_table() {
        let table = "CONTAINER ID   IMAGE                NAMES\n\
                     0123456789ab   busybox              one\n\
                     1123456789ab   a/long/name:latest   another\n";
        for format in [None, Some(""), Some("table"), Some("table ")] {
            assert_eq!(rendered(format), table);
        }
    }

    // Each compared with docker 20.10.24 and 28.2.2 over the same rows.
    #[test]
    fn tables_and_lines_are_dockers() {
        for (format, expected) in [
            (r"{{.ID}}", "0123456789ab\n1123456789ab\n"),
            (r"  {{.ID}}\n{{.Names}} ", "0123456789ab\none\n1123456789ab\nanother\n"),
            ("foo", "foo\nfoo\n"),
            (
                r"table {{.ID}}\t{{.Names}}\t",
                concat!(
                    "CONTAINER ID   NAMES     \n",
                    "0123456789ab   one       \n",
                    "1123456789ab   another   \n"
                ),
            ),
            (
                r#"table{{.ID}} {{.Label "com.x.my-label"}}"#,
                "CONTAINER ID my label\n0123456789ab of one\n1123456789ab of another\n",
            ),
            (
                r"table {{upper .Names}}\t{{json .ID}}\t{{len .Names}}",
                concat!(
                    "NAMES     CONTAINER ID     5\n",
                    "ONE       \"0123456789ab\"   3\n",
                    "ANOTHER   \"1123456789ab\"   7\n"
                ),
            ),
            (
                r"table {{truncate .Names 3}}\t{{pad .ID 1 2}}|",
                concat!(
                    "NAMES      CONTAINER ID  |\n",
                    "one        0123456789ab  |\n",
                    "ano        1123456789ab  |\n"
                ),
            ),
        ] {
            assert_eq!(rendered(Some(format)), expected, "{format}");
        }
    }

    #[test]
    fn json_is_an_object_a_line_with_sorted_keys() {
        let expected = concat!(
            r#"{"ID":"0123456789ab","Image":"busybox","Names":"one"}"#,
            "\n",
            r#"{"ID":"1123456789ab","Image":"a/long/name:latest","Names":"another"}"#,
            "\n"
        );
        assert_eq!(rendered(Some("json")), expected);
        assert_eq!(rendered(Some("{{json .}}")), expected);
    }

    #[test]
    fn a_field_that_no_row_has_is_an_error() {
        let expected = "template parsing error: template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"";
        assert_eq!(rendered(Some("{{.Foo}}")), expected);
        assert!(
            rendered(Some(r#"{{join (split .Names "e") "\n"}}"#)).ends_with("unterminated quoted string")
        );
    }

    #[test]
    fn a_table_without_rows_has_its_headings() {
        let table = RowFormat::parse(Some(r"table {{.ID}}\t{{.Nope}}"), DEFAULT).unwrap();
        assert_eq!(table.render(HEADINGS, &[]).unwrap(), "CONTAINER ID   <no value>\n");
        assert!(table.mentions("ID") && !table.mentions("Size"));
    }

    #[test]
    fn a_row_cannot_forge_lines_or_columns() {
        let row = row("x\ny\tz", "\u{1b}[2J", "\u{202e}");
        let format = RowFormat::parse(Some("{{.ID}} {{upper .Names}} {{printf \"%s\" .Image}}"), "").unwrap();
        assert_eq!(format.line(&row).unwrap(), r"x\ny\tz \U{1B}[2J \u{202e}");
        assert!(!RowFormat::Json.line(&row).unwrap().contains(['\u{1b}', '\u{202e}', '\n']));
    }

    #[test]
    fn long_cells_are_cut() {
        assert_eq!(ellipsis("sleep 100 and more than twenty", 20), "sleep 100 and more …");
        assert_eq!(ellipsis("grüße", 5), "grüße");
        assert_eq!(ellipsis("grüße", 4), "grü…");
    }
}
