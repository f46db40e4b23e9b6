use std::os::unix::net::UnixListener;

use super::*;
use crate::container::remove::tests::Fixture;
use crate::container::tmpfs;
use crate::image::digest::Digest;
use crate::store::{ContainerRow, With};
use crate::volume::parse::Words;

const HERE: Place = Place { mode: Isolation::Namespace, in_pod: false };
const MACHINE: Place = Place { mode: Isolation::Vm, in_pod: false };

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn asked(volumes: &[&str], mounts: &[&str], from: &[&str], in_memory: &[&str]) -> Asked {
    let (volumes, mounts, from) = (list(volumes), list(mounts), list(from));
    let words = Words { volumes: &volumes, mounts: &mounts, volumes_from: &from, driver: None };
    let in_memory = in_memory.iter().map(|word| tmpfs::parse(word).unwrap()).collect();
    parse::parse(&words, in_memory).unwrap()
}

fn planned(fixture: &Fixture, place: Place, asked: &Asked, image: &[&str]) -> Result<Plan, OptionsError> {
    plan(&fixture.store, place, asked, image.iter().copied())
}

fn refused(fixture: &Fixture, place: Place, asked: &Asked, image: &[&str]) -> String {
    chain(&planned(fixture, place, asked, image).unwrap_err())
}

fn made(fixture: &Fixture, asked: &Asked, image: &[&str]) -> Vec<MountPoint> {
    planned(fixture, HERE, asked, image).unwrap().make(&fixture.store, None).unwrap().points
}

/// `target source`, of a volume without a name `target -`.
fn shown(points: &[MountPoint]) -> Vec<String> {
    let source = |point: &MountPoint| match &point.kind {
        Kind::Bind { source, .. } => source.display().to_string(),
        Kind::Volume { anonymous: true, .. } => "-".to_string(),
        Kind::Volume { name, .. } => name.clone(),
    };
    points.iter().map(|point| format!("{} {}", point.target, source(point))).collect()
}

/// A container that has these.
fn other(fixture: &Fixture, name: &str, points: Vec<MountPoint>) {
    let row = fixture.running(name, false);
    let mut config = Config::from_row(&row).unwrap();
    config.volumes = points;
    let id = format!("{name}2");
    let image = Digest::of(b"image");
    let row = ContainerRow::new(&id, &id, image, Isolation::Namespace, config.to_row());
    fixture.store.db().add_container(&row).unwrap();
}

#[test]
fn what_is_named_wins_over_other_containers_and_both_over_volumes_of_ones_own() {
    let fixture = Fixture::new();
    let theirs = asked(&["/usr:/a:ro", "named:/n", "/own", "/etc:/e"], &[], &[], &[]);
    other(&fixture, "one", made(&fixture, &theirs, &[]));
    other(&fixture, "two", made(&fixture, &asked(&["/tmp:/e"], &[], &[], &[]), &[]));

    let mine = asked(&["/bin:/a", "/n", "/mine"], &["src=more,dst=/m"], &["one2", "two2:ro"], &["/t"]);
    let points = made(&fixture, &mine, &["/own", "/image", "/t", "rel"]);
    let mut sources = shown(&points);
    sources.sort();
    assert_eq!(
        sources,
        ["/a /bin", "/e /tmp", "/image -", "/m more", "/mine -", "/n named", "/own -", "/rel -"]
    );
    let at = |target: &str| points.iter().find(|point| point.target == target).unwrap();
    assert!(!at("/a").readonly && at("/e").readonly && !at("/n").readonly);
    assert!(matches!(&at("/n").kind, Kind::Volume { copy: false, anonymous: false, .. }), "as they left it");
    assert!(matches!(&at("/own").kind, Kind::Volume { copy: false, anonymous: true, .. }));
    assert!(matches!(&at("/image").kind, Kind::Volume { copy: true, anonymous: true, .. }));
    assert_eq!((at("/m").mode.as_str(), at("/n").mode.as_str()), ("z", ""));
}

#[test]
fn another_container_s_volume_that_has_gone_meanwhile_is_not_made_again() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    other(&fixture, "one", made(&fixture, &asked(&["named:/n"], &[], &[], &[]), &[]));
    let plan = planned(&fixture, HERE, &asked(&[], &[], &["one2"], &[]), &[]).unwrap();
    catalog::remove(store, "named", false).unwrap();
    let error = plan.make(store, None).unwrap_err();
    assert_eq!(error.to_string(), "No such volume: named");
    assert!(store.db().volumes().unwrap().is_empty());
}

#[test]
fn outer_mounts_come_first() {
    let fixture = Fixture::new();
    let words = asked(&["/usr:/a/b/c", "/usr:/z", "/usr:/a/b", "/a"], &[], &[], &[]);
    let targets: Vec<String> =
        made(&fixture, &words, &["/b/c"]).into_iter().map(|point| point.target).collect();
    assert_eq!(targets, ["/a", "/z", "/a/b", "/b/c", "/a/b/c"]);
}

#[test]
fn volumes_of_its_own_go_with_a_container_that_never_came_to_be() {
    let fixture = Fixture::new();
    let plan = planned(&fixture, HERE, &asked(&["named:/n", "/own"], &[], &[], &[]), &["/image"]).unwrap();
    let count = || fixture.store.db().volumes().unwrap().len();
    let made = plan.make(&fixture.store, None).unwrap();
    assert_eq!((count(), made.volumes().len()), (3, 3));
    made.undo(&fixture.store);
    assert_eq!(count(), 1, "the one with a name stays");

    let wrong = asked(&["/own"], &["src=no/name,dst=/z/z"], &[], &[]);
    let error = planned(&fixture, HERE, &wrong, &[]).unwrap().make(&fixture.store, None).unwrap_err();
    assert!(error.to_string().contains("includes invalid characters for a local volume name"), "{error}");
    assert_eq!(count(), 1);
}

#[test]
fn a_volume_in_use_stays_when_a_container_goes() {
    let fixture = Fixture::new();
    let made = planned(&fixture, HERE, &asked(&["/own"], &[], &[], &[]), &[]).unwrap();
    let made = made.make(&fixture.store, None).unwrap();
    let row = ContainerRow::new("id", "name", Digest::of(b"image"), Isolation::Namespace, String::new());
    let with = With { endpoints: &[], volumes: &made.volumes() };
    fixture.store.db().add_container_with(&row, with).unwrap();
    let names = anonymous(&made.points);
    assert_eq!(names.len(), 1);
    remove_anonymous(&fixture.store, &names);
    assert_eq!(fixture.store.db().volumes().unwrap().len(), 1);
    fixture.store.db().conclude("id", None, true, None).unwrap();
    remove_anonymous(&fixture.store, &names);
    assert!(fixture.store.db().volumes().unwrap().is_empty());
}

#[test]
fn a_missing_source_is_refused_only_for_mount() {
    let fixture = Fixture::new();
    assert!(planned(&fixture, HERE, &asked(&["/no/such:/x"], &[], &[], &[]), &[]).is_ok());
    assert_eq!(
        refused(&fixture, HERE, &asked(&[], &["type=bind,src=/no/such,dst=/x"], &[], &[]), &[]),
        "invalid mount config for type \"bind\": bind source path does not exist: /no/such"
    );
}

#[test]
fn a_machine_refuses_what_it_cannot_have_and_says_what_to_do() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listening = UnixListener::bind(&socket).unwrap();
    for (word, why) in [
        (format!("{}:/x", socket.display()), "is a socket, which a virtual machine cannot share"),
        ("/dev/null:/x".into(), "/dev/null is a device"),
        ("/usr:/x:rslave".into(), "Leave out rslave, or use --isolation namespace"),
        ("/usr:/x:shared".into(), "Leave out rshared"),
    ] {
        let words = asked(&[&word], &[], &[], &[]);
        let said = refused(&fixture, MACHINE, &words, &[]);
        assert!(said.contains(why), "{said}");
        assert!(planned(&fixture, HERE, &words, &[]).is_ok());
    }
    assert!(planned(&fixture, MACHINE, &asked(&["/usr:/x:rprivate,ro"], &[], &[], &[]), &[]).is_ok());
    let block = asked(&[], &["src=db,dst=/x,volume-opt=kind=block,size=10m"], &[], &[]);
    assert!(planned(&fixture, MACHINE, &block, &[]).is_ok());
    let pod = Place { in_pod: true, ..MACHINE };
    assert!(refused(&fixture, pod, &block, &[]).contains("a pod's container cannot get one"));
}

#[test]
fn a_machine_has_disks_for_so_many_block_volumes() {
    let fixture = Fixture::new();
    let block =
        |name: &str, at: usize| format!("src={name},dst=/{at},volume-opt=kind=block,volume-opt=size=64m");
    let blocks: Vec<String> = (0..MAX_BLOCKS - 1).map(|at| block(&format!("block{at}"), at)).collect();
    let with = |more: &[&str]| {
        let mounts: Vec<&str> = blocks.iter().map(String::as_str).chain(more.iter().copied()).collect();
        asked(&["plain:/plain", "/own"], &mounts, &[], &[])
    };
    let own = "dst=/more,volume-opt=kind=block,volume-opt=size=64m";
    let (again, eleventh) = (block("block0", 99), block("last", 98));
    for few in [&[][..], &[own], &[&again, own]] {
        assert!(planned(&fixture, MACHINE, &with(few), &[]).is_ok(), "{few:?}");
    }
    let many = with(&[&eleventh, own]);
    let told = refused(&fixture, MACHINE, &many, &[]);
    assert_eq!(told, "11 block volumes asked for; a virtual machine has disks for 10 beside its own");
    // A host has no disks to run out of, and what is there already is what it is, however it is asked for.
    assert!(planned(&fixture, HERE, &many, &[]).is_ok());
    made(&fixture, &asked(&[], &["src=last,dst=/x"], &[], &[]), &[]);
    assert!(planned(&fixture, MACHINE, &many, &[]).is_ok());
    let more = with(&[own, "src=plain,dst=/p", "src=disk,dst=/d"]);
    assert!(planned(&fixture, MACHINE, &more, &[]).is_ok());
    let disk = asked(&[], &["src=disk,dst=/x,volume-opt=kind=block,volume-opt=size=64m"], &[], &[]);
    made(&fixture, &disk, &[]);
    assert!(refused(&fixture, MACHINE, &more, &[]).starts_with("11 block volumes"));
}

#[test]
fn what_an_image_asks_for_is_checked() {
    let fixture = Fixture::new();
    let nothing = asked(&[], &[], &[], &[]);
    let wrong = |word: &str| refused(&fixture, HERE, &nothing, &[word]);
    assert!(wrong("/a/..").ends_with("destination can't be '/'"));
    assert!(wrong("/a\0b").ends_with("NUL byte in it"));
    assert!(wrong(&"/a".repeat(3000)).contains("longer than"));
    let many: Vec<String> = (0..200).map(|n| format!("/v{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(refused(&fixture, HERE, &nothing, &many).contains("200 volumes"));
    assert_eq!(shown(&made(&fixture, &nothing, &["/a/../../b/", "c"])), ["/b -", "/c -"]);
}
