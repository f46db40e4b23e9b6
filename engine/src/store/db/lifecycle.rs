//! The two ends of a container's life that change more than one row, each one transaction.

use rusqlite::params;

use super::containers::{
    ContainerRow, ContainerState, NewSandbox, SandboxRow, insert_container, insert_sandbox,
};
use super::{Database, Result};

impl Database {
    /// Adds a sandbox and the container it is made for.
    pub fn add_sandbox_with_container(
        &self,
        sandbox: &NewSandbox,
        uids: Option<(u32, u32)>,
        container: &ContainerRow,
    ) -> Result<SandboxRow> {
        self.write("add a container", |tx| {
            let row = insert_sandbox(tx, sandbox, uids)?;
            insert_container(tx, container)?;
            Ok(row)
        })
    }

    /// Ends a container with its exit code, or removes it, and its sandbox if it was the last in it.
    /// Does nothing where that is done already. One that is being removed stays so.
    pub fn end_container(&self, id: &str, exit_code: Option<i32>) -> Result<()> {
        self.write("end a container", |tx| {
            let sandbox: Option<String> = tx
                .prepare_cached("SELECT sandbox FROM containers WHERE id = ?")?
                .query_map([id], |row| row.get(0))?
                .next()
                .transpose()?
                .flatten();
            match exit_code {
                Some(code) => tx.execute(
                    "UPDATE containers SET state = iif(state = ?1, state, ?2), exit_code = ?3, sandbox = NULL
                     WHERE id = ?4",
                    params![ContainerState::Removing.as_str(), ContainerState::Exited.as_str(), code, id],
                )?,
                None => tx.execute("DELETE FROM containers WHERE id = ?", [id])?,
            };
            tx.execute(
                "DELETE FROM sandboxes WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM containers WHERE sandbox = ?1)",
                [sandbox],
            )?;
            Ok(())
        })
    }
}
