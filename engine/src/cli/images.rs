//! `hull images`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::output::{self, ago, short, size};
use super::{Exit, Failure};
use crate::context::Context;
use crate::format::rows::{Headings, Row, RowFormat};
use crate::image::Naming;
use crate::image::list::{self, FILTERS, Listed};
use crate::store::Store;
use crate::time::{SECOND, go_local, now_ns};

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ListArgs {
    /// Digests that the images were pulled or pushed by, too
    #[arg(long)]
    digests: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Only those that match: dangling, label, before, since, reference, until
    #[arg(short, long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    filter: Vec<String>,
    /// Columns, as a Go template: table, json, 'table {{.ID}}\t{{.Tag}}', '{{.Repository}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only this repository or name; may have * ? [a-z]
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

pub const NONE: &str = "<none>";
/// Go's zero time, for images that do not say when they were made.
const NEVER: &str = "0001-01-01 00:00:00 +0000 UTC";

pub const HEADINGS: Headings = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const COLUMNS: &str = r"{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

pub fn list(context: &Context, args: &ListArgs) -> Exit {
    let naming = &context.config.short_names;
    let filters = output::filters(&args.filter, &FILTERS)?;
    let (format, digests) = format(args)?;
    let store = Store::open(&context.root, &context.run)?;
    let images = list::list(&store, naming, &filters, args.reference.as_deref())?;
    let rows: Vec<Row> = images
        .iter()
        .flat_map(|image| {
            let names = lines(image, naming, digests).into_iter();
            names.map(|name| fields(image, name, args.no_trunc))
        })
        .collect();
    output::print(&format.render(HEADINGS, &rows)?)
}

/// The format, and whether digests are shown. As docker's client, a format goes before `-q`.
fn format(args: &ListArgs) -> Result<(RowFormat, bool), Failure> {
    let wanted = args.format.as_deref().filter(|format| !matches!(*format, "" | "table"));
    let digest = if args.digests { r"{{.Digest}}\t" } else { "" };
    let columns = format!(r"{{{{.Repository}}}}\t{{{{.Tag}}}}\t{digest}{COLUMNS}");
    let format = match wanted {
        None if args.quiet => RowFormat::parse(Some("{{.ID}}"), &columns)?,
        wanted => RowFormat::parse(wanted, &columns)?,
    };
    let digests = args.digests || format.mentions("Digest");
    Ok((format, digests))
}

/// Repository, tag and digest of a line.
pub struct Line {
    pub repository: String,
    pub tag: String,
    pub digest: String,
}

/// A line a tag, with its repository's digest; then a line a repository that has only digests; or one line
/// of `<none>`.
pub fn lines(image: &Listed, naming: &Naming, with_digests: bool) -> Vec<Line> {
    #[derive(Default)]
    struct Repository {
        tags: Vec<String>,
        digests: Vec<String>,
    }
    let mut repositories: BTreeMap<String, Repository> = BTreeMap::new();
    for name in &image.names {
        let repository = repositories.entry(naming.familiar_repository(name)).or_default();
        match (name.digest, &name.tag) {
            (Some(digest), _) => repository.digests.push(digest.to_string()),
            (None, Some(tag)) => repository.tags.push(tag.clone()),
            (None, None) => {}
        }
    }
    let none = || NONE.to_owned();
    let mut lines = Vec::new();
    for (repository, Repository { tags, digests }) in repositories {
        let tags = if tags.is_empty() { vec![none()] } else { tags };
        let digests = if with_digests && !digests.is_empty() { digests } else { vec![none()] };
        for tag in &tags {
            let line = |digest: &String| Line {
                repository: repository.clone(),
                tag: tag.clone(),
                digest: digest.clone(),
            };
            lines.extend(digests.iter().map(line));
        }
    }
    if lines.is_empty() {
        lines.push(Line { repository: none(), tag: none(), digest: none() });
    }
    lines
}

fn fields(image: &Listed, line: Line, whole: bool) -> Row {
    let row = &image.row;
    let id = row.id.to_string();
    let (created_at, since) = created(image);
    let fields = json!({
        "ID": if whole { &id } else { short(&id) },
        "Repository": line.repository,
        "Tag": line.tag,
        "Digest": line.digest,
        "CreatedSince": since,
        "CreatedAt": created_at,
        "Size": size(row.bytes),
        "Containers": "N/A",
        "VirtualSize": output::human_size(row.bytes),
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    });
    Row::new(fields)
}

/// When, and how long ago; the latter is empty for an image that does not say it.
pub fn created(image: &Listed) -> (String, String) {
    match list::created(&image.row) {
        Some(ns) => (go_local(ns), ago((now_ns() - ns) / SECOND)),
        None => (NEVER.to_owned(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;
    use crate::store::db::images::ImageRow;

    fn shown(names: &[&str], with_digests: bool) -> Vec<[String; 3]> {
        let id = Digest::of(b"");
        let row =
            ImageRow { id, manifest: id, created: String::new(), added: 0, bytes: 0, names: Vec::new() };
        let image = Listed { row, names: names.iter().map(|name| name.parse().unwrap()).collect() };
        let lines = lines(&image, &Naming::default(), with_digests);
        lines.into_iter().map(|line| [line.repository, line.tag, line.digest]).collect()
    }

    #[test]
    fn a_tag_and_its_digest_are_one_line() {
        let digest = Digest::of(b"manifest").to_string();
        let by_digest = format!("localhost:5000/bb@{digest}");
        let names = ["busybox:1", "localhost:5000/bb:1", "localhost:5000/bb:2", &by_digest];
        let tags = [["busybox", "1"], ["localhost:5000/bb", "1"], ["localhost:5000/bb", "2"]];
        for (with_digests, digest) in [(false, NONE), (true, digest.as_str())] {
            let expected = tags.map(|[name, tag]| [name, tag, if name == "busybox" { NONE } else { digest }]);
            assert_eq!(shown(&names, with_digests), expected);
        }
    }

    #[test]
    fn names_by_digest_alone_have_no_tag() {
        let digest = Digest::of(b"manifest").to_string();
        let name = format!("localhost:5000/bb@{digest}");
        assert_eq!(shown(&[&name], false), [["localhost:5000/bb", NONE, NONE]]);
        assert_eq!(shown(&[&name], true), [["localhost:5000/bb", NONE, digest.as_str()]]);
        assert_eq!(shown(&[], true), [[NONE, NONE, NONE]]);
    }
}
