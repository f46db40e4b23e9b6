//! Where the last lines of a log begin, found from its end.

use std::io;
use std::os::unix::fs::FileExt;

use super::LogError;
use super::files::LogFile;

const BLOCK: usize = 64 << 10;

/// Index of the file and offset in it at which the last `wanted` complete lines begin.
pub(super) fn start(files: &[LogFile], mut wanted: u64) -> Result<(usize, u64), LogError> {
    for (index, log) in files.iter().enumerate().rev() {
        let failed = |source| LogError::io("read the log file", &log.path, source);
        match search(log, wanted).map_err(failed)? {
            Found::Start(offset) => return Ok((index, offset)),
            Found::Lines(count) => wanted -= count,
        }
    }
    Ok((0, 0))
}

enum Found {
    Start(u64),
    /// The whole file has only so many, fewer than wanted.
    Lines(u64),
}

fn search(log: &LogFile, wanted: u64) -> io::Result<Found> {
    let mut block = vec![0; BLOCK];
    // A line begins behind the newline of the one before it.
    let mut newlines = 0;
    let mut end = log.size;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK as u64);
        let length = usize::try_from(end - begin).unwrap_or(BLOCK);
        let block = block.get_mut(..length).unwrap_or_default();
        log.file.read_exact_at(block, begin)?;
        for at in memchr::memrchr_iter(b'\n', block) {
            if newlines == wanted {
                return Ok(Found::Start(begin + at as u64 + 1));
            }
            newlines += 1;
        }
        end = begin;
    }
    Ok(if newlines == wanted { Found::Start(0) } else { Found::Lines(newlines) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::files;
    use super::*;

    fn start_of(contents: &[&str], wanted: u64) -> (usize, u64) {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join(files::live_name("c"));
        for (index, text) in contents.iter().rev().enumerate() {
            fs::write(files::nth(&live, u32::try_from(index).unwrap()), text).unwrap();
        }
        start(&files::scan(&live, None).unwrap().files, wanted).unwrap()
    }

    #[test]
    fn lines_are_counted_from_the_end_and_over_files() {
        let log = ["a\nb\n", "c\nd\n"];
        assert_eq!(start_of(&log, 0), (1, 4));
        assert_eq!(start_of(&log, 1), (1, 2));
        assert_eq!(start_of(&log, 2), (1, 0));
        assert_eq!(start_of(&log, 3), (0, 2));
        assert_eq!(start_of(&log, 4), (0, 0));
        assert_eq!(start_of(&log, 99), (0, 0));
    }

    #[test]
    fn what_has_no_newline_yet_is_no_line() {
        assert_eq!(start_of(&["a\nb\nto"], 1), (0, 2));
        assert_eq!(start_of(&["a\nb\nto"], 0), (0, 4));
        assert_eq!(start_of(&["to"], 0), (0, 0));
        assert_eq!(start_of(&["", ""], 3), (0, 0));
    }

    #[test]
    fn lines_may_be_longer_than_a_block() {
        let long = format!("{}\n", "x".repeat(3 * BLOCK));
        assert_eq!(start_of(&[&format!("{long}{long}y\n")], 2), (0, long.len() as u64));
    }
}
