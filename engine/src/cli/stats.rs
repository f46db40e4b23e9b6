//! `hull stats`.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::output::{bytes_size, short, size};
use super::{Exit, swept};
use crate::container::life::is_up;
use crate::container::stats::{Reading, Sampler};
use crate::context::Context;
use crate::format::rows::{Headings, Row, RowFormat};
use crate::store::{ContainerRow, Kind, Store};
use crate::terminal;

const TABLE: &str = r"{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.HostMem}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const HEADINGS: Headings = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("HostMem", "HOST MEM"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];
/// Between two readings: a rate needs time.
const FIRST: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct StatsArgs {
    /// Containers that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Show one reading and end
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// table, json, or a template; {{.HostMem}} is what the host pays for the container
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names, ids or starts of ids [default: all that run]
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn stats(context: &Context, args: &StatsArgs) -> Exit {
    let format = RowFormat::parse(args.format.as_deref(), TABLE)?;
    let store = swept(context)?;
    let mut named = Vec::new();
    for name in &args.containers {
        named.push((name.clone(), store.db().container(name)?.id));
    }
    let redraw = !args.no_stream && terminal::is_terminal(&io::stdout());
    let mut sampler = Sampler::default();
    let mut wait = FIRST;
    measure(&store, &mut sampler, &chosen(&store, args, &named)?);
    if redraw {
        // The whole screen is cleared once; then only what is left of longer lines.
        show("\x1b[2J")?;
    }
    loop {
        thread::sleep(wait);
        wait = INTERVAL;
        let shown = chosen(&store, args, &named)?;
        if shown.is_empty() && !named.is_empty() {
            return Ok(0);
        }
        let readings = measure(&store, &mut sampler, &shown);
        let rows: Vec<Row> = shown.iter().map(|one| row(one, readings.get(&one.row.id), args)).collect();
        let text = format.render(HEADINGS, &rows)?;
        let screen = format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"));
        if !show(if redraw { &screen } else { &text })? || args.no_stream {
            return Ok(0);
        }
    }
}

/// False: nobody reads it any more.
fn show(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// A container, and how the user named it.
struct Shown {
    word: Option<String>,
    row: ContainerRow,
}

/// Those named, as long as they are there; else all that run now, or all.
fn chosen(
    store: &Store,
    args: &StatsArgs,
    named: &[(String, String)],
) -> Result<Vec<Shown>, crate::store::Error> {
    if named.is_empty() {
        // Newest first, as docker.
        let rows = store.db().containers()?.into_iter().rev().filter(|row| args.all || is_up(row));
        return Ok(rows.map(|row| Shown { word: None, row }).collect());
    }
    let mut shown = Vec::new();
    for (word, id) in named {
        match store.db().container(id) {
            Ok(row) => shown.push(Shown { word: Some(word.clone()), row }),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(shown)
}

fn measure(
    store: &Store,
    sampler: &mut Sampler,
    shown: &[Shown],
) -> std::collections::HashMap<String, Reading> {
    let running: Vec<&ContainerRow> = shown.iter().map(|one| &one.row).filter(|row| is_up(row)).collect();
    sampler.read(store, &running)
}

fn row(shown: &Shown, reading: Option<&Reading>, args: &StatsArgs) -> Row {
    let row = &shown.row;
    let id = if args.no_trunc { &row.id } else { short(&row.id) };
    let cells = match reading {
        Some(reading) => cells(reading),
        None if is_up(row) => ["--", "-- / --", "--", "--", "--", "--", "--"].map(String::from),
        None => ["0.00%", "0B / 0B", "0.00%", "0B", "0B / 0B", "0B / 0B", "0"].map(String::from),
    };
    let names = ["CPUPerc", "MemUsage", "MemPerc", "HostMem", "NetIO", "BlockIO", "PIDs"];
    let mut fields: Map<String, Value> =
        names.into_iter().zip(cells).map(|(name, cell)| (name.to_string(), cell.into())).collect();
    fields.insert("ID".to_string(), id.into());
    fields.insert("Name".to_string(), row.name.as_str().into());
    fields.insert("Container".to_string(), shown.word.as_deref().unwrap_or(id).into());
    Row::new(fields)
}

fn cells(reading: &Reading) -> [String; 7] {
    let stats = &reading.stats;
    let [received, sent] = stats.network.iter().fold([0u64; 2], |[received, sent], device| {
        [received.saturating_add(device.rx_bytes), sent.saturating_add(device.tx_bytes)]
    });
    [
        format!("{:.2}%", reading.cpu_percent.unwrap_or(0.0)),
        format!("{} / {}", bytes_size(stats.memory_bytes), bytes_size(stats.memory_limit_bytes)),
        format!("{:.2}%", percent(stats.memory_bytes, stats.memory_limit_bytes)),
        bytes_size(reading.host_bytes),
        format!("{} / {}", size(received), size(sent)),
        format!("{} / {}", size(stats.block_read_bytes), size(stats.block_write_bytes)),
        stats.pids.to_string(),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

#[cfg(test)]
mod tests {
    use hull_guest::protocol::{NetworkStats, Stats};

    use super::*;

    #[test]
    fn amounts_are_dockers() {
        let network = |rx_bytes| NetworkStats { rx_bytes, tx_bytes: 1, ..NetworkStats::default() };
        let stats = Stats {
            memory_bytes: 492 << 10,
            memory_limit_bytes: 64 << 20,
            pids: 3,
            network: vec![network(1000), network(240)],
            block_read_bytes: 1_234_567,
            ..Stats::default()
        };
        let reading = Reading { stats, cpu_percent: Some(12.345), host_bytes: 5 << 20 };
        let expected = ["12.35%", "492KiB / 64MiB", "0.75%", "5MiB", "1.24kB / 2B", "1.23MB / 0B", "3"];
        assert_eq!(cells(&reading), expected);
    }
}
