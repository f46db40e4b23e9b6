//! The folder of docker's config.json.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use crate::registry::Settings;

const PASSWD: &str = "/etc/passwd";
const MAX_PASSWD: u64 = 16 << 20;

/// What the user named, else `~/.docker`.
pub fn folder(settings: &Settings) -> Result<PathBuf> {
    if let Some(folder) = settings.docker_config.as_ref().filter(|folder| !folder.as_os_str().is_empty()) {
        return Ok(folder.clone());
    }
    let home = match env::var_os("HOME") {
        Some(home) if !home.is_empty() => PathBuf::from(home),
        _ => {
            let uid = nix::unistd::geteuid().as_raw();
            home_of(uid, Path::new(PASSWD)).ok_or(Error::NoHome(uid))?
        }
    };
    Ok(home.join(".docker"))
}

/// A user's home by passwd(5), read as a file: the C library would load its modules for that, which a
/// static program cannot.
fn home_of(uid: u32, passwd: &Path) -> Option<PathBuf> {
    let mut text = String::new();
    File::open(passwd).ok()?.take(MAX_PASSWD).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let own = fields.next()?.parse() == Ok(uid);
        let home = fields.nth(2).filter(|home| home.starts_with('/'));
        home.filter(|_| own).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_found_in_passwd() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "root:x:0:0:root:/root:/bin/sh\nbroken\nx:x:5:5\njim:x:1000:1000:Jim,,,:/home/jim:/bin/sh\nodd:x:7:7::nowhere:\n";
        std::fs::write(file.path(), text).unwrap();
        for (uid, home) in [(0, Some("/root")), (1000, Some("/home/jim")), (5, None), (7, None), (9, None)] {
            assert_eq!(home_of(uid, file.path()).as_deref(), home.map(Path::new), "{uid}");
        }
        assert_eq!(home_of(0, Path::new("/nonexistent")), None);
    }

    #[test]
    fn the_folder_that_was_named_is_taken() {
        let named = Settings { docker_config: Some("/x".into()), ..Settings::default() };
        assert_eq!(folder(&named).unwrap(), Path::new("/x"));
    }
}
