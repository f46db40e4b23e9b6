//! What a container is shown of a volume, and how that comes and goes with the sandboxes that have it.
//!
//! A row of `volume_mounts` comes before anything is mounted and goes after it is unmounted: what a killed supervisor
//! leaves is found by its rows, and taken back by a sweep. Everything is done with the volume's lock in hand.

pub mod block;
pub mod local;
mod loopdev;
pub mod mounts;
pub mod plugin;

use std::path::PathBuf;
use std::time::Duration;

use self::local::Local;
use self::plugin::{Plugin, PluginError};
use super::folder::{self, Folder, open_folder};
use super::model::LOCAL;
use super::patience::{Patience, wait};
use super::{VolumeError, VolumeRow, populate};
use crate::rootless::in_user_namespace;
use crate::sandbox::mode::Isolation;
use crate::store::{FileLock, Kind, PassingLock, Store};
use crate::supervisor::chain;

/// What a container is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    Folder(PathBuf),
    /// Of a virtual machine: see [`block::open`].
    Disk(PathBuf),
}

enum Driver {
    Local(Local),
    Plugin(Plugin),
}

fn driver(row: &VolumeRow) -> Result<Driver, VolumeError> {
    if row.driver != LOCAL {
        return Ok(Driver::Plugin(Plugin::find(&row.driver)?));
    }
    let local = local::read(&row.settings.options)
        .map_err(|source| VolumeError::Options { name: row.name.clone(), source })?;
    Ok(Driver::Local(match (local, row.settings.block_bytes) {
        (Local::Block(_), Some(bytes)) => Local::Block(bytes),
        (local, _) => local,
    }))
}

/// Whether it is a folder of the store and nothing else.
fn is_plain(row: &VolumeRow) -> bool {
    row.driver == LOCAL && row.settings.options.is_empty()
}

/// Makes what the volume is to show. Its folder is there, its row is not.
pub(super) fn create(row: &VolumeRow, folder: &Folder) -> Result<(), VolumeError> {
    if row.driver != LOCAL {
        let made = create_by_plugin(row);
        return made.map_err(|source| VolumeError::ByPlugin { name: row.name.clone(), source });
    }
    match driver(row)? {
        Driver::Local(Local::Block(bytes)) => Ok(block::create(&folder.disk(), bytes)?),
        _ => open_folder(&folder.data()),
    }
}

/// As docker: one that it has already is taken as it is.
fn create_by_plugin(row: &VolumeRow) -> Result<(), PluginError> {
    let plugin = Plugin::find(&row.driver)?;
    match plugin.get(&row.name)? {
        Some(_) => Ok(()),
        None => plugin.create(&row.name, &row.settings.options),
    }
}

/// Has the plugin remove it; what lies in the volume's folder goes with that.
pub(super) fn remove(row: &VolumeRow) -> Result<(), VolumeError> {
    match row.driver.as_str() {
        LOCAL => Ok(()),
        name => Ok(Plugin::find(name)?.remove(&row.name)?),
    }
}

/// Mounts a volume for a sandbox; again and again changes nothing. Waits while it is filled for another
/// ([`populate`]). A block volume is a disk if the sandbox is a virtual machine. Nothing new is mounted for a start that
/// was called off by the time this returns.
pub fn mount(
    store: &Store,
    name: &str,
    sandbox: &str,
    mode: Isolation,
    patience: Patience<'_>,
) -> Result<Mounted, VolumeError> {
    let folder = Folder::of(store, name);
    let ready = wait(name, patience, || ready(store, name, &folder, sandbox))?;
    let Ready { row, settled, _lock } = ready;
    let block = row.settings.block_bytes.is_some();
    if block && mode == Isolation::Namespace {
        block::check_host(&row)?;
    }
    let new = store.db().add_volume_mount(&row.name, sandbox, block)?;
    // From here on, who fills it knows that it is not alone.
    drop(settled);
    let shown = show(store, &row, &folder, (sandbox, mode), patience);
    let shown = match shown {
        // However long it took.
        Ok(_) if patience.is_off() => Err(VolumeError::CalledOff { name: row.name.clone() }),
        shown => shown,
    };
    shown.inspect_err(|error| {
        let is_late = matches!(error, VolumeError::CalledOff { .. });
        if new || is_late && !is_used_in_pod(store, name, sandbox).unwrap_or(true) {
            // The first error is the one to tell; what is left is swept.
            let _ = unmount_locked(store, &row, &folder, sandbox, Silence::AskAgain);
        }
    })
}

/// A volume that may be mounted.
struct Ready {
    row: VolumeRow,
    /// Nobody fills it.
    settled: Option<FileLock>,
    _lock: PassingLock,
}

/// None: others have it. Who waits for a copy does so without the volume's lock, for which commands wait.
fn ready(store: &Store, name: &str, folder: &Folder, sandbox: &str) -> Result<Option<Ready>, VolumeError> {
    let Some(_lock) = folder::attempt(store, name)? else { return Ok(None) };
    let row = store.db().volume(name)?;
    let mounts = store.db().mounts_of(name)?;
    let has_it = mounts.iter().any(|other| other == sandbox);
    // One that cannot be had at all is not waited for.
    let is_taken = row.settings.block_bytes.is_some() && !mounts.is_empty();
    if has_it || is_taken || !row.is_stored() {
        return Ok(Some(Ready { row, settled: None, _lock }));
    }
    let settled = populate::settle(folder, &row)?;
    Ok(settled.map(|settled| Ready { row, settled: Some(settled), _lock }))
}

fn show(
    store: &Store,
    row: &VolumeRow,
    folder: &Folder,
    (sandbox, mode): (&str, Isolation),
    patience: Patience<'_>,
) -> Result<Mounted, VolumeError> {
    match (driver(row)?, mode) {
        (Driver::Local(Local::Plain), _) => Ok(Mounted::Folder(folder.data())),
        (Driver::Local(Local::Mount(mounting)), _) => {
            mounting.mount(&folder.data())?;
            Ok(Mounted::Folder(folder.data()))
        }
        (Driver::Local(Local::Block(_)), Isolation::Namespace) => {
            Ok(Mounted::Folder(block::mount_on_host(row, folder, patience)?))
        }
        (Driver::Local(Local::Block(_)), Isolation::Vm) => {
            if !row.settings.written_by_machine {
                let mut settings = row.settings.clone();
                settings.written_by_machine = true;
                store.db().change_volume(&row.name, &settings)?;
            }
            Ok(Mounted::Disk(folder.disk()))
        }
        (Driver::Plugin(plugin), _) => Ok(Mounted::Folder(plugin.mount(&row.name, sandbox)?)),
    }
}

/// Where a volume that is mounted on the host shows what it has.
pub(super) fn shown(store: &Store, row: &VolumeRow) -> Result<PathBuf, VolumeError> {
    let folder = Folder::of(store, &row.name);
    match driver(row)? {
        Driver::Local(Local::Block(_)) => Ok(block::shown(&folder)),
        Driver::Local(_) => Ok(folder.data()),
        Driver::Plugin(plugin) => Ok(plugin.path(&row.name)?),
    }
}

/// Takes all volumes back from a sandbox that has ended. What cannot be taken back keeps its row, for a sweep.
pub fn unmount_all(store: &Store, sandbox: &str) -> Result<(), VolumeError> {
    unmount_each(store, sandbox, Silence::AskAgain)
}

/// The same of one that was killed, or could not be rid of some. A plugin that does not answer now either is not asked
/// any more: every command would wait for it, and nobody else could have the volume removed.
pub fn unmount_stranded(store: &Store, sandbox: &str) -> Result<(), VolumeError> {
    unmount_each(store, sandbox, Silence::GiveUp)
}

/// What becomes of a plugin's mount if the plugin does not answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    AskAgain,
    GiveUp,
}

fn unmount_each(store: &Store, sandbox: &str, silence: Silence) -> Result<(), VolumeError> {
    let mut outcome = Ok(());
    for name in store.db().mounted_by(sandbox)? {
        let one = unmount_unless(store, &name, sandbox, silence, || Ok(false));
        outcome = outcome.and(unless_busy(one));
    }
    outcome
}

/// Who has a volume's lock for long hangs in its plugin or in a file server. It may be a start of the same sandbox that
/// was called off, which takes the volume back itself; else its row is left to a sweep.
fn unless_busy(outcome: Result<(), VolumeError>) -> Result<(), VolumeError> {
    match outcome {
        Err(VolumeError::Busy { .. }) => Ok(()),
        other => other,
    }
}

/// Takes those back from a pod that goes on which none of its containers has any more.
pub fn unmount_unused(store: &Store, pod: &str, names: &[String]) -> Result<(), VolumeError> {
    let mounted = store.db().mounted_by(pod)?;
    let mut outcome = Ok(());
    for name in names.iter().filter(|name| mounted.contains(name)) {
        let one = unmount_unless(store, name, pod, Silence::AskAgain, || is_used_in_pod(store, name, pod));
        outcome = outcome.and(unless_busy(one));
    }
    outcome
}

/// Whether a container of the sandbox's, which is a pod, has it. A container's own sandbox goes with it.
fn is_used_in_pod(store: &Store, name: &str, pod: &str) -> Result<bool, VolumeError> {
    let users = store.db().users_of(name)?;
    let members = store.db().containers_of_pod(pod)?;
    Ok(members.iter().any(|member| users.contains(&member.id)))
}

/// `used` is asked with the volume's lock in hand: nobody begins to use it meanwhile.
fn unmount_unless(
    store: &Store,
    name: &str,
    sandbox: &str,
    silence: Silence,
    used: impl FnOnce() -> Result<bool, VolumeError>,
) -> Result<(), VolumeError> {
    let patience = match silence {
        Silence::AskAgain => Patience::BRIEF,
        // The next sweep finds it as well.
        Silence::GiveUp => Patience::Limited(Duration::ZERO),
    };
    let _lock = folder::lock(store, name, patience)?;
    let is_mounted = store.db().mounts_of(name)?.iter().any(|other| other == sandbox);
    if !is_mounted || used()? {
        return Ok(());
    }
    let folder = Folder::of(store, name);
    match store.db().volume(name) {
        Ok(row) => unmount_locked(store, &row, &folder, sandbox, silence),
        Err(error) if error.kind() == Kind::NotFound => Ok(store.db().remove_volume_mount(name, sandbox)?),
        Err(error) => Err(error.into()),
    }
}

fn unmount_locked(
    store: &Store,
    row: &VolumeRow,
    folder: &Folder,
    sandbox: &str,
    silence: Silence,
) -> Result<(), VolumeError> {
    let last = store.db().mounts_of(&row.name)?.iter().all(|other| other == sandbox);
    if row.driver != LOCAL {
        tell_plugin(row, sandbox, silence)?;
    } else if last && !is_plain(row) && !in_user_namespace() {
        // A user's mounts were the supervisor's own, and have gone with it.
        mounts::unmount(&folder.data())?;
        mounts::unmount(&folder.mounted_disk())?;
    }
    Ok(store.db().remove_volume_mount(&row.name, sandbox)?)
}

/// What a plugin answers is its own affair, as with docker; one that does not answer is asked again by a sweep.
fn tell_plugin(row: &VolumeRow, sandbox: &str, silence: Silence) -> Result<(), VolumeError> {
    let told = Plugin::find(&row.driver).and_then(|plugin| plugin.unmount(&row.name, sandbox));
    match told {
        Err(error) if error.is_answer() || silence == Silence::GiveUp => {
            eprintln!("Failed to unmount volume {}: {}", row.name, chain(&error));
            Ok(())
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests;
