//! `hull system check`.

use std::io::{self, Write};

use clap::Args;

use super::{Exit, output};
use crate::context::Context;
use crate::image::check::{self, Finding, Outcome, Part, Report};
use crate::store::Store;
use crate::terminal;
use crate::text::escape;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only look, and repair nothing
    #[arg(long)]
    dry_run: bool,
}

/// Ends with 0 if all is well now, and with 1 if something is left to do.
pub fn check(context: &Context, args: &CheckArgs) -> Exit {
    let store = Store::open(&context.root, &context.run)?;
    let on_terminal = terminal::is_terminal(&io::stderr());
    // Whoever does not see it does not stop the check.
    let told = |part: Part| {
        if on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[KChecking {part}");
        }
    };
    let checked = check::check(&store, (!args.dry_run).then_some(&context.registries), &told);
    if on_terminal {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let report = checked?;
    output::print(&text(&report))?;
    Ok(u8::from(!report.is_well()))
}

fn text(report: &Report) -> String {
    let mut text: String = report.findings.iter().map(|finding| line(finding) + "\n").collect();
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let all = [
        plural(report.images, "image"),
        plural(report.blobs, "blob"),
        plural(report.layers, "layer"),
        plural(report.roots, "merged root"),
    ];
    let count = |wanted: fn(&Outcome) -> bool| {
        report.findings.iter().filter(|finding| wanted(&finding.outcome)).count()
    };
    let repaired = count(|outcome| matches!(outcome, Outcome::Repaired(_)));
    let left = count(|outcome| matches!(outcome, Outcome::Left(_)));
    let verdict = match (repaired, left) {
        (0, 0) => "all is well".to_owned(),
        (n, 0) => format!("{n} repaired, all is well now"),
        (0, n) => format!("{n} left to do"),
        (repaired, left) => format!("{repaired} repaired, {left} left to do"),
    };
    text += &format!("Checked {}: {verdict}\n", all.join(", "));
    text
}

fn line(finding: &Finding) -> String {
    let of = match finding.images.as_slice() {
        [] => String::new(),
        images => format!(" of {}", escape(&images.join(", "))),
    };
    let then = match &finding.outcome {
        Outcome::Repaired(how) => format!("; {}", escape(how)),
        Outcome::Left(advice) => format!(": {}", escape(advice)),
        Outcome::Unknown(why) => format!(": {why}"),
    };
    format!("{}{of}: {}{then}", finding.part, finding.fault)
}
