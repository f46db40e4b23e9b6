//! The environment: the image's, `--env-file`, `-e`, in that order.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use hull_guest::protocol::Text;

/// Docker's, for images that name none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    #[error("-e \"{}\" has no name before the equals sign", .0.escape_ascii())]
    NoName(Vec<u8>),
    #[error("Failed to read the environment file {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}, line {line}: a name may not hold white space", path.display())]
    WhiteSpace { path: PathBuf, line: usize },
    #[error("{}, line {line}: no name before the equals sign", path.display())]
    FileNoName { path: PathBuf, line: usize },
}

/// Variables in the order they were first set; a later value replaces an earlier one.
#[derive(Debug, Default)]
pub struct Environment(Vec<(Vec<u8>, Vec<u8>)>);

impl Environment {
    /// What docker gives every container.
    pub fn base(hostname: &str, terminal: bool) -> Environment {
        let mut env = Environment::default();
        env.set(PATH.as_bytes());
        env.set(format!("HOSTNAME={hostname}").as_bytes());
        if terminal {
            env.set(b"TERM=xterm");
        }
        env
    }

    /// `NAME=value`; a word without an equals sign has no value here and is passed over.
    pub fn set(&mut self, word: &[u8]) {
        if let Some((name, value)) = split(word) {
            match self.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value.to_vec(),
                None => self.0.push((name.to_vec(), value.to_vec())),
            }
        }
    }

    pub fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// `-e NAME=value`, or `-e NAME`: the caller's own value, or none at all if the caller has none.
    pub fn apply(&mut self, word: &OsStr) -> Result<(), EnvError> {
        let bytes = word.as_bytes();
        if bytes.is_empty() || bytes.starts_with(b"=") {
            return Err(EnvError::NoName(bytes.to_vec()));
        }
        if bytes.contains(&b'=') {
            self.set(bytes);
        } else if let Some(value) = std::env::var_os(word) {
            self.set(&[bytes, b"=", value.as_bytes()].concat());
        } else {
            self.0.retain(|(name, _)| name != bytes);
        }
        Ok(())
    }

    /// `--env-file`: a variable a line, `#` comments; no quoting, as docker's.
    pub fn apply_file(&mut self, path: &Path) -> Result<(), EnvError> {
        let text =
            std::fs::read(path).map_err(|source| EnvError::Read { path: path.to_path_buf(), source })?;
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii_start().strip_suffix(b"\r").unwrap_or(line.trim_ascii_start());
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let (path, line_number) = (path.to_path_buf(), index + 1);
            let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
            if name.is_empty() {
                return Err(EnvError::FileNoName { path, line: line_number });
            }
            if name.iter().any(u8::is_ascii_whitespace) {
                return Err(EnvError::WhiteSpace { path, line: line_number });
            }
            self.apply(&OsString::from_vec(line.to_vec()))?;
        }
        Ok(())
    }

    pub fn into_words(self) -> Vec<Text> {
        self.0.into_iter().map(|(name, value)| Text([name, b"=".to_vec(), value].concat())).collect()
    }
}

fn split(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = word.iter().position(|byte| *byte == b'=')?;
    let (name, rest) = word.split_at(equals);
    Some((name, rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn later_words_win_and_keep_the_place_of_the_first() {
        let mut env = Environment::base("box", false);
        env.set(b"A=1");
        env.apply(OsStr::new("A=2")).unwrap();
        env.apply(OsStr::new("HULL_SURELY_NOT_SET")).unwrap();
        let words = env.into_words();
        assert_eq!(words[1], Text::from("HOSTNAME=box"));
        assert_eq!(words[2], Text::from("A=2"));
        assert_eq!(words.len(), 3);
    }

    #[test]
    fn environment_file_takes_comments_and_refuses_names_with_spaces() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# note\n\nA=b c\r\nX=\n").unwrap();
        let mut env = Environment::default();
        env.apply_file(file.path()).unwrap();
        assert_eq!(env.into_words(), [Text::from("A=b c"), Text::from("X=")]);
        file.write_all(b"B C=1\n").unwrap();
        let refused = Environment::default().apply_file(file.path());
        assert!(matches!(refused, Err(EnvError::WhiteSpace { line: 5, .. })));
    }
}
