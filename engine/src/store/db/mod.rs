//! The database: SQLite in WAL mode, written by many processes.
//!
//! Writers queue on an flock and then take BEGIN IMMEDIATE, so SQLite's own busy handler, which
//! sleeps, is never asked. Readers wait for nobody.

pub mod containers;
pub mod egress;
pub mod events;
#[cfg(test)]
mod fixture;
pub mod images;
pub mod inventory;
mod lifecycle;
mod neighbours;
pub mod networks;
pub mod pods;
pub mod published;
pub mod removal;
pub mod sandboxes;
mod schema;
pub mod states;
pub mod volumes;
pub mod watch;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::fcntl::FlockArg;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::Error;
use super::files::FileLock;
use super::paths::Paths;

pub use neighbours::{Mark, Neighbour};

/// Pages of the log before a commit moves them into the database, which waits for the disk twice: the
/// trade is against reading the log at each start.
const LOG_PAGES: u32 = 256;
/// `synchronous`: a power cut takes the last commits back, and nothing else.
const NORMAL: &str = "NORMAL";

pub struct Database {
    connection: Mutex<Connection>,
    path: PathBuf,
    lock_path: PathBuf,
}

impl Database {
    pub(super) fn open(paths: &Paths) -> Result<Self> {
        let path = paths.database();
        let failed = |source| Error::OpenDatabase { path: path.clone(), source };
        let connection = Connection::open(&path).map_err(failed)?;
        // Only recovery after a crash of all processes still asks SQLite to wait.
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES).map_err(failed)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true).map_err(failed)?;
        connection.pragma_update(None, "synchronous", NORMAL).map_err(failed)?;
        let database = Self { connection: Mutex::new(connection), path, lock_path: paths.database_lock() };
        database.migrate()?;
        Ok(database)
    }

    /// One read when there is nothing to do.
    fn migrate(&self) -> Result<()> {
        let mut connection = self.connection();
        let what = "read the schema version";
        if self.version(&connection).map_err(|e| self.failed(what, e))? == schema::VERSION {
            return Ok(());
        }
        let _writer = FileLock::wait(&self.lock_path, FlockArg::LockExclusive)?;
        let found = self.version(&connection).map_err(|e| self.failed(what, e))?;
        if found > schema::VERSION {
            return Err(Error::Newer { path: self.path.clone(), found, known: schema::VERSION });
        }
        schema::migrate(&mut connection, found).map_err(|e| self.failed("create the tables", e))
    }

    fn version(&self, connection: &Connection) -> rusqlite::Result<u32> {
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic while the connection was held has rolled its transaction back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &'static str, source: rusqlite::Error) -> Error {
        Error::Database { what, path: self.path.clone(), source }
    }

    /// Reads with one snapshot.
    fn read<T>(
        &self,
        what: &'static str,
        body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        body(&self.connection()).map_err(|source| self.failed(what, source))
    }

    /// One write transaction. `body`'s own error, too, rolls it back.
    fn write<T>(
        &self,
        what: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T> {
        let _writer = FileLock::wait(&self.lock_path, FlockArg::LockExclusive)?;
        self.transact(&mut self.connection(), what, body)
    }

    /// The same, and no power cut takes it back.
    fn write_durably<T>(
        &self,
        what: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T> {
        let _writer = FileLock::wait(&self.lock_path, FlockArg::LockExclusive)?;
        let mut connection = self.connection();
        let set = |connection: &Connection, word| {
            let outcome = connection.pragma_update(None, "synchronous", word);
            outcome.map_err(|source| self.failed(what, source))
        };
        set(&connection, "FULL")?;
        let outcome = self.transact(&mut connection, what, body);
        set(&connection, NORMAL).and(outcome)
    }

    /// With the writers' lock in hand.
    fn transact<T>(
        &self,
        connection: &mut Connection,
        what: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T> {
        let outcome = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = body(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })();
        outcome.map_err(|failure| match failure {
            Failure::Sql(source) => self.failed(what, source),
            Failure::Typed(error) => error,
        })
    }
}

/// Why a transaction's body stopped.
enum Failure {
    Sql(rusqlite::Error),
    Typed(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Typed(error)
    }
}

type Result<T, E = Error> = std::result::Result<T, E>;
