//! The question before a prune.

use std::io::{self, BufRead, Write};

/// Shows what is going to happen and asks whether it may, with docker's words; anything but y is a no.
pub fn confirmed(warning: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    write!(out, "WARNING! {warning}\nAre you sure you want to continue? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
