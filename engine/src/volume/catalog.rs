//! Making, finding and removing volumes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::driver::{self, local, mounts};
use super::folder::{self, Folder};
use super::model::LOCAL;
use super::patience::Patience;
use super::{VolumeError, VolumeRow, VolumeSettings, seen};
use crate::container::names;
use crate::rootless::in_user_namespace;
use crate::sandbox::lock::SandboxLock;
use crate::store::{self, Kind, Store};
use crate::supervisor::chain;
use crate::time::now_ns;

/// The label that docker gives volumes without a name.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
/// Of a file's name.
const MAX_NAME: usize = 255;

/// A volume that is to be there.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// None: a new one, named by 64 hexadecimal digits.
    pub name: Option<String>,
    /// None: whatever it has, and [`LOCAL`] for a new one.
    pub driver: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    /// Of one without a name: a container.
    pub goes_with: Option<String>,
}

/// Finds a volume, or makes it. As docker's: of one that is there only the driver has to be the one that is wanted.
/// One that a plugin has of that name is found without its plugin being named, too.
pub fn ensure(store: &Store, wanted: Wanted) -> Result<VolumeRow, VolumeError> {
    let wanted = Wanted { driver: wanted.driver.filter(|driver| !driver.is_empty()), ..wanted };
    let anonymous = wanted.name.is_none();
    let name = wanted.name.map_or_else(names::new_id, Ok).map_err(VolumeError::Random)?;
    check_name(&name)?;
    let driver = wanted.driver.as_deref();
    // Whoever mounts it at the moment may take long.
    if let Some(row) = present(store, &name, driver)? {
        return Ok(row);
    }
    let _lock = folder::lock(store, &name, Patience::COMMAND)?;
    if let Some(row) = present(store, &name, driver)? {
        return Ok(row);
    }
    let mut labels = wanted.labels;
    let found = match (&wanted.driver, anonymous) {
        (None, false) => seen::elsewhere(&name),
        _ => None,
    };
    if anonymous {
        labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
    }
    let driver = wanted.driver.or(found).unwrap_or_else(|| LOCAL.to_owned());
    let settings = VolumeSettings {
        labels,
        options: wanted.options,
        anonymous,
        goes_with: wanted.goes_with.filter(|_| anonymous),
        ..VolumeSettings::default()
    };
    make(store, VolumeRow { name, driver, created: now_ns(), settings })
}

/// The volume that is there, which has to be of the driver that is wanted.
fn present(store: &Store, name: &str, driver: Option<&str>) -> Result<Option<VolumeRow>, VolumeError> {
    match store.db().volume(name) {
        Ok(row) if driver.is_none_or(|driver| driver == row.driver) => Ok(Some(row)),
        Ok(row) => Err(VolumeError::Conflict { name: name.to_owned(), driver: row.driver }),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Docker's grammar. Plugins' volumes keep to it, too: it is their folders' name.
pub(super) fn check_name(name: &str) -> Result<(), VolumeError> {
    let mut bytes = name.bytes();
    if name.len() < 2 {
        return Err(VolumeError::ShortName(name.to_owned()));
    }
    let sound = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    match (sound, name.len()) {
        (true, ..=MAX_NAME) => Ok(()),
        (true, _) => Err(VolumeError::LongName(name.to_owned())),
        (false, _) => Err(VolumeError::Name(name.to_owned())),
    }
}

/// With the volume's lock in hand: folder and plugin first, then the row.
fn make(store: &Store, mut row: VolumeRow) -> Result<VolumeRow, VolumeError> {
    let folder = Folder::of(store, &row.name);
    if row.driver == LOCAL {
        let read = local::read(&row.settings.options);
        let read = read.map_err(|source| VolumeError::Options { name: row.name.clone(), source })?;
        if let local::Local::Block(bytes) = read {
            row.settings.block_bytes = Some(bytes);
            // One that lost its row: whoever wrote to it is not known.
            row.settings.written_by_machine = folder.disk().exists() && !folder.is_left_over();
        }
    }
    folder.make()?;
    let made = driver::create(&row, &folder).and_then(|()| Ok(store.db().add_volume(&row)?));
    if let Err(error) = made {
        // What was there before it was begun stays; the first error is the one to tell.
        if folder.is_left_over() {
            let _ = folder.clear_away();
        }
        return Err(error);
    }
    folder.made()?;
    Ok(row)
}

/// Removes a volume that no container was made with. By force it is forgotten even if its plugin does not remove it.
pub fn remove(store: &Store, name: &str, force: bool) -> Result<(), VolumeError> {
    match check_name(name) {
        Err(_) if force => return Ok(()),
        checked => checked.map_err(|_| not_found(name))?,
    }
    // Whoever has it may just be mounting it, and take long.
    unused(store, name)?;
    let _lock = folder::lock(store, name, Patience::COMMAND)?;
    let row = match store.db().volume(name) {
        Err(error) if error.kind() == Kind::NotFound => return remove_elsewhere(name, force),
        row => row?,
    };
    let folder = Folder::of(store, name);
    take_back(store, &row, &folder)?;
    // From here on, who is killed leaves a folder that is to go if the row is gone.
    folder.remove()?;
    if let Err(error) = store.db().remove_volume(name) {
        folder.keep()?;
        return Err(error.into());
    }
    match driver::remove(&row) {
        Err(error) if !force => {
            // It is still there.
            folder.keep()?;
            store.db().add_volume(&row)?;
            return Err(error);
        }
        _ => {}
    }
    folder.clear_away()
}

/// One that its plugin has and no container ever had. By force, what is not there is gone.
fn remove_elsewhere(name: &str, force: bool) -> Result<(), VolumeError> {
    match seen::elsewhere(name) {
        Some(driver) => driver::remove(&seen::foreign(name, &driver)),
        None if force => Ok(()),
        None => Err(not_found(name)),
    }
}

fn unused(store: &Store, name: &str) -> Result<(), VolumeError> {
    let mut users = store.db().users_of(name)?;
    users.extend(store.db().mounts_of(name)?);
    users.sort();
    users.dedup();
    match users.is_empty() {
        true => Ok(()),
        false => Err(store::Error::VolumeInUse { name: name.to_owned(), users }.into()),
    }
}

/// Nothing that is mounted below a folder goes with it.
fn take_back(store: &Store, row: &VolumeRow, folder: &Folder) -> Result<(), VolumeError> {
    unused(store, &row.name)?;
    // A user's mounts go with the supervisor that made them.
    if !in_user_namespace() {
        mounts::unmount(&folder.data())?;
        mounts::unmount(&folder.mounted_disk())?;
    }
    nothing_mounted(&row.name, folder.path())
}

fn nothing_mounted(name: &str, path: &Path) -> Result<(), VolumeError> {
    // As the kernel names it.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match mounts::below(&path)?.into_iter().next() {
        Some(below) => Err(VolumeError::MountedBelow { name: name.to_owned(), below }),
        None => Ok(()),
    }
}

fn not_found(name: &str) -> VolumeError {
    VolumeError::NotFound { name: name.to_owned() }
}

/// Removes those of a container's volumes that were made for it alone and nobody uses.
pub fn remove_anonymous(store: &Store, names: &[String]) -> Result<(), VolumeError> {
    let mut outcome = Ok(());
    for name in names {
        let one = match store.db().volume(name) {
            Ok(row) if row.settings.anonymous => {
                remove(store, name, false).or_else(|error| stays(store, row, error))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        };
        outcome = outcome.and(match one {
            // Another container's, too; somebody was faster.
            Err(VolumeError::Store(store::Error::VolumeInUse { .. })) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        });
    }
    outcome
}

/// One that other containers have by then (`--volumes-from`) is theirs, and goes with none of its own accord.
fn stays(store: &Store, mut row: VolumeRow, error: VolumeError) -> Result<(), VolumeError> {
    if row.settings.goes_with.is_some() && !store.db().users_of(&row.name)?.is_empty() {
        row.settings.goes_with = None;
        store.db().change_volume(&row.name, &row.settings)?;
    }
    Err(error)
}

/// The volumes that were to go with a container of which nothing is known. Nobody makes one meanwhile.
pub fn forsaken(store: &Store, known: impl Fn(&str) -> bool) -> Vec<String> {
    let all = store.db().volumes_that_go().unwrap_or_default();
    all.into_iter().filter(|(_, container)| !known(container)).map(|(volume, _)| volume).collect()
}

/// Takes back what killed supervisors and commands have left. What cannot be, is left to the next sweep.
pub fn sweep(store: &Store) {
    for sandbox in store.db().stranded_mounts().unwrap_or_default() {
        // One that is about to come up, or to end, does so itself; none comes up meanwhile.
        let _lock = match SandboxLock::attempt(&store.paths().sandbox(&sandbox)) {
            Ok(Some(lock)) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Ok(None) | Err(_) => continue,
        };
        if let Err(error) = driver::unmount_stranded(store, &sandbox) {
            eprintln!("Failed to take the volumes of {sandbox} back: {}", chain(&error));
        }
    }
    let Ok(known) = store.db().volume_names() else { return };
    for entry in fs::read_dir(store.paths().volumes()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !known.contains(*name)) else { continue };
        // A volume that is being made or removed is locked.
        let Ok(Some(_lock)) = folder::attempt(store, name) else { continue };
        let folder = Folder::of(store, name);
        let gone = store.db().volume(name).is_err_and(|error| error.kind() == Kind::NotFound);
        if gone && folder.is_left_over() && nothing_mounted(name, folder.path()).is_ok() {
            let _ = folder.clear_away();
        }
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
