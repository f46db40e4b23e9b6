//! `-v [SOURCE:]TARGET[:MODE]`.

use std::path::{Path, PathBuf};

use super::{
    AskedMount, AskedVolume, MountError, ParseError, Source, against_here, checked, clean, flags, target,
};

#[derive(Debug, PartialEq, Eq)]
pub enum Short {
    /// `-v TARGET`
    Target(String),
    /// And the word as inspect shows it.
    Mount { mount: Box<AskedMount>, shown: String },
}

/// `driver`: of volumes that are made for it.
pub fn parse(word: &str, driver: Option<&str>) -> Result<Short, ParseError> {
    if word.is_empty() {
        return Err(ParseError::Empty);
    }
    let mut parts = word.split(':');
    let sections = (parts.next().unwrap_or_default(), parts.next(), parts.next(), parts.next());
    let (first, second, mode) = match sections {
        (.., Some(_)) if !word.split(':').any(str::is_empty) => {
            return Err(ParseError::Spec(word.to_string()));
        }
        (first, second, mode, _) => (first, second, mode),
    };
    if word.split(':').any(str::is_empty) {
        return Err(ParseError::EmptySection(word.to_string()));
    }
    let kind = if second.is_some() && first.starts_with(['/', '.']) { "bind" } else { "volume" };
    let in_spec = |source| ParseError::InSpec { word: word.to_string(), kind, source };
    let Some(second) = second else {
        return Ok(Short::Target(target(first).map_err(in_spec)?));
    };
    if mode.is_none() && flags::parse(second).is_some() {
        return Err(ParseError::Spec(word.to_string()));
    }
    let mode = mode.unwrap_or_default();
    let flags = flags::parse(mode).ok_or_else(|| ParseError::Mode(mode.to_string()))?;
    checked(first).map_err(in_spec)?;
    let local = first.starts_with('.');
    let first = if local { against_here(first)? } else { first.to_string() };
    let shown =
        [&first, second, mode].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(":");
    let source = if first.starts_with('/') {
        if flags.nocopy {
            return Err(in_spec(MountError::Field("VolumeOptions")));
        }
        Source::Bind { path: source_path(&first), create: true }
    } else {
        if flags.propagation.is_some() {
            return Err(in_spec(MountError::Field("BindOptions")));
        }
        let driver = driver.map(str::to_string);
        Source::Volume(AskedVolume {
            name: Some(first),
            driver,
            nocopy: flags.nocopy,
            ..AskedVolume::default()
        })
    };
    let mount = AskedMount {
        source,
        target: target(second).map_err(in_spec)?,
        readonly: flags.readonly,
        propagation: flags.propagation.unwrap_or_default(),
        recursive: true,
        subpath: None,
        mode: mode.to_string(),
    };
    Ok(Short::Mount { mount: Box::new(mount), shown })
}

pub fn source_path(word: &str) -> PathBuf {
    clean(Path::new(word))
}
