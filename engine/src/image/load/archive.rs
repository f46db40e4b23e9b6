//! An archive as a tar file that can be read at any place.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::super::error::{Error, Result};
use super::super::layer::names;
use super::super::layer::tar::{BLOCK, MemberKind, TarError, TarReader};
use super::{Members, member_name};

/// Members that an archive may have.
const MAX_MEMBERS: usize = 1 << 16;

/// Where each member lies.
pub struct Archive<'a> {
    file: &'a File,
    places: HashMap<String, Place>,
}

#[derive(Clone)]
enum Place {
    Data {
        offset: u64,
        length: u64,
    },
    /// Old releases of `docker save` link equal layers.
    Link(String),
}

impl<'a> Archive<'a> {
    /// Reads the headers, not the data between them.
    pub fn index(file: &'a File) -> Result<Self> {
        let mut places = HashMap::new();
        let mut offset = 0;
        let length = file.metadata().map_err(Error::Input)?.len();
        while offset <= length {
            // A reader for each header: it takes no byte too many, so its end is where the data are.
            let mut reader = TarReader::new(Range { file, offset, end: u64::MAX });
            let Some(member) = reader.next_member().map_err(Error::Archive)? else {
                return Ok(Self { file, places });
            };
            let start = reader.into_inner().offset;
            offset = start.saturating_add(member.stored).saturating_add(BLOCK as u64 - 1) / BLOCK as u64
                * BLOCK as u64;
            let Some(name) = member_name(&member.path) else { continue };
            let place = match member.kind {
                MemberKind::File if member.sparse.is_none() => {
                    Place::Data { offset: start, length: member.stored }
                }
                MemberKind::Symlink => match link_target(&name, &member.link) {
                    Some(target) => Place::Link(target),
                    None => continue,
                },
                MemberKind::HardLink => match member_name(&member.link) {
                    Some(target) => Place::Link(target),
                    None => continue,
                },
                _ => continue,
            };
            if places.len() >= MAX_MEMBERS {
                return Err(Error::Input(io::Error::other("the archive has more than 65536 members")));
            }
            places.insert(name, place);
        }
        // The last file's data end behind the archive.
        Err(Error::Archive(TarError::Truncated))
    }
}

impl Members for Archive<'_> {
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>> {
        let mut name = member_name(name.as_bytes());
        for _ in 0..8 {
            match name.as_ref().and_then(|name| self.places.get(name)) {
                Some(Place::Data { offset, length }) => {
                    let end = offset.saturating_add(*length);
                    return Ok(Some(Box::new(Range { file: self.file, offset: *offset, end })));
                }
                Some(Place::Link(target)) => name = Some(target.clone()),
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// What a relative symlink in an archive means, as a member's name.
pub fn link_target(name: &str, target: &[u8]) -> Option<String> {
    names::check_target(target).ok()?;
    let target = std::str::from_utf8(target).ok().filter(|target| !target.starts_with('/'))?;
    let mut parts: Vec<_> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A part of a file, read without moving the file's own position.
struct Range<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buf.len());
        let n = self.file.read_at(buf.get_mut(..wanted).unwrap_or_default(), self.offset)?;
        if n == 0 && wanted > 0 && self.end != u64::MAX {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends before its last file does",
            ));
        }
        self.offset += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_the_archive_only() {
        assert_eq!(link_target("a/layer.tar", b"../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(link_target("a/layer.tar", b"../../b"), None);
        assert_eq!(link_target("a/layer.tar", b"/etc/passwd"), None);
    }
}
