//! Rows of sandboxes with an egress policy.

use rusqlite::{OptionalExtension, params};

use super::{Database, Result};

impl Database {
    /// Records which nflog group is told of what a sandbox is refused. Rows of sandboxes that are gone go.
    pub fn set_egress_group(&self, owner: &str, group: u16) -> Result<()> {
        self.write("record an egress policy", |tx| {
            tx.prepare_cached(
                "DELETE FROM egress WHERE owner NOT IN (SELECT owner FROM endpoints) \
                 AND owner NOT IN (SELECT id FROM sandboxes)",
            )?
            .execute([])?;
            tx.prepare_cached("INSERT OR REPLACE INTO egress(owner, log_group) VALUES (?, ?)")?
                .execute(params![owner, group])?;
            Ok(())
        })
    }

    pub fn egress_group(&self, owner: &str) -> Result<Option<u16>> {
        self.read("look up an egress policy", |db| {
            db.prepare_cached("SELECT log_group FROM egress WHERE owner = ?")?
                .query_row([owner], |row| row.get(0))
                .optional()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;

    #[test]
    fn group_is_there_until_its_sandbox_is_gone() {
        let fixture = Fixture::new();
        let db = fixture.db();
        assert_eq!(db.egress_group("a").unwrap(), None);
        db.set_egress_group("a", 20_000).unwrap();
        db.set_egress_group("a", 65_535).unwrap();
        assert_eq!(db.egress_group("a").unwrap(), Some(65_535));
        db.set_egress_group("b", 1).unwrap();
        assert_eq!(db.egress_group("a").unwrap(), None);
    }
}
