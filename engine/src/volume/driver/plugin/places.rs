//! Where plugins are: docker's folders. A socket there is a plugin; files tell of sockets elsewhere.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::PluginError;

const SOCKETS: &str = "/run/docker/plugins";
const FILES: [&str; 2] = ["/etc/docker/plugins", "/usr/lib/docker/plugins"];
/// Of a file that tells where a plugin is.
const MAX_FILE: u64 = 64 << 10;
/// Of its name.
const MAX_NAME: usize = 128;
/// Plugins that are listed.
const MAX_PLUGINS: usize = 256;

struct Places {
    sockets: PathBuf,
    files: Vec<PathBuf>,
}

#[cfg(not(test))]
fn places() -> Places {
    Places { sockets: SOCKETS.into(), files: FILES.iter().map(PathBuf::from).collect() }
}

#[cfg(test)]
std::thread_local! {
    /// In place of the machine's own, in a thread of a test.
    pub(in crate::volume) static OF_TEST: std::cell::RefCell<Option<PathBuf>> = const { std::cell::RefCell::new(None) };
}

#[cfg(test)]
fn places() -> Places {
    let root = OF_TEST.with_borrow(Clone::clone).unwrap_or_else(|| "/nowhere".into());
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    Places { sockets: below(SOCKETS), files: FILES.iter().map(|path| below(path)).collect() }
}

/// A plugin's socket.
pub fn find(name: &str) -> Result<PathBuf, PluginError> {
    let not_found = || PluginError::NotFound { name: name.to_owned() };
    if !is_name(name) {
        return Err(not_found());
    }
    let places = places();
    let socket = both(&places.sockets, name, "sock");
    if let Some(socket) = socket.into_iter().find(|path| is_socket(path)) {
        return Ok(socket);
    }
    for folder in &places.files {
        for (path, read) in [("spec", spec as Reader), ("json", json as Reader)]
            .into_iter()
            .flat_map(|(end, read)| both(folder, name, end).map(|path| (path, read)))
        {
            match text(&path) {
                Ok(text) => return of_address(name, read(&text)),
                Err(error) if matches!(error.kind(), NotFound | NotADirectory) => {}
                Err(source) => return Err(PluginError::Place { name: name.to_owned(), path, source }),
            }
        }
    }
    Err(not_found())
}

type Reader = fn(&str) -> String;

fn spec(text: &str) -> String {
    text.trim().to_owned()
}

/// Empty where it says nothing.
fn json(text: &str) -> String {
    #[derive(Deserialize)]
    struct Described {
        #[serde(rename = "Addr")]
        address: String,
    }
    serde_json::from_str::<Described>(text).map(|described| described.address).unwrap_or_default()
}

fn of_address(name: &str, address: String) -> Result<PathBuf, PluginError> {
    match address.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(PluginError::Address { name: name.to_owned(), address }),
    }
}

/// `NAME.end` and `NAME/NAME.end`.
fn both(folder: &Path, name: &str, end: &str) -> [PathBuf; 2] {
    let file = format!("{name}.{end}");
    [folder.join(&file), folder.join(name).join(&file)]
}

/// One that is a file's, and no other's.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// The names of all plugins that are there, of volumes or not, by name.
pub fn names() -> Vec<String> {
    let places = places();
    let mut names = BTreeSet::new();
    for folder in std::iter::once(&places.sockets).chain(&places.files) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let folder = path.is_dir();
            let name = if folder { path.file_name() } else { path.file_stem() };
            let known = folder
                || path.extension().is_some_and(|end| ["sock", "spec", "json"].iter().any(|e| end == *e));
            if let Some(name) = name.and_then(|name| name.to_str()).filter(|name| known && is_name(name)) {
                names.insert(name.to_owned());
            }
        }
    }
    names
        .into_iter()
        .filter(|name| !matches!(find(name), Err(PluginError::NotFound { .. })))
        .take(MAX_PLUGINS)
        .collect()
}
