use super::*;
use crate::store::db::fixture::Fixture;

fn image_event(fixture: &Fixture, action: &str) {
    fixture.db().record_event(EventKind::Image, action, "sha256:1", &[]).unwrap();
}

#[test]
fn events_are_listed_by_id_and_by_time() {
    let fixture = Fixture::new();
    let db = fixture.db();
    assert_eq!(db.last_event().unwrap(), 0);
    image_event(&fixture, "pull");
    let between = now_ns();
    image_event(&fixture, "tag");
    image_event(&fixture, "delete");
    let actions = |since, until, limit| -> Vec<String> {
        db.events(since, until, limit).unwrap().into_iter().map(|row| row.action).collect()
    };
    assert_eq!(actions(Since::Id(0), None, 10), ["pull", "tag", "delete"]);
    assert_eq!(actions(Since::Id(1), None, 1), ["tag"]);
    assert_eq!(actions(Since::Time(between), None, 10), ["tag", "delete"]);
    assert_eq!(actions(Since::Id(0), Some(between), 10), ["pull"]);
    assert_eq!(db.last_event().unwrap(), 3);
}

#[test]
fn a_containers_events_have_its_labels_image_and_name() {
    let fixture = Fixture::new();
    fixture.add("a", "one");
    fixture.db().record_event(EventKind::Container, "kill", "a", &[("signal", "9")]).unwrap();
    fixture.db().record_event(EventKind::Container, "kill", "gone", &[("signal", "9")]).unwrap();
    assert_eq!(
        fixture.events(),
        [
            "a create a=1 image=debian name=one",
            "a kill a=1 image=debian name=one signal=9",
            "gone kill signal=9"
        ]
    );
}

#[test]
fn the_oldest_events_go() {
    let fixture = Fixture::new();
    fixture
        .db()
        .write("fill", |tx| {
            for _ in 0..KEPT + 3 * CLEARING {
                insert(tx, EventKind::Image, "pull", "x", &Attributes::new())?;
            }
            Ok(())
        })
        .unwrap();
    let rows = fixture.db().events(Since::Id(0), None, u32::MAX).unwrap();
    let (kept, last) = (i64::try_from(rows.len()).unwrap(), KEPT + 3 * CLEARING);
    assert_eq!((kept, rows.last().unwrap().id), (KEPT, last));
    image_event(&fixture, "pull");
    assert_eq!(fixture.db().last_event().unwrap(), last + 1);
}
