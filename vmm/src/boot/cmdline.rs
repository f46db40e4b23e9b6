//! The kernel's command line, built word by word within its bound.

use crate::memory::layout::CMDLINE_MAX;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("The kernel command line would be longer than {} bytes with {word:?}", CMDLINE_MAX - 1)]
pub struct TooLong {
    word: String,
}

/// Words for the kernel, apart by spaces, [`CMDLINE_MAX`] bytes with the NUL at most.
#[derive(Debug, Default)]
pub struct Cmdline(String);

impl Cmdline {
    /// Adds words; an empty string adds nothing.
    pub fn add(&mut self, words: &str) -> Result<(), TooLong> {
        let words = words.trim_matches(' ');
        if words.is_empty() {
            return Ok(());
        }
        // The space before, and the NUL behind.
        if self.0.len() + words.len() + 2 > CMDLINE_MAX {
            return Err(TooLong { word: words.chars().take(64).collect() });
        }
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(words);
        Ok(())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_set_apart_by_one_space() {
        let mut cmdline = Cmdline::default();
        for words in ["", "quiet", " panic=-1 ", "  "] {
            cmdline.add(words).unwrap();
        }
        assert_eq!(cmdline.as_str(), "quiet panic=-1");
    }

    #[test]
    fn line_and_its_nul_fit_the_bound() {
        let mut cmdline = Cmdline::default();
        cmdline.add(&"a".repeat(CMDLINE_MAX - 4)).unwrap();
        assert!(cmdline.add("bcd").is_err());
        cmdline.add("b").unwrap();
        assert_eq!(cmdline.as_str().len() + 1, CMDLINE_MAX - 1);
    }
}
