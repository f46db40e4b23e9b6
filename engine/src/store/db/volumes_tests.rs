use super::*;
use crate::store::Kind;
use crate::store::With;
use crate::store::db::fixture::{Fixture, container, sandbox};

fn volume(name: &str) -> VolumeRow {
    let settings = VolumeSettings { anonymous: true, ..VolumeSettings::default() };
    VolumeRow { name: name.into(), driver: "local".into(), created: 1, settings }
}

/// A store with the volume "v".
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.db().add_volume(&volume("v")).unwrap();
    fixture
}

#[test]
fn volumes_are_found_by_their_whole_names_and_listed_by_them() {
    let fixture = fixture();
    let db = fixture.db();
    db.add_volume(&volume("a")).unwrap();
    assert_eq!(db.volume("v").unwrap(), volume("v"));
    assert_eq!(db.volumes().unwrap(), [volume("a"), volume("v")]);
    for missing in ["", "b", "V"] {
        assert_eq!(db.volume(missing).unwrap_err().kind(), Kind::NotFound, "{missing}");
    }
    assert_eq!(db.add_volume(&volume("v")).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(fixture.events(), ["v create driver=local", "a create driver=local"]);
}

#[test]
fn a_volume_stays_as_long_as_a_container_was_made_with_it() {
    let fixture = fixture();
    let db = fixture.db();
    fixture.add("c1", "web");
    let join = |volumes: &[&str]| db.write("test", |tx| insert_volume_users(tx, "c1", volumes));
    assert_eq!(join(&["v", "gone"]).unwrap_err().to_string(), "No such volume: gone");
    assert!(db.users_of("v").unwrap().is_empty());
    join(&["v", "v"]).unwrap();
    assert_eq!(db.users_of("v").unwrap(), ["c1"]);
    assert_eq!(db.volumes_of("c1").unwrap(), ["v"]);
    assert_eq!(db.used_volumes().unwrap(), ["v"]);
    let error = db.remove_volume("v").unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        ("remove v: volume is in use - [c1]", Kind::InUse)
    );
    db.conclude("c1", None, true, None).unwrap();
    assert!(db.users_of("v").unwrap().is_empty());
    db.remove_volume("v").unwrap();
    assert_eq!(db.remove_volume("v").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(fixture.events().last().unwrap(), "v destroy driver=local");
}

#[test]
fn a_mounted_volume_stays_and_one_for_one_sandbox_is_refused_to_the_second() {
    let fixture = fixture();
    let db = fixture.db();
    assert!(db.add_volume_mount("v", "s1", true).unwrap());
    assert!(!db.add_volume_mount("v", "s1", true).unwrap());
    let text = db.add_volume_mount("v", "s2", true).unwrap_err().to_string();
    assert!(text.starts_with("Volume v is a disk of its own") && text.ends_with("and s1 has it"), "{text}");
    assert!(db.add_volume_mount("v", "s2", false).unwrap());
    assert_eq!(db.mounts_of("v").unwrap(), ["s1", "s2"]);
    assert_eq!(db.mounted_by("s2").unwrap(), ["v"]);
    let text = db.remove_volume("v").unwrap_err().to_string();
    assert_eq!(text, "remove v: volume is in use - [s1, s2]");
    for sandbox in ["s1", "s2", "s2"] {
        db.remove_volume_mount("v", sandbox).unwrap();
    }
    assert_eq!(
        fixture.events()[3..],
        ["v unmount container=s1 driver=local", "v unmount container=s2 driver=local"]
    );
    assert!(db.add_volume_mount("gone", "s1", false).is_err());
}

#[test]
fn mounts_of_sandboxes_that_are_not_there_are_stranded() {
    let fixture = fixture();
    let db = fixture.db();
    db.add_sandbox_with_container(&sandbox("alive"), None, &container("alive", "web"), With::default())
        .unwrap();
    for id in ["alive", "dead"] {
        db.add_volume_mount("v", id, false).unwrap();
    }
    assert_eq!(db.stranded_mounts().unwrap(), ["dead"]);
    db.end_sandbox("alive").unwrap();
    assert_eq!(db.stranded_mounts().unwrap(), ["alive", "dead"]);
}

#[test]
fn what_is_kept_of_a_volume_can_be_changed() {
    let fixture = fixture();
    let settings =
        VolumeSettings { written_by_machine: true, block_bytes: Some(1 << 30), ..volume("v").settings };
    fixture.db().change_volume("v", &settings).unwrap();
    assert_eq!(fixture.db().volume("v").unwrap().settings, settings);
    assert!(fixture.db().change_volume("w", &settings).is_err());
}
