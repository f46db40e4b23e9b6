//! The store: one database and the immutable files beside it.
//!
//! Files come first, rows after: a row's files are there and whole. Killing a process at any instant
//! leaves the old state or the new one; what is left over (a temporary file, a file without a row) is
//! removed by a later writer.
//!
//! Two locks order everything. `hull.db.lock` queues the database's writers. `files.lock` is held
//! shared by whoever adds files or counts on files that no row of its own protects yet, and
//! exclusively by the collector; see [`crate::image::gc`].

mod advice;
pub mod db;
pub mod files;
pub mod paths;

use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::FlockArg;

pub use crate::network::model::NetworkRow;
pub use db::containers::{ContainerRow, With};
pub use db::events::{EventKind, EventRow, Since};
pub use db::pods::PodRow;
pub use db::sandboxes::{NewSandbox, SandboxRow};
pub use db::states::{Change, ContainerState};
pub use db::watch::{EventWatch, WriteWatch};
pub use files::{FileLock, PassingLock, TempFile};
pub use paths::Paths;

pub type Result<T> = std::result::Result<T, Error>;

/// What kind of failure this is, for exit codes and HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No such image, container or file.
    NotFound,
    /// The name or id is taken, or fits several; the state forbids it.
    Conflict,
    /// Something still uses it.
    InUse,
    /// What came from outside is not what it claims to be, or not allowed.
    Invalid,
    /// The machine said no.
    Io,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Failed to {what} {}{}", .path.display(), advice::on_io(.source))]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("Failed to {what} in the database {}{}", .path.display(), advice::on_database(.source))]
    Database { what: &'static str, path: PathBuf, source: rusqlite::Error },
    #[error("Failed to open the database {}{}", .path.display(), advice::on_database(.source))]
    OpenDatabase { path: PathBuf, source: rusqlite::Error },
    #[error("The database {} is of a newer release (schema {found}, this release knows {known})", .path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("No such {what}: {name}")]
    NotFound { what: &'static str, name: String },
    #[error("The name \"{0}\" is in use by another container")]
    NameTaken(String),
    #[error("The name \"{0}\" is in use by another pod")]
    PodNameTaken(String),
    #[error("The name \"{0}\" is in use by another network")]
    NetworkNameTaken(String),
    #[error(
        "Network {name} has active endpoints ({endpoints}); disconnect or stop what they belong to first"
    )]
    NetworkInUse { name: String, endpoints: u32 },
    #[error("{owner} is on network {network} already")]
    EndpointExists { owner: String, network: String },
    #[error("{owner} is on {positions} networks, and more it cannot be on")]
    NoFreeEndpoint { owner: String, positions: u8 },
    #[error("The name \"{0}\" is in use by another volume")]
    VolumeNameTaken(String),
    #[error("remove {name}: volume is in use - [{}]", .users.join(", "))]
    VolumeInUse { name: String, users: Vec<String> },
    #[error(
        "Volume {name} is a disk of its own (kind=block), which one container or pod can have at a time, and {sandbox} has it"
    )]
    VolumeBusy { name: String, sandbox: String },
    #[error("Pod {name} has {containers} container(s); remove them first")]
    PodInUse { name: String, containers: u32 },
    #[error("Container {id} is {is}, so it cannot be {change}")]
    State { id: String, is: ContainerState, change: &'static str },
    #[error("Sandbox {0} is there already")]
    SandboxExists(String),
    #[error("{name} is ambiguous: several {what}s start with it")]
    Ambiguous { what: &'static str, name: String },
    #[error("All {count} user ids from {first} on are in use by sandboxes")]
    NoFreeUid { first: u32, count: u32 },
}

impl Error {
    pub fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::NameTaken(_)
            | Self::PodNameTaken(_)
            | Self::NetworkNameTaken(_)
            | Self::VolumeNameTaken(_)
            | Self::EndpointExists { .. }
            | Self::State { .. }
            | Self::SandboxExists(_)
            | Self::Ambiguous { .. } => Kind::Conflict,
            Self::PodInUse { .. }
            | Self::NetworkInUse { .. }
            | Self::VolumeInUse { .. }
            | Self::VolumeBusy { .. }
            | Self::NoFreeEndpoint { .. }
            | Self::NoFreeUid { .. } => Kind::InUse,
            Self::Newer { .. } => Kind::Invalid,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Io { .. } | Self::OpenDatabase { .. } | Self::Database { .. } => Kind::Io,
        }
    }
}

/// An open store. Shared freely between threads; other processes have it open too.
pub struct Store {
    paths: Paths,
    db: db::Database,
}

impl Store {
    /// Opens the store, and makes it first where there is none.
    pub fn open(root: &Path, run: &Path) -> Result<Self> {
        let paths = Paths::new(root, run);
        // The youngest of the folders: a store of an older release lacks it.
        if !paths.database().exists() || !paths.locks().exists() {
            std::fs::create_dir_all(root.parent().unwrap_or(root))
                .map_err(|e| Error::io("create", root, e))?;
            files::ensure_folder(root)?;
            for folder in paths.folders() {
                files::ensure_folder(&folder)?;
            }
        }
        if !paths.run_sandboxes().exists() {
            std::fs::create_dir_all(run.parent().unwrap_or(run)).map_err(|e| Error::io("create", run, e))?;
            files::ensure_folder(run)?;
            files::ensure_folder(&paths.run_sandboxes())?;
        }
        let db = db::Database::open(&paths)?;
        Ok(Self { paths, db })
    }

    /// One of a test's own, with the folder that it goes with.
    #[cfg(test)]
    pub fn temporary() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().unwrap();
        let store = Self::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
        (folder, store)
    }

    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    pub fn db(&self) -> &db::Database {
        &self.db
    }

    /// A new temporary file on the store's file system.
    pub fn temp_file(&self) -> Result<TempFile> {
        TempFile::create(&self.paths.tmp())
    }

    /// Keeps every file where it is until dropped. Also clears away what killed writers left.
    pub fn hold_files(&self) -> Result<FileLock> {
        let lock = FileLock::wait(&self.paths.files_lock(), FlockArg::LockShared)?;
        files::sweep(&self.paths.tmp())?;
        Ok(lock)
    }

    /// The right to remove files, if nobody is adding any at the moment.
    pub fn try_collect(&self) -> Result<Option<FileLock>> {
        FileLock::attempt(&self.paths.files_lock(), FlockArg::LockExclusiveNonblock)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_store_opens_twice_and_its_folders_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let (root, run) = (folder.path().join("lib/hull"), folder.path().join("run/hull"));
        let first = Store::open(&root, &run).unwrap();
        let second = Store::open(&root, &run).unwrap();
        assert_eq!(first.db().images().unwrap().len(), second.db().images().unwrap().len());
        for path in [root.clone(), root.join("blobs/sha256"), run.join("sandboxes")] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn collecting_waits_for_nobody_and_yields_to_loads() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
        let held = store.hold_files().unwrap();
        assert!(store.hold_files().is_ok(), "loads run side by side");
        assert!(store.try_collect().unwrap().is_none());
        drop(held);
        assert!(store.try_collect().unwrap().is_some());
    }
}
