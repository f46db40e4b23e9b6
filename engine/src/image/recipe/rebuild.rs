//! Reads a tar out of its layer file and its recipe.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zstd::stream::read::Decoder;

use super::RecipeError;
use super::format::{Header, MAX_LITERAL, Piece, WINDOW_LOG};
use crate::image::digest::Hasher;
use crate::store::Store;
use crate::store::db::images::LayerRow;

/// A tar, made again as it is read. Its last read fails if it is not the one that it should be.
pub struct Rebuilt {
    pieces: Decoder<'static, BufReader<File>>,
    layer: File,
    layer_path: PathBuf,
    recipe_path: PathBuf,
    header: Header,
    /// What is left of the piece at hand.
    literal: u32,
    offset: u64,
    length: u64,
    /// Bytes of the tar that are still to come.
    left: u64,
    hasher: Option<Hasher>,
}

impl Rebuilt {
    pub fn open(store: &Store, row: &LayerRow) -> Result<Self, RecipeError> {
        Self::of_files(&store.paths().recipe(&row.diff_id), &store.paths().layer(&row.diff_id), row)
    }

    pub fn of_files(recipe: &Path, layer: &Path, row: &LayerRow) -> Result<Self, RecipeError> {
        let failed = |what, path: &Path, source| RecipeError::Io { what, path: path.to_owned(), source };
        let mut file = match File::open(recipe) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RecipeError::None(row.diff_id));
            }
            opened => opened.map_err(|e| failed("open", recipe, e))?,
        };
        let damaged = |why| RecipeError::Damaged { path: recipe.to_owned(), why };
        let mut head = [0; Header::SIZE];
        file.read_exact(&mut head).map_err(|_| damaged("it is cut short"))?;
        let header = Header::decode(&head).ok_or_else(|| damaged("it has no header of this format"))?;
        if header.diff_id != row.diff_id || header.tar_bytes != row.tar_bytes {
            return Err(damaged("it belongs to another layer"));
        }
        let layer_file = File::open(layer).map_err(|e| failed("open", layer, e))?;
        if layer_file.metadata().map_err(|e| failed("examine", layer, e))?.len() != header.layer_bytes {
            return Err(damaged("it was made for a layer file of another size"));
        }
        let mut pieces = Decoder::new(file).map_err(|e| failed("read", recipe, e))?.single_frame();
        pieces.window_log_max(WINDOW_LOG).map_err(|e| failed("read", recipe, e))?;
        Ok(Self {
            pieces,
            layer: layer_file,
            layer_path: layer.to_owned(),
            recipe_path: recipe.to_owned(),
            left: header.tar_bytes,
            header,
            literal: 0,
            offset: 0,
            length: 0,
            hasher: Some(Hasher::default()),
        })
    }

    fn damaged(&self, why: &'static str) -> io::Error {
        invalid(RecipeError::Damaged { path: self.recipe_path.clone(), why })
    }

    /// Reads the head of the next piece. Each brings something, and no more than is left of the tar:
    /// there are only so many, whatever a damaged recipe says.
    fn next_piece(&mut self) -> io::Result<()> {
        let mut head = [0; Piece::SIZE];
        self.pieces.read_exact(&mut head).map_err(|_| self.damaged("it ends before the tar does"))?;
        let piece = Piece::decode(&head).ok_or_else(|| self.damaged("a piece out of range"))?;
        let inside = piece.offset.checked_add(piece.length).is_some_and(|end| end <= self.header.layer_bytes);
        let fits = u64::from(piece.literal).checked_add(piece.length).is_some_and(|sum| {
            // An empty piece would be no progress.
            (1..=self.left).contains(&sum)
        });
        let is_short = usize::try_from(piece.literal).is_ok_and(|literal| literal <= MAX_LITERAL);
        if !(inside && fits && is_short) {
            return Err(self.damaged("a piece out of range"));
        }
        (self.literal, self.offset, self.length) = (piece.literal, piece.offset, piece.length);
        Ok(())
    }

    /// Some of the piece at hand.
    fn read_piece(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.literal > 0 {
            let most = buf.len().min(usize::try_from(self.literal).unwrap_or(usize::MAX));
            let read = self.pieces.read(buf.get_mut(..most).unwrap_or_default());
            let n = read.map_err(|_| self.damaged("it does not decompress"))?;
            if n == 0 {
                return Err(self.damaged("it ends before the tar does"));
            }
            self.literal = self.literal.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
            return Ok(n);
        }
        let most = buf.len().min(usize::try_from(self.length).unwrap_or(usize::MAX));
        let n = self.layer.read_at(buf.get_mut(..most).unwrap_or_default(), self.offset)?;
        if n == 0 {
            return Err(self.damaged("it was made for a longer layer file"));
        }
        self.offset += n as u64;
        self.length -= n as u64;
        Ok(n)
    }

    /// Whether all that was read is what it should be. Asked once, at the end.
    fn check(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let (expected, found) = (self.header.diff_id, hasher.finish());
        if found == expected {
            return Ok(());
        }
        Err(invalid(RecipeError::Digest { path: self.layer_path.clone(), expected, found }))
    }
}

fn invalid(error: RecipeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Read for Rebuilt {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return self.check().map(|()| 0);
        }
        if self.literal == 0 && self.length == 0 {
            self.next_piece()?;
        }
        let n = self.read_piece(buf)?;
        self.left -= n as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(buf.get(..n).unwrap_or_default());
        }
        if self.left == 0 {
            // Whoever stops at the size must hear of it, too.
            self.check()?;
        }
        Ok(n)
    }
}
