//! `hull search`.

use clap::Args;
use serde_json::json;

use super::{Exit, output};
use crate::context::Context;
use crate::format::filter::{FilterError, Filters};
use crate::format::rows::{Headings, Row, RowFormat, ellipsis};
use crate::registry::auth::names;
use crate::registry::search::{self, Found, Image};
use crate::text::escape;

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct SearchArgs {
    /// Only those that match: is-official, is-automated, stars (at least so many)
    #[arg(short, long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    filter: Vec<String>,
    /// Columns, as a Go template: table, json, 'table {{.Name}}\t{{.StarCount}}', '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// At most so many [default: 25]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: u32,
    /// Whole descriptions
    #[arg(long)]
    no_trunc: bool,
    /// What to look for, at docker.io; with HOST[:PORT]/ before it, at that registry
    #[arg(value_name = "TERM")]
    term: String,
}

const FILTERS: [&str; 3] = ["is-official", "is-automated", "stars"];
const LIMIT: u32 = 25;
/// What of a description is shown.
const MAX_SHOWN: usize = 45;
const HEADINGS: Headings =
    &[("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL")];
const COLUMNS: &str = r"{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
/// Of a registry that has no more than names.
const NAMES: &str = "{{.Name}}";

pub fn search(context: &Context, args: &SearchArgs) -> Exit {
    let filters = output::filters(&args.filter, &FILTERS)?;
    let wanted = Wanted::new(&filters)?;
    let limit = match args.limit {
        0 => LIMIT,
        1..=100 => args.limit,
        limit => return Err(anyhow::anyhow!("limit {limit} is outside the range of [1, 100]").into()),
    };
    let (registry, term) = place(&args.term)?;
    // A mistake in the template is told before anyone is asked.
    let parsed = |columns| RowFormat::parse(args.format.as_deref(), columns);
    let (full, names) = (parsed(COLUMNS)?, parsed(NAMES)?);
    let limit = usize::try_from(limit)?;
    match search::search(&context.registries, &registry, term, limit)? {
        Found::Images(images) => {
            let shown = images.into_iter().filter(|image| wanted.fits(image));
            let as_json = matches!(full, RowFormat::Json);
            let rows: Vec<Row> = shown.map(|image| row(image, args.no_trunc, as_json)).collect();
            output::print(&full.render(HEADINGS, &rows)?)
        }
        Found::Names(_) if !args.filter.is_empty() => {
            let registry = escape(&registry);
            Err(anyhow::anyhow!("{registry} has names to search in and nothing to filter by").into())
        }
        Found::Names(found) => {
            let rows: Vec<Row> = found.into_iter().map(name_row).collect();
            output::print(&names.render(HEADINGS, &rows)?)
        }
    }
}

/// The registry to ask, and for what: docker's rule of where a name begins with a host.
fn place(term: &str) -> anyhow::Result<(String, &str)> {
    if term.contains("://") {
        anyhow::bail!("{term:?} is no term to search for: it has a scheme (HOST/TERM asks that registry)");
    }
    let (registry, rest) = match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            (names::server(host)?, rest)
        }
        _ => (names::DOCKER.to_owned(), term),
    };
    // Docker Hub calls its official images by one word.
    let rest = if registry == names::DOCKER { rest.strip_prefix("library/").unwrap_or(rest) } else { rest };
    if rest.is_empty() {
        anyhow::bail!("There is nothing to search for in {term:?}");
    }
    Ok((registry, rest))
}

struct Wanted {
    official: Option<bool>,
    automated: Option<bool>,
    stars: i64,
}

impl Wanted {
    fn new(filters: &Filters) -> Result<Self, FilterError> {
        let stars = filters.values("stars").try_fold(0, |most, value| {
            let stars: i64 = value.parse().map_err(|_| FilterError::value("stars", value))?;
            Ok(stars.max(most))
        })?;
        Ok(Self { official: filters.flag("is-official")?, automated: filters.flag("is-automated")?, stars })
    }

    fn fits(&self, image: &Image) -> bool {
        self.official.is_none_or(|wanted| image.is_official == wanted)
            && self.automated.is_none_or(|wanted| image.is_automated == wanted)
            && image.star_count >= self.stars
    }
}

fn row(image: Image, whole: bool, as_json: bool) -> Row {
    let description = image.description.unwrap_or_default().replace(['\n', '\r'], " ");
    let description = if whole { description.into() } else { ellipsis(&description, MAX_SHOWN) };
    let official = match (as_json, image.is_official) {
        (true, official) => official.to_string(),
        (false, true) => "[OK]".to_owned(),
        (false, false) => String::new(),
    };
    fields(&image.name, &description, &image.star_count.to_string(), &official)
}

/// All that is known is the name: the rest is empty, not none or zero.
fn name_row(name: String) -> Row {
    fields(&name, "", "", "")
}

fn fields(name: &str, description: &str, stars: &str, official: &str) -> Row {
    let fields =
        json!({"Name": name, "Description": description, "StarCount": stars, "IsOfficial": official});
    Row::new(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_names_its_registry_as_docker_reads_it() {
        for (term, registry, rest) in [
            ("busybox", "docker.io", "busybox"),
            ("library/busybox", "docker.io", "busybox"),
            ("jim/app", "docker.io", "jim/app"),
            ("docker.io/jim/app", "docker.io", "jim/app"),
            ("localhost/app", "localhost", "app"),
            ("x.example:5000/jim/app", "x.example:5000", "jim/app"),
        ] {
            assert_eq!(place(term).unwrap(), (registry.to_owned(), rest), "{term}");
        }
        for term in ["https://x.example/app", "x.example/", ""] {
            assert!(place(term).is_err(), "{term}");
        }
    }

    #[test]
    fn filters_are_dockers() {
        let image = |stars, official| Image {
            name: "x".into(),
            description: None,
            star_count: stars,
            is_official: official,
            is_automated: false,
        };
        let wanted = |words: &[&str]| Wanted::new(&Filters::parse(words, &FILTERS).unwrap());
        let many = wanted(&["stars=3", "stars=10", "is-official=true"]).unwrap();
        assert!(many.fits(&image(10, true)));
        assert!(!many.fits(&image(9, true)) && !many.fits(&image(10, false)));
        assert!(wanted(&[]).unwrap().fits(&image(0, false)));
        assert!(!wanted(&["is-automated=true"]).unwrap().fits(&image(0, false)));
        assert_eq!(wanted(&["stars=x"]).err().unwrap().to_string(), "invalid filter 'stars=x'");
    }

    #[test]
    fn descriptions_are_one_short_line() {
        let image = Image {
            name: "busybox".into(),
            description: Some(format!("a\nb{}", "x".repeat(100))),
            star_count: 10,
            is_official: true,
            is_automated: false,
        };
        let line = |format, whole| {
            let format = RowFormat::parse(Some(format), COLUMNS).unwrap();
            let as_json = matches!(format, RowFormat::Json);
            format.line(&row(image.clone(), whole, as_json)).unwrap()
        };
        let short = format!("busybox|a b{}…|10|[OK]", "x".repeat(41));
        assert_eq!(line("{{.Name}}|{{.Description}}|{{.StarCount}}|{{.IsOfficial}}", false), short);
        assert_eq!(line("{{len .Description}}", true), "103");
        assert!(line("json", false).contains("\"IsOfficial\":\"true\""));
    }
}
