//! `-o FILE`: written beside its place, and put there once it is whole.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Dropped before [`OutputFile::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    target: PathBuf,
    /// Where it is written until then. `None`: a pipe or the like, which is written as it is.
    temporary: Option<PathBuf>,
}

impl OutputFile {
    pub fn create(target: &Path) -> Result<Self> {
        let failed = || format!("Failed to create {}", target.display());
        match fs::metadata(target) {
            Ok(metadata) if metadata.is_dir() => bail!("{} is a folder, a file is wanted", target.display()),
            Ok(metadata) if !metadata.is_file() => {
                let file = OpenOptions::new().write(true).open(target).with_context(failed)?;
                return Ok(Self { file, target: target.to_owned(), temporary: None });
            }
            _ => {}
        }
        // A symlink stays, and what it leads to is replaced.
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        loop {
            let mut name = target.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{:08x}.tmp", RandomState::new().hash_one(0_u8) >> 32));
            let temporary = target.with_file_name(name);
            // As docker: what images and containers hold is not for everybody.
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary) {
                Ok(file) => return Ok(Self { file, target, temporary: Some(temporary) }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(failed),
            }
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file in its place.
    pub fn finish(mut self) -> Result<()> {
        if let Some(temporary) = self.temporary.take() {
            fs::rename(&temporary, &self.target).with_context(|| {
                let _ = fs::remove_file(&temporary);
                format!("Failed to rename a new file to {}", self.target.display())
            })?;
        }
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // The command has failed already, and says why.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// An archive on a terminal helps nobody.
pub fn refuse_terminal(command: &str) -> Result<()> {
    if crate::terminal::is_terminal(&io::stdout()) {
        bail!("cowardly refusing to {command} to a terminal. Use the -o flag or redirect");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_appears_when_it_is_whole_and_not_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.tar");
        fs::write(&target, b"before").unwrap();
        let output = OutputFile::create(&target).unwrap();
        output.file().write_all(b"half").unwrap();
        assert_eq!(output.file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&target).unwrap(), b"before");
        drop(output);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let output = OutputFile::create(&target).unwrap();
        output.file().write_all(b"whole").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_are_refused_and_missing_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(OutputFile::create(folder.path()).unwrap_err().to_string().contains("is a folder"));
        let error = OutputFile::create(&folder.path().join("no/such")).unwrap_err();
        assert!(error.to_string().starts_with("Failed to create"), "{error}");
    }
}
