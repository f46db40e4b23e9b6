//! `hull top`: the columns of `ps -ef`, as docker's.

use std::fmt::Write as _;

use clap::Args;
use hull_guest::protocol::ProcessInfo;

use super::Exit;
use crate::container::top;
use crate::context::Context;
use crate::store::Store;
use crate::text::escape;
use crate::time::{SECOND, now_ns, rfc3339_local};

const HEADINGS: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
/// Docker's table here is wider than its others.
const LEAST: usize = 20;
const PADDING: usize = 3;

#[derive(Debug, Args)]
pub struct TopArgs {
    /// Name, id or start of an id
    container: String,
    /// Refused: there is no ps(1) in between
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    ps_options: Vec<String>,
}

pub fn top(context: &Context, args: &TopArgs) -> Exit {
    if let Some(option) = args.ps_options.first() {
        return Err(anyhow::anyhow!(
            "hull top takes no options of ps ({option}); it shows the columns of ps -ef"
        )
        .into());
    }
    let store = Store::open(&context.root, &context.run)?;
    let processes = top::processes(context, &store, &args.container)?;
    let rows: Vec<[String; 8]> = processes.iter().map(|process| cells(process, now_ns())).collect();
    print!("{}", table(&rows));
    Ok(0)
}

fn table(rows: &[[String; 8]]) -> String {
    let headings = HEADINGS.map(String::from);
    let all = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| {
        let longest = all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        LEAST.max(longest.unwrap_or(0) + PADDING)
    };
    let widths: Vec<usize> = (0..HEADINGS.len() - 1).map(width).collect();
    let mut text = String::new();
    for row in all() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}");
        }
        let _ = writeln!(text, "{}", row.last().map_or("", String::as_str));
    }
    text
}

fn cells(process: &ProcessInfo, now: i64) -> [String; 8] {
    [
        escape(&process.user).to_string(),
        process.pid.to_string(),
        process.ppid.to_string(),
        process.cpu_percent.min(99).to_string(),
        started(process.start_unix, now),
        escape(&process.tty).to_string(),
        cpu_time(process.cpu_seconds),
        escape(process.command.as_bytes()).to_string(),
    ]
}

/// The time if it was today, else the day if it was this year, else the year (ps(1), STIME).
fn started(unix: u64, now: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let ns = i64::try_from(unix).unwrap_or(i64::MAX).saturating_mul(SECOND);
    let (then, now) = (rfc3339_local(ns), rfc3339_local(now));
    let part = |text: &str, from: usize, to: usize| text.get(from..to).unwrap_or_default().to_string();
    if part(&then, 0, 10) == part(&now, 0, 10) {
        return part(&then, 11, 16);
    }
    if part(&then, 0, 4) != part(&now, 0, 4) {
        return part(&then, 0, 4);
    }
    let month = part(&then, 5, 7).parse::<usize>().ok();
    let month = month.and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"?");
    format!("{month}{}", part(&then, 8, 10))
}

fn cpu_time(seconds: u64) -> String {
    let days = match seconds / 86_400 {
        0 => String::new(),
        days => format!("{days}-"),
    };
    format!("{days}{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_dockers() {
        let process = ProcessInfo { pid: 18654, ppid: 18633, user: "root".into(), ..ProcessInfo::default() };
        let mut row = cells(&process, 0);
        (row[4], row[5], row[7]) = ("03:27".into(), "?".into(), "sleep 1000".into());
        let expected = concat!(
            "UID                 PID                 PPID                C                   ",
            "STIME               TTY                 TIME                CMD\n",
            "root                18654               18633               0                   ",
            "03:27               ?                   00:00:00            sleep 1000\n"
        );
        assert_eq!(table(&[row.clone()]), expected);
        row[0] = "a name longer than a column".into();
        assert!(table(&[row]).contains("a name longer than a column   18654  "));
    }

    #[test]
    fn a_process_cannot_forge_lines() {
        let process = ProcessInfo { command: "a\nb\x1b[2J".into(), ..ProcessInfo::default() };
        assert_eq!(cells(&process, 0)[7], r"a\nb\u{1b}[2J");
    }

    #[test]
    fn starts_are_told_as_exactly_as_they_are_near() {
        // 2026-06-15 and some days before, at noon where no zone is in another day.
        let now = 1_781_524_800;
        assert_eq!(started(now - 60, i64::try_from(now).unwrap() * SECOND).len(), 5);
        assert!(started(now - 3 * 86_400, i64::try_from(now).unwrap() * SECOND).starts_with("Jun1"));
        assert_eq!(started(now - 400 * 86_400, i64::try_from(now).unwrap() * SECOND), "2025");
        assert_eq!((cpu_time(3_725), cpu_time(90_000)), ("01:02:05".into(), "1-01:00:00".into()));
    }
}
