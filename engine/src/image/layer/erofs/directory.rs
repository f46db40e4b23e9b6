//! Directory content: blocks of records, each block with its names behind them.

use super::format::{BLOCK_LEN, Dirent, align, file_type};

/// One name.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    pub bytes: &'a [u8],
    pub nid: u64,
    pub mode: u16,
}

/// A directory's names in order; `.` and `..` stand where their bytes sort them.
pub fn with_dots<'a>(
    names: impl Iterator<Item = Name<'a>>,
    own: u64,
    parent: u64,
    mode: u16,
) -> Vec<Name<'a>> {
    let mut all: Vec<_> = names.collect();
    for (bytes, nid) in [(&b"."[..], own), (b"..", parent)] {
        let at = all.partition_point(|name| name.bytes < bytes);
        all.insert(at, Name { bytes, nid, mode });
    }
    all
}

/// The runs of names that fill a block each.
fn runs<'n, 'a>(names: &'n [Name<'a>]) -> impl Iterator<Item = &'n [Name<'a>]> {
    let mut rest = names;
    std::iter::from_fn(move || {
        let mut used = 0;
        let fitting = rest.iter().take_while(|name| {
            used += Dirent::SIZE + name.bytes.len();
            used <= BLOCK_LEN
        });
        let (run, behind) = rest.split_at(fitting.count());
        rest = behind;
        (!run.is_empty()).then_some(run)
    })
}

fn run_len(run: &[Name<'_>]) -> usize {
    run.iter().map(|name| Dirent::SIZE + name.bytes.len()).sum()
}

/// Bytes that [`encode`] will give: whole blocks, and what the last one uses.
pub fn measure(names: &[Name<'_>]) -> u64 {
    runs(names).fold(0, |size, run| align(size, BLOCK_LEN) + run_len(run)) as u64
}

pub fn encode(names: &[Name<'_>]) -> Vec<u8> {
    let mut content = Vec::new();
    for run in runs(names) {
        content.resize(align(content.len(), BLOCK_LEN), 0);
        let mut offset = run.len() * Dirent::SIZE;
        for name in run {
            let record = Dirent {
                nid: name.nid,
                // At most a block's length.
                name_offset: u16::try_from(offset).unwrap_or(u16::MAX),
                file_type: file_type(name.mode),
                reserved: 0,
            };
            content.extend(record.encode());
            offset += name.bytes.len();
        }
        for name in run {
            content.extend_from_slice(name.bytes);
        }
    }
    content
}

/// Takes a directory apart: name and inode number of each entry but `.` and `..`.
pub fn decode(content: &[u8]) -> Option<Vec<(&[u8], u64)>> {
    let mut names = Vec::new();
    for block in content.chunks(BLOCK_LEN) {
        let first = Dirent::decode(block.first_chunk()?);
        let table = block.get(..usize::from(first.name_offset))?;
        let records: Vec<_> =
            table.chunks(Dirent::SIZE).map(|record| record.first_chunk().map(Dirent::decode)).collect();
        for (at, record) in records.iter().enumerate() {
            let record = (*record)?;
            let start = usize::from(record.name_offset);
            let name = match records.get(at + 1) {
                Some(next) => block.get(start..usize::from((*next)?.name_offset))?,
                None => block.get(start..)?.split(|byte| *byte == 0).next()?,
            };
            let bad = name.is_empty() || name.contains(&b'/') || name.contains(&0);
            match name {
                _ if bad => return None,
                b"." | b".." => {}
                _ => names.push((name, record.nid)),
            }
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: u64) -> Vec<Vec<u8>> {
        let mut names: Vec<_> =
            (0..count).map(|n| format!("{n:x}-{}", "x".repeat((n % 200) as usize)).into_bytes()).collect();
        names.sort();
        names
    }

    #[test]
    fn directories_of_any_size_read_back() {
        for count in [0, 1, 20, 500, 5000] {
            let texts = names(count);
            let entries = texts.iter().zip(1..).map(|(bytes, nid)| Name { bytes, nid, mode: 0o100_644 });
            let all = with_dots(entries, 7, 8, 0o040_755);
            let content = encode(&all);
            assert_eq!(content.len() as u64, measure(&all), "{count}");
            let read = decode(&content).unwrap();
            assert_eq!(read.len() as u64, count);
            assert!(read.iter().zip(&texts).all(|((name, _), text)| name == text));
        }
    }

    #[test]
    fn dots_are_sorted_in_with_the_rest() {
        let given = [&b"!"[..], b"-a", b".a", b"a"].map(|bytes| Name { bytes, nid: 1, mode: 0 });
        let all = with_dots(given.into_iter(), 7, 8, 0);
        let order: Vec<_> = all.iter().map(|name| name.bytes).collect();
        assert_eq!(order, [&b"!"[..], b"-a", b".", b"..", b".a", b"a"]);
    }

    #[test]
    fn damaged_blocks_are_refused() {
        assert!(decode(&[0; 5]).is_none());
        assert!(decode(&[0xff; 24]).is_none());
        let slash = encode(&[Name { bytes: b"a/b", nid: 1, mode: 0 }]);
        assert!(decode(&slash).is_none());
    }
}
