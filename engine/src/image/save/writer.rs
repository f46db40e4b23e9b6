//! The archive's tar.

use std::io::{self, BufWriter, Read, Write};

use hull_guest::archive::{Entry, end, padding};

const BUFFER: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("Failed to write the archive")]
    Write(#[source] io::Error),
    #[error("Failed to read {member} from the store")]
    Read { member: String, source: io::Error },
    #[error("{member} in the store has {found} bytes instead of {expected}")]
    Size { member: String, expected: u64, found: u64 },
}

pub struct TarWriter<W: Write>(BufWriter<W>);

impl<W: Write> TarWriter<W> {
    pub fn new(out: W) -> Self {
        Self(BufWriter::with_capacity(BUFFER, out))
    }

    pub fn directory(&mut self, name: &str) -> Result<(), SaveError> {
        self.put(&Entry::directory(name.as_bytes()).encode())
    }

    pub fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), SaveError> {
        self.file(name, bytes.len() as u64, &mut { bytes })
    }

    /// A file of `size` bytes; any other number of them is an error.
    pub fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<(), SaveError> {
        self.put(&Entry::file(name.as_bytes(), size).encode())?;
        let mut chunk = vec![0; BUFFER];
        let mut found = 0;
        // To its very end, which is where a stream is checked.
        loop {
            let n = match content.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(SaveError::Read { member: name.to_owned(), source }),
            };
            found += n as u64;
            if found > size {
                break;
            }
            self.put(chunk.get(..n).unwrap_or_default())?;
        }
        if found != size {
            return Err(SaveError::Size { member: name.to_owned(), expected: size, found });
        }
        self.put(padding(size))
    }

    pub fn finish(mut self) -> Result<(), SaveError> {
        self.put(&end())?;
        self.0.flush().map_err(SaveError::Write)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SaveError> {
        self.0.write_all(bytes).map_err(SaveError::Write)
    }
}
