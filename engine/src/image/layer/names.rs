//! Names from a tar, cleaned.

/// Bytes of a whole name (PATH_MAX without its NUL).
const MAX_PATH: usize = 4095;
/// Bytes of a component (NAME_MAX).
const MAX_COMPONENT: usize = 255;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    #[error("the name contains \"..\"")]
    Parent,
    #[error("the name contains a NUL byte")]
    Nul,
    #[error("the name is longer than {MAX_PATH} bytes")]
    Path,
    #[error("a part of the name is longer than {MAX_COMPONENT} bytes")]
    Component,
}

/// The components of a name below the image's root. Leading `/` and `./` mean nothing there, nor do
/// doubled or trailing slashes. `..` is refused: no honest writer of layers uses it.
pub fn components(path: &[u8]) -> Result<Vec<&[u8]>, NameError> {
    check_target(path)?;
    let parts: Vec<_> =
        path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err(NameError::Parent);
    }
    if parts.iter().any(|part| part.len() > MAX_COMPONENT) {
        return Err(NameError::Component);
    }
    Ok(parts)
}

/// What holds for a symlink's target, which may otherwise be any text.
pub fn check_target(path: &[u8]) -> Result<(), NameError> {
    if path.len() > MAX_PATH {
        return Err(NameError::Path);
    }
    if path.contains(&0) {
        return Err(NameError::Nul);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_and_dotted_names_are_made_relative() {
        for path in ["a/b", "/a/b", "./a/b", "//a/./b/", "././/a//b/."] {
            assert_eq!(components(path.as_bytes()).unwrap(), [b"a", b"b"], "{path}");
        }
        assert!(components(b"./").unwrap().is_empty());
    }

    #[test]
    fn names_that_climb_or_are_too_long_are_refused() {
        for path in ["..", "../a", "a/..", "a/../b", "/../a"] {
            assert_eq!(components(path.as_bytes()), Err(NameError::Parent), "{path}");
        }
        assert_eq!(components(&[b'a'; 256]), Err(NameError::Component));
        assert_eq!(components(&b"a/".repeat(2048)), Err(NameError::Path));
        assert_eq!(components(b"a\0b"), Err(NameError::Nul));
        assert!(components(b"...").is_ok());
    }
}
