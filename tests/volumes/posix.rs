//! What POSIX and Linux promise of files, on every kind of mount, against what the host's own file system keeps.

use std::collections::BTreeSet;
use std::process::Command;

use hull_tests::world::program;
use hull_tests::{DEBIAN, Isolation, World, isolation, paths};

/// A bind mount, a volume and a block volume, at /b, /v and /d; /r is the container's own root.
fn everywhere(world: &World) -> String {
    let folder = world.dir("bound");
    let block = "--mount type=volume,src=disk,dst=/d,volume-opt=kind=block,volume-opt=size=256M";
    format!("-v {folder}:/b -v named:/v {block} {}", program("hull-files"))
}

/// What a machine's shared folder has not, and why; a host's and a disk have all.
const NOT_SHARED: &[(&str, &str)] =
    &[("tmpfile", "virtiofsd does not answer FUSE_TMPFILE; programs take a name then")];

#[test]
fn every_check_of_files_passes_on_every_mount() {
    let world = World::new();
    let options = everywhere(&world);
    // In an emulated machine, where the files are not its own kernel's, and without the checks that make files by the
    // thousand: each call that leaves the machine takes milliseconds there.
    let (places, without) =
        if paths::emulated() { ("/b", "many-entries reading-while-removing") } else { ("/r /d /b /v", "") };
    let script =
        format!("mkdir /r; for at in {places}; do echo in $at; hull-files check $at {without} || :; done");
    let text = world.script(&options, DEBIAN, &script).output_within(paths::patience() * 3).exits(0);
    let text = String::from_utf8(text.stdout).unwrap();
    let excused = |line: &&str| {
        isolation() == Isolation::Vm
            && NOT_SHARED.iter().any(|(name, _)| line.starts_with(&format!("{name}: ")))
    };
    let failed: Vec<&str> = text.lines().filter(|line| !line.starts_with("in /") && !excused(line)).collect();
    assert_eq!(failed, [""; 0], "{text}");
    assert_eq!(text.matches("in /").count(), places.split(' ').count());
}

#[test]
fn files_changed_at_random_are_as_a_model_says() {
    let world = World::new();
    let options = everywhere(&world);
    let steps = if paths::emulated() { 300 } else { 2000 };
    let script = format!(
        "mkdir /r; for at in /r /d /b /v; do for seed in {seed} {seed}7; do echo $at; hull-files model $at $seed {steps}; done; done; \
         ls -A /b /v | grep model || echo clean",
        seed = std::process::id()
    );
    let text = world.script(&options, DEBIAN, &script).output_within(paths::patience() * 3).exits(0);
    assert!(text.stdout.ends_with(b"clean\n"), "{}", text.report("the end"));
}

/// pjdfstest's settings: users of the image, and what Linux has.
const SETTINGS: &str = "[features]\nposix_fallocate = {}\nutime_now = {}\nutimensat = {}\n\
                        [settings]\nnaptime = 0.01\n\
                        [dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]\n";

/// Names of those that failed, and of those that passed.
fn results(text: &str) -> [BTreeSet<String>; 2] {
    let plain: String = {
        let mut parts = text.split('\x1b');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + part.split_once('m').map_or(part, |(_, rest)| rest))
    };
    ["FAILED", "ok"].map(|result| {
        let those = plain.lines().filter(|line| line.split_whitespace().last() == Some(result));
        those.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    })
}

/// Skipped in containers, since it mounts.
const MOUNTS: &str = "rmdir::ebusy";

/// Cases that a machine cannot pass, by the ends of their names: they make device files, for which the process that
/// serves the files has no right.
const DEVICES: [&str; 2] = ["::char", "::block"];

#[test]
fn pjdfstest_finds_what_it_finds_on_the_host() {
    let world = World::new();
    let settings = world.file("pjdfstest.toml", SETTINGS);
    let on_host = Command::new(paths::prepared_program("pjdfstest"))
        .args(["-c", &settings, "-p", &world.dir("host")])
        .output()
        .unwrap();
    let [known, passed] = results(&String::from_utf8_lossy(&on_host.stdout));
    assert!(passed.len() > 300, "{on_host:?}");
    let options = format!("{} {} -v {settings}:/settings:ro", everywhere(&world), program("pjdfstest"));
    let places: &[&str] = if paths::emulated() { &["/b"] } else { &["/b", "/v", "/d"] };
    for place in places {
        let script = format!("pjdfstest -c /settings -p {place} || :");
        let output = world.script(&options, DEBIAN, &script).output_within(paths::patience() * 3).exits(0);
        let [found, fine] = results(&String::from_utf8_lossy(&output.stdout));
        let excused = |name: &&String| {
            *name == MOUNTS
                || known.contains(*name)
                || isolation() == Isolation::Vm && DEVICES.iter().any(|end| name.ends_with(end))
        };
        let more: Vec<&String> = found.iter().filter(|name| !excused(name)).collect();
        assert!(more.is_empty(), "{place}: {more:?} fail here alone");
        let fewer: Vec<&String> = passed.difference(&fine).filter(|name| !excused(name)).collect();
        assert!(fewer.is_empty(), "{place}: {fewer:?} pass on the host alone");
    }
}
