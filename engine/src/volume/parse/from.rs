//! `--volumes-from CONTAINER[:MODE]`.

use super::{ParseError, flags};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// A container's name, or the start of its id.
    pub container: String,
    pub readonly: bool,
    /// Shown as each mount's mode.
    pub mode: String,
}

pub fn parse(word: &str) -> Result<From, ParseError> {
    if word.is_empty() {
        return Err(ParseError::FromEmpty);
    }
    let (container, mode) = word.split_once(':').unwrap_or((word, ""));
    if container.is_empty() {
        return Err(ParseError::FromNobody);
    }
    // How what is mounted behaves is the other container's to have said.
    let flags = flags::parse(mode).filter(|flags| flags.propagation.is_none() && !flags.nocopy);
    let flags = flags.ok_or_else(|| ParseError::Mode(mode.to_string()))?;
    Ok(From { container: container.to_string(), readonly: flags.readonly, mode: mode.to_string() })
}
