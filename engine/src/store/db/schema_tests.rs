use std::fs;

use super::*;
use crate::image::digest::Digest;
use crate::store::db::events::Since;
use crate::store::db::states::{Change, ContainerState};
use crate::store::{Error, Paths, Store};
use crate::time::SECOND;

/// A store as the first release left it, with a container that ended and one that runs.
fn first_release(root: &std::path::Path) -> Connection {
    let connection = Connection::open(root.join("hull.db")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch(FIRST).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let image = Digest::of(b"image");
    connection
        .execute_batch(&format!(
            "INSERT INTO images(id, manifest, chain, added) VALUES ('{image}', '{image}', '{image}', 1700000000);
             INSERT INTO sandboxes VALUES ('b', 1000, 'boot', 'vm', 1700000001);
             INSERT INTO containers VALUES ('a', 'one', '{image}', NULL, 'vm', 'exited', 1700000000, 3, '{{}}');
             INSERT INTO containers VALUES ('b', 'two', '{image}', 'b', 'vm', 'running', 1700000001, NULL, '{{}}');"
        ))
        .unwrap();
    connection
}

#[test]
fn a_store_of_the_first_release_keeps_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let (root, run) = (folder.path().join("lib"), folder.path().join("run"));
    for path in Paths::new(&root, &run).sandboxes().ancestors().take(2).collect::<Vec<_>>().into_iter().rev()
    {
        fs::create_dir(path).unwrap();
    }
    let old = first_release(&root);
    for _ in 0..2 {
        let store = Store::open(&root, &run).unwrap();
        let a = store.db().container("a").unwrap();
        assert_eq!((a.state, a.exit_code, a.created), (ContainerState::Exited, 3, 1_700_000_000 * SECOND));
        let b = store.db().container("two").unwrap();
        assert_eq!((b.state, b.exit_code, b.started, b.pod), (ContainerState::Running, 0, 0, None));
        assert_eq!(store.db().sandbox("b").unwrap().unwrap().created, 1_700_000_001 * SECOND);
        assert_eq!(store.db().images().unwrap()[0].added, 1_700_000_000, "images stay in seconds");
    }
    // The release before, which still runs `b`, ends it.
    old.execute_batch(
        "UPDATE containers SET state = 'exited', exit_code = 7, sandbox = NULL WHERE id = 'b';
         DELETE FROM sandboxes WHERE id = 'b'",
    )
    .unwrap();
    let store = Store::open(&root, &run).unwrap();
    assert_eq!(store.db().container("b").unwrap().exit_code, 7);
    store.db().change("b", &Change::Started { pid: 1 }).unwrap();
    assert_eq!(store.db().events(Since::Id(0), None, 10).unwrap().len(), 1);
}

#[test]
fn a_newer_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (root, run) = (folder.path().join("lib"), folder.path().join("run"));
    drop(Store::open(&root, &run).unwrap());
    let connection = Connection::open(root.join("hull.db")).unwrap();
    connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
    assert!(matches!(Store::open(&root, &run).err(), Some(Error::Newer { .. })));
}
