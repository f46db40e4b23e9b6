//! Lines of a file that grows.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::MAX_LINE;

/// Bytes read at once.
const READ: usize = 256 << 10;

/// Reads complete lines; what stands behind the last newline waits for its own.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    /// Where in the file reading goes on, and where it ends.
    offset: u64,
    end: u64,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet given out.
    unread: Range<usize>,
    /// How much of `unread` has no newline.
    searched: usize,
    /// Inside a line that is too long, of which the beginning has been thrown away.
    too_long: bool,
}

impl Lines {
    /// Lines between two offsets. `buffer` is reused, whatever is in it.
    pub(super) fn new(file: File, range: Range<u64>, buffer: Vec<u8>) -> Self {
        Self { file, offset: range.start, end: range.end, buffer, unread: 0..0, searched: 0, too_long: false }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Whether there is the beginning of a line that has not ended.
    pub(super) fn has_rest(&self) -> bool {
        !self.unread.is_empty() || self.too_long
    }

    /// The next line without its newline, or None at the end of what there is by now. A line of more
    /// than [`MAX_LINE`] bytes is given as an empty one: neither can be a log's.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let from = self.unread.start + self.searched;
            let unsearched = self.buffer.get(from..self.unread.end).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', unsearched) {
                let mut line = self.unread.start..from + at;
                self.unread.start = line.end + 1;
                self.searched = 0;
                if std::mem::take(&mut self.too_long) {
                    line.start = line.end;
                }
                return Ok(self.buffer.get(line));
            }
            self.searched = self.unread.len();
            if self.searched > MAX_LINE {
                self.too_long = true;
                self.unread = 0..0;
                self.searched = 0;
            }
            if self.read_more()? == 0 {
                return Ok(None);
            }
        }
    }

    fn read_more(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        // Never more than MAX_LINE and two reads: a longer line has been thrown away above.
        let wanted = self.unread.end + READ;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let room = self.unread.end..self.unread.end + READ.min(left);
        let Some(room) = self.buffer.get_mut(room) else { return Ok(0) };
        let count = loop {
            match self.file.read_at(room, self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        self.unread.end += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn all(lines: &mut Lines) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        found
    }

    #[test]
    fn a_line_is_given_once_it_has_ended() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\nb").unwrap();
        let mut lines = Lines::new(file.try_clone().unwrap(), 0..u64::MAX, Vec::new());
        assert_eq!(all(&mut lines), ["a"]);
        assert!(lines.has_rest());
        file.write_all(b"c\n").unwrap();
        assert_eq!(all(&mut lines), ["bc"]);
        assert!(!lines.has_rest());
    }

    #[test]
    fn an_endless_line_is_passed_over_in_bounded_memory() {
        let mut file = tempfile::tempfile().unwrap();
        for _ in 0..5 {
            file.write_all(&vec![b'x'; MAX_LINE]).unwrap();
        }
        file.write_all(b"\nb\n").unwrap();
        let mut lines = Lines::new(file, 0..u64::MAX, Vec::new());
        assert_eq!(all(&mut lines), ["", "b"]);
        assert!(lines.buffer.len() <= MAX_LINE + 2 * READ);
    }

    #[test]
    fn reading_ends_where_it_was_told_to() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\nb\nc\n").unwrap();
        assert_eq!(all(&mut Lines::new(file, 2..5, vec![1; 3])), ["b"]);
    }
}
