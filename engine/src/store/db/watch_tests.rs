use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;

use super::*;
use crate::store::db::events::EventKind;
use crate::store::db::fixture::Fixture;

fn record(database: &Database, actor: &str) {
    database.record_event(EventKind::Image, "pull", actor, &[]).unwrap();
}

#[test]
fn a_watch_sees_every_event_of_every_writer_once_and_in_order() {
    let fixture = Fixture::new();
    let (_open, end) = UnixStream::pair().unwrap();
    record(fixture.db(), "before");
    let store = fixture.another();
    let mut watch = store.db().watch_events(0).unwrap();
    let mut seen = Vec::new();
    thread::scope(|scope| {
        for writer in 0..3 {
            let fixture = &fixture;
            scope.spawn(move || {
                let store = fixture.another();
                (0..40).for_each(|n| record(store.db(), &format!("{writer}-{n}")));
            });
        }
        // It would wait for ever for one that it missed.
        while seen.len() < 121 {
            seen.extend(watch.next(end.as_fd()).unwrap().unwrap());
        }
    });
    assert_eq!(seen[0].actor, "before");
    assert!(seen.windows(2).all(|pair| pair[0].id < pair[1].id));
}

#[test]
fn a_watch_goes_on_when_the_log_begins_anew() {
    let fixture = Fixture::new();
    let (_open, end) = UnixStream::pair().unwrap();
    let store = fixture.another();
    let mut watch = store.db().watch_events(0).unwrap();
    for round in 0..3 {
        thread::scope(|scope| {
            scope.spawn(|| {
                record(fixture.db(), &round.to_string());
                let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
                fixture.db().connection().query_row(checkpoint, [], |_| Ok(())).unwrap();
            });
            let rows = watch.next(end.as_fd()).unwrap().unwrap();
            assert_eq!(rows[0].actor, round.to_string());
        });
    }
}

#[test]
fn a_watch_ends_when_told_to() {
    let fixture = Fixture::new();
    let (mut tell, end) = UnixStream::pair().unwrap();
    let mut watch = fixture.db().watch_events(0).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| tell.write_all(b"x").unwrap());
        assert!(watch.next(end.as_fd()).unwrap().is_none());
    });
    let (tell, end) = UnixStream::pair().unwrap();
    drop(tell);
    assert!(watch.next(end.as_fd()).unwrap().is_none());
    record(fixture.db(), "last");
    assert!(watch.next(end.as_fd()).unwrap().is_some(), "what is there comes first");
}

#[test]
fn a_lock_file_that_is_replaced_is_watched_again() {
    let fixture = Fixture::new();
    let (_open, end) = UnixStream::pair().unwrap();
    let watch = fixture.db().watch_writes().unwrap();
    std::fs::remove_file(&fixture.db().lock_path).unwrap();
    record(fixture.db(), "first");
    assert!(watch.wait(end.as_fd()).unwrap());
    record(fixture.db(), "second");
    assert!(watch.wait(end.as_fd()).unwrap());
}
