//! `hull logs`: its options, and entries on their way to the caller's two outputs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context as _;
use clap::Args;

use super::{Exit, swept};
use crate::container::log;
use crate::context::Context;
use crate::logs::{Item, Options, Printer, Reader, Stream};
use crate::text::escape;
use crate::time::{self, TimeError};

/// Entries gathered before they are written.
const BATCH: usize = 64 << 10;
/// Bytes of a console's line that are shown as one.
const CONSOLE_LINE: u64 = 64 << 10;

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct LogsArgs {
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the last lines, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all", allow_negative_numbers = true, value_parser = tail)]
    tail: Tail,
    /// Only what was printed since a time (2026-01-31T12:00:00Z) or so long ago (10m)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    since: Option<i64>,
    /// Only what was printed until a time or so long ago
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    until: Option<i64>,
    /// Show when each line was printed
    #[arg(short, long)]
    timestamps: bool,
    /// Show the labels and variables that --log-opt labels and env named
    #[arg(long)]
    details: bool,
    /// Show what the guest's kernel and init wrote on their console (virtual machines, with boot_log = true
    /// in the config file)
    #[arg(long, conflicts_with_all = ["follow", "tail", "since", "until", "timestamps", "details"])]
    boot: bool,
    /// Name, id or start of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// How many lines; None is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail(Option<u64>);

/// Negative numbers mean all, as with docker.
fn tail(word: &str) -> Result<Tail, &'static str> {
    match (word, word.parse::<i64>()) {
        ("all", _) => Ok(Tail(None)),
        (_, Ok(count)) => Ok(Tail(u64::try_from(count).ok())),
        (_, Err(_)) => Err("it is neither a number nor \"all\""),
    }
}

fn time(word: &str) -> Result<i64, TimeError> {
    time::parse_since(word, time::now_ns())
}

pub fn logs(context: &Context, args: &LogsArgs) -> Exit {
    let store = swept(context)?;
    if args.boot {
        return print_console(log::console(&store, &args.container)?);
    }
    let row = store.db().container(&args.container)?;
    let reader = log::open(&store, &row)?;
    let end = if args.follow { log::end(&store, &row)? } else { None };
    args.print(&reader, end.as_ref().map(AsFd::as_fd))?;
    Ok(0)
}

/// Line by line, escaped: the guest wrote it.
fn print_console(console: File) -> Exit {
    let (mut console, mut stdout) = (BufReader::new(console), io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = console.by_ref().take(CONSOLE_LINE).read_until(b'\n', &mut line);
        if read.context("Failed to read the console's log")? == 0 {
            return Ok(0);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        match writeln!(stdout, "{}", escape(text.strip_suffix(b"\r").unwrap_or(text))) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
            written => written.context("Failed to write the log to the output")?,
        }
    }
}

impl LogsArgs {
    /// Prints the log to stdout and stderr, each what went there. Follows until `stop` is readable, if
    /// there is one: nothing will be written to the log of a container that does not run.
    fn print(&self, reader: &Reader, stop: Option<BorrowedFd<'_>>) -> Result<(), anyhow::Error> {
        let options = Options {
            tail: self.tail.0,
            since: self.since,
            until: self.until,
            follow_until: stop.filter(|_| self.follow),
        };
        let mut output = Output::new(Printer::new(self.timestamps, self.details), io::stdout(), io::stderr());
        reader.read(&options, &mut |item| output.take(&item))?;
        let _ = output.flush();
        match output.failed {
            // Whoever read this has had enough.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Some(error) => Err(error).context("Failed to write the log to the output"),
            None => Ok(()),
        }
    }
}

/// Keeps the order in which lines of the two streams came.
struct Output<O, E> {
    printer: Printer,
    stdout: O,
    stderr: E,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    stream: Stream,
    failed: Option<io::Error>,
}

impl<O: Write, E: Write> Output<O, E> {
    fn new(printer: Printer, stdout: O, stderr: E) -> Self {
        Self { printer, stdout, stderr, buffer: Vec::new(), stream: Stream::Stdout, failed: None }
    }

    fn take(&mut self, item: &Item<'_>) -> ControlFlow<()> {
        match item {
            Item::Entry(entry) => {
                if entry.stream != self.stream {
                    self.flush()?;
                    self.stream = entry.stream;
                }
                self.printer.print(entry, &mut self.buffer);
                if self.buffer.len() >= BATCH {
                    self.flush()?;
                }
            }
            Item::CaughtUp => self.flush()?,
            Item::Note(note) => {
                self.flush()?;
                let told = writeln!(self.stderr, "hull: {note}");
                self.keep(told)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) -> ControlFlow<()> {
        let out: &mut dyn Write = match self.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let written = out.write_all(&self.buffer).and_then(|()| out.flush());
        self.buffer.clear();
        self.keep(written)
    }

    fn keep(&mut self, result: io::Result<()>) -> ControlFlow<()> {
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::logs::{Attrs, Entry, Note};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: LogsArgs,
    }

    fn parse(words: &[&str]) -> Result<LogsArgs, clap::Error> {
        Command::try_parse_from([&["logs"], words, &["c"]].concat()).map(|command| command.args)
    }

    #[test]
    fn options_are_taken_in_dockers_words() {
        assert_eq!(parse(&[]).unwrap().tail, Tail(None));
        assert_eq!(parse(&["-n", "5"]).unwrap().tail, Tail(Some(5)));
        assert_eq!(parse(&["--tail", "-1"]).unwrap().tail, Tail(None));
        assert_eq!(parse(&["--tail=all", "--tail=0"]).unwrap().tail, Tail(Some(0)));
        assert_eq!(
            parse(&["--since", "5", "--until", "1970-01-01T00:00:06Z"]).unwrap().until,
            Some(6 * time::SECOND)
        );
        assert!(parse(&["-ft", "--since=-1h"]).unwrap().follow);
        for bad in [["--tail", "many"], ["--since", "noon"], ["--until", ""]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_stream_goes_to_its_own_output() {
        let attrs = Attrs::new();
        let entry = |stream, bytes| Item::Entry(Entry { stream, time: 0, attrs: &attrs, bytes });
        let mut output = Output::new(Printer::default(), Vec::new(), Vec::new());
        for item in [
            entry(Stream::Stdout, &b"a\n"[..]),
            entry(Stream::Stderr, b"b\n"),
            entry(Stream::Stdout, b"c"),
            Item::Note(Note::Damaged),
            entry(Stream::Stdout, b"d\n"),
            Item::CaughtUp,
        ] {
            assert!(output.take(&item).is_continue());
        }
        assert_eq!(output.stdout, b"a\ncd\n");
        assert_eq!(output.stderr, b"b\nhull: the log has damaged lines; they are left out\n");
    }

    #[test]
    fn an_output_that_fails_ends_the_reading() {
        let mut full = [0; 1];
        let mut output = Output::new(Printer::default(), &mut full[..], io::empty());
        let entry = Entry { stream: Stream::Stdout, time: 0, attrs: &Attrs::new(), bytes: b"ab" };
        assert!(output.take(&Item::Entry(entry)).is_continue());
        assert!(output.take(&Item::CaughtUp).is_break());
        assert!(output.failed.is_some());
    }
}
