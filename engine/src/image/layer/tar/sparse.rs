//! Sparse files: GNU's old header fields and its PAX forms 0.0, 0.1 and 1.0 (tar manual, "Storing
//! Sparse Files"). All come down to a list of fragments; what lies between them is never stored.

use super::TarError;
use super::pax::decimal;

/// Fragments one file may have: 4 MiB of memory.
pub const MAX_FRAGMENTS: usize = 1 << 18;

/// A run of stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    pub offset: u64,
    pub length: u64,
}

/// What a PAX header says of a sparse file.
#[derive(Default)]
pub struct PaxSparse {
    major: Option<u64>,
    pub name: Option<Vec<u8>>,
    pub size: Option<u64>,
    /// Forms 0.0 and 0.1: offset, length, offset, length, ...
    numbers: Vec<u64>,
}

/// Where the fragments are found.
pub enum MapPlace {
    NotSparse,
    InHeader(Vec<(i64, i64)>),
    /// Form 1.0: before the data.
    InData,
}

impl PaxSparse {
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let number = || decimal(value).ok_or(TarError::Number("sparse map"));
        match key {
            b"GNU.sparse.major" => self.major = Some(number()?),
            b"GNU.sparse.name" => self.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.size = Some(number()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.push(number()?)?,
            b"GNU.sparse.map" => {
                self.numbers.clear();
                for text in value.split(|byte| *byte == b',').filter(|text| !text.is_empty()) {
                    self.push(decimal(text).ok_or(TarError::Number("sparse map"))?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, number: u64) -> Result<(), TarError> {
        if self.numbers.len() >= 2 * MAX_FRAGMENTS {
            return Err(TarError::SparseMap);
        }
        self.numbers.push(number);
        Ok(())
    }

    pub fn place(&self) -> Result<MapPlace, TarError> {
        match (self.major, self.size) {
            (Some(1), _) => Ok(MapPlace::InData),
            (Some(major), _) if major > 1 => Err(TarError::SparseMap),
            (_, Some(_)) => {
                let pairs = self.numbers.chunks_exact(2);
                if !pairs.remainder().is_empty() {
                    return Err(TarError::SparseMap);
                }
                pairs
                    .map(|pair| match pair {
                        [offset, length] => i64::try_from(*offset).ok().zip(i64::try_from(*length).ok()),
                        _ => None,
                    })
                    .collect::<Option<_>>()
                    .map(MapPlace::InHeader)
                    .ok_or(TarError::SparseMap)
            }
            _ => Ok(MapPlace::NotSparse),
        }
    }
}

/// Checks a map against the sizes around it: ascending, inside the file, and exactly the bytes stored.
pub fn check(map: &[(i64, i64)], size: u64, stored: u64) -> Result<Vec<Fragment>, TarError> {
    let mut end = 0_u64;
    let mut sum = 0_u64;
    let mut fragments = Vec::with_capacity(map.len());
    for (offset, length) in map {
        let offset = u64::try_from(*offset).map_err(|_| TarError::SparseMap)?;
        let length = u64::try_from(*length).map_err(|_| TarError::SparseMap)?;
        if offset < end {
            return Err(TarError::SparseMap);
        }
        end = offset.checked_add(length).filter(|end| *end <= size).ok_or(TarError::SparseMap)?;
        sum += length;
        if length > 0 {
            fragments.push(Fragment { offset, length });
        }
    }
    if sum != stored {
        return Err(TarError::SparseMap);
    }
    Ok(fragments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_must_ascend_stay_inside_and_cover_what_is_stored() {
        assert_eq!(check(&[(0, 5), (10, 0)], 10, 5).unwrap(), [Fragment { offset: 0, length: 5 }]);
        for (map, size, stored) in [
            (&[(5, 5), (0, 5)][..], 10, 10),
            (&[(0, 6), (5, 5)], 10, 11),
            (&[(0, 11)], 10, 11),
            (&[(0, 5)], 10, 6),
            (&[(-1, 5)], 10, 5),
            (&[(i64::MAX, i64::MAX)], u64::MAX, 5),
        ] {
            assert!(check(map, size, stored).is_err(), "{map:?}");
        }
    }
}
