//! One run of a command, timed.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

/// A line with the nanoseconds from just before fork to the command's end, or to the moment in which
/// `until` is complete in what it writes to stdout. The clock is CLOCK_MONOTONIC: in the KVM test host
/// with `--icount` a nanosecond is an instruction.
pub(crate) fn once(command: &[&str], until: Option<&str>) -> anyhow::Result<String> {
    let [program, args @ ..] = command else { bail!("no command") };
    let mut command = Command::new(program);
    // stdin stays open and silent, as a terminal's.
    command.args(args).stdin(Stdio::piped());
    command.stdout(if until.is_some() { Stdio::piped() } else { Stdio::null() });
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("Failed to start {program}"))?;
    let elapsed = match until {
        None => {
            let status = child.wait()?;
            let elapsed = start.elapsed();
            if !status.success() {
                bail!("{program} ended with {status}");
            }
            elapsed
        }
        Some(text) => {
            let mut stdout = child.stdout.take().context("no pipe")?;
            let found = wait_for(&mut stdout, text.as_bytes());
            let elapsed = start.elapsed();
            child.kill()?;
            child.wait()?;
            if !found? {
                bail!("{program} ended without writing {text:?}");
            }
            elapsed
        }
    };
    Ok(format!("{}\n", elapsed.as_nanos()))
}

fn wait_for(stream: &mut impl Read, text: &[u8]) -> anyhow::Result<bool> {
    let (mut seen, mut buffer) = (Vec::<u8>::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(false);
        }
        seen.extend(buffer.iter().take(count));
        if seen.windows(text.len()).any(|window| window == text) {
            return Ok(true);
        }
    }
}
