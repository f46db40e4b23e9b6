//! What the crates beneath report as errors, on standard error. A guest can cause some of them at will:
//! there is a limit.

use std::sync::atomic::{AtomicU32, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Lines of a server's whole life.
const MAX_LINES: u32 = 32;

struct Lines(AtomicU32);

static LINES: Lines = Lines(AtomicU32::new(0));

pub fn begin() {
    if log::set_logger(&LINES).is_ok() {
        log::set_max_level(LevelFilter::Error);
    }
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() == Level::Error
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let count = |lines: u32| (lines <= MAX_LINES).then_some(lines + 1);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count) {
            Ok(MAX_LINES) => eprintln!("hull-fs: further errors are not shown"),
            Ok(_) => eprintln!("hull-fs: {}", printable(&record.args().to_string())),
            Err(_) => {}
        }
    }

    fn flush(&self) {}
}

/// Without control characters: names in it may be a guest's.
pub fn printable(text: &str) -> String {
    let escape = |character: char| match character.is_control() {
        true => character.escape_default().collect(),
        false => String::from(character),
    };
    text.chars().map(escape).collect()
}
