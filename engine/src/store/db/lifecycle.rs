//! Changes of a sandbox together with its containers, each one transaction.

use rusqlite::Connection;

use super::containers::{ContainerRow, With, container_with_id, delete_container, insert_container};
use super::sandboxes::{NewSandbox, SandboxRow, insert_sandbox};
use super::states::{self, Change, ContainerState};
use super::{Database, Error, Failure, Result};

impl Database {
    /// Adds a sandbox and the container it is made for.
    pub fn add_sandbox_with_container(
        &self,
        sandbox: &NewSandbox,
        uids: Option<(u32, u32)>,
        container: &ContainerRow,
        with: With<'_>,
    ) -> Result<SandboxRow> {
        self.write("add a container", |tx| {
            let row = insert_sandbox(tx, sandbox, uids)?;
            insert_container(tx, container)?;
            with.insert(tx, &container.id)?;
            Ok(row)
        })
    }

    /// Adds a sandbox and puts these containers into it, by their whole ids. With `uids` (first, count)
    /// it gets the smallest of them that is free. [`Error::SandboxExists`]: somebody else began it, or
    /// a dead one waits to be swept.
    pub fn begin_sandbox(
        &self,
        sandbox: &NewSandbox,
        uids: Option<(u32, u32)>,
        containers: &[&str],
    ) -> Result<SandboxRow> {
        self.write("begin a sandbox", |tx| {
            let row = insert_sandbox(tx, sandbox, uids)?;
            for container in containers {
                join(tx, &sandbox.id, container)?;
            }
            Ok(row)
        })
    }

    /// Puts one more container into a sandbox.
    pub fn join_sandbox(&self, sandbox: &str, container: &str) -> Result<()> {
        self.write("put a container into a sandbox", |tx| join(tx, sandbox, container))
    }

    /// Takes all containers out of a sandbox and removes it, if it is there; its user id is free again.
    pub fn end_sandbox(&self, id: &str) -> Result<()> {
        self.write("end a sandbox", |tx| delete_sandbox(tx, id))
    }

    /// A container's last words in one transaction: how it ended, where it did; its row's end, where it is
    /// removed; and its sandbox's, where that was its own. What is done already is no mistake.
    pub fn conclude(
        &self,
        id: &str,
        change: Option<&Change>,
        removed: bool,
        sandbox: Option<&str>,
    ) -> Result<()> {
        self.write("end a container", |tx| {
            if let Some(row) = container_with_id(tx, id)? {
                if let Some(change) = change.filter(|change| change.target(row.state).is_some()) {
                    states::apply(tx, id, change)?;
                }
                if removed {
                    delete_container(tx, id)?;
                }
            }
            sandbox.map_or(Ok(()), |sandbox| delete_sandbox(tx, sandbox))
        })
    }
}

fn delete_sandbox(tx: &Connection, id: &str) -> Result<(), Failure> {
    tx.prepare_cached("UPDATE containers SET sandbox = NULL WHERE sandbox = ?")?.execute([id])?;
    tx.prepare_cached("DELETE FROM sandboxes WHERE id = ?")?.execute([id])?;
    Ok(())
}

fn join(tx: &Connection, sandbox: &str, container: &str) -> Result<(), Failure> {
    let not_found = |what, name: &str| Error::NotFound { what, name: name.to_owned() };
    let row = container_with_id(tx, container)?.ok_or_else(|| not_found("container", container))?;
    if let Some(other) = row.sandbox.filter(|other| other != sandbox) {
        return Err(Error::SandboxExists(other).into());
    }
    if row.state == ContainerState::Removing || row.state == ContainerState::Dead {
        return Err(Error::State { id: row.id, is: row.state, change: "started" }.into());
    }
    let there = tx.prepare_cached("SELECT 1 FROM sandboxes WHERE id = ?")?.exists([sandbox])?;
    if !there {
        return Err(not_found("sandbox", sandbox).into());
    }
    tx.prepare_cached("UPDATE containers SET sandbox = ? WHERE id = ?")?.execute([sandbox, container])?;
    Ok(())
}
