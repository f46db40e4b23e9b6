//! Named and anonymous volumes: whose they are, how long they stay, and who else sees them.

use hull_tests::archive::Archive;
use hull_tests::{BUSYBOX, World};
use serde_json::json;

/// An image with two volumes of its own, one of which has something in it.
fn with_volumes(world: &World) {
    let layer = hull_tests::archive::Tar::new()
        .folder("srv/")
        .folder("srv/own/")
        .file("srv/own/file", b"of the image\n");
    let config = json!({"Cmd": ["sh"], "Env": ["PATH=/bin"], "Volumes": {"/srv/own": {}, "/srv/empty": {}}});
    world.store.load_archive(&Archive::on_busybox("volumes:1").layer(layer.bytes()).config(config)).exits(0);
}

#[test]
fn a_named_volume_outlives_its_containers() {
    let world = World::new();
    world.sh("-v kept:/data", "echo first > /data/file; chown 7:8 /data/file; chmod 600 /data/file").exits(0);
    let script = "cat /data/file; stat -c '%u:%g %a' /data/file; echo second > /data/file";
    assert_eq!(world.sh("--mount type=volume,src=kept,dst=/data", script).text(), "first\n7:8 600");
    let refused = "cat /data/file; echo x 2>/dev/null > /data/file || echo refused";
    assert_eq!(world.sh("-v kept:/data:ro", refused).text(), "second\nrefused");
    assert_eq!(world.volumes(), ["kept"]);
    // Its files lie where inspect says.
    let at = world.say("volume inspect --format {{.Mountpoint}} kept").text();
    assert_eq!(std::fs::read_to_string(format!("{at}/file")).unwrap(), "second\n");
    world.say("volume rm kept").exits(0);
    assert!(!std::fs::exists(at).unwrap());
}

#[test]
fn images_say_what_is_a_volume_and_rm_takes_the_anonymous() {
    let world = World::with_own_images();
    with_volumes(&world);
    let script = "cat /srv/own/file; ls -A /srv/empty; echo x > /srv/empty/x; grep -c ' /srv/' /proc/mounts";
    assert_eq!(world.script("", "volumes:1", script).output().text(), "of the image\n2");
    assert_eq!(world.volumes(), [""; 0]);
    // One given by hand takes the place of the image's.
    assert_eq!(
        world.script("-v mine:/srv/own", "volumes:1", "cat /srv/own/file").output().text(),
        "of the image"
    );
    assert_eq!(world.volumes(), ["mine"]);
    // Kept ones stay with their container, over its starts.
    world.start(
        "stays",
        "-v /more -v named:/named",
        ["volumes:1", "sh", "-c", "echo x >> /more/file; cat /more/file"],
    );
    world.say("wait stays").exits(0);
    world.say("start stays").exits(0);
    world.say("wait stays").exits(0);
    assert_eq!(world.say("logs stays").text(), "x\nx\nx");
    assert_eq!(world.volumes().len(), 5);
    world.say("rm stays").exits(0);
    assert_eq!(world.volumes().len(), 5);
    world.start("goes", "-v /more -v named:/named", ["volumes:1", "true"]);
    world.say("wait goes").exits(0);
    world.say("rm -v goes").exits(0);
    assert_eq!(world.volumes().len(), 5);
    // Of what nobody uses, a prune takes the anonymous, and with --all the rest.
    let told = world.say("volume prune -f").text();
    assert!(told.contains("Deleted Volumes:") && told.contains("Total reclaimed space:"), "{told}");
    assert_eq!(world.volumes(), ["mine", "named"]);
    world.say("volume prune -f --all --filter label=none").exits(0);
    assert_eq!(world.volumes(), ["mine", "named"]);
    world.say("volume prune -f --all").exits(0);
    assert_eq!(world.volumes(), [""; 0]);
}

#[test]
fn what_is_in_use_is_not_removed() {
    let world = World::new();
    world.sleeping("user", "-v used:/data");
    for words in ["volume rm used", "volume rm -f used"] {
        let told = world.say(words).fails(1);
        assert!(told.contains("remove used: volume is in use - ["), "{told}");
    }
    world.say("volume prune -fa").exits(0);
    assert_eq!(world.say("volume ls -q --filter dangling=true").text(), "");
    assert_eq!(world.say("volume ls -q --filter dangling=false").text(), "used");
    // Also by one that does not run.
    world.say("stop -t 0 user").exits(0);
    world.say("volume rm used").fails(1);
    world.say("rm user").exits(0);
    assert_eq!(world.say("volume rm used").text(), "used");
}

#[test]
fn volumes_of_another_container_come_along() {
    let world = World::new();
    let folder = world.dir("data");
    world.file("data/file", "bound\n");
    world.say("volume create writable").exits(0);
    let options = format!("-v {folder}:/bound -v writable:/named -v /anonymous -v fixed:/fixed:ro");
    world.start(
        "first",
        &options,
        [BUSYBOX, "sh", "-c", "echo mine > /anonymous/file; echo theirs > /named/file"],
    );
    world.say("wait first").exits(0);
    let script = "cat /bound/file /anonymous/file /named/file; for d in bound named anonymous fixed; do \
                  echo x 2>/dev/null > /$d/new && echo $d; done; true";
    let text = world.sh("--volumes-from first", script).text();
    assert_eq!(text, "bound\nmine\ntheirs\nbound\nnamed\nanonymous");
    let text = world.sh("--volumes-from first:ro -v named-here:/named", script).exits(1).stderr;
    assert!(text.contains("/named/file"), "{text}");
    let script = script.replace(" /named/file", "");
    let text = world.sh("--volumes-from first:ro -v named-here:/named", &script).text();
    assert_eq!(text, "bound\nmine\nnamed");
    // Whom they were made for, they go with; the others stay.
    world.say("rm -v first").exits(0);
    assert_eq!(world.volumes(), ["fixed", "named-here", "writable"]);
}

/// Two containers at once, each in its own machine where there are machines.
#[test]
fn two_containers_share_a_volume_while_they_run() {
    let world = World::new();
    world.sleeping("left", "-v both:/data");
    world.sleeping("right", "-v both:/other");
    world.exec("left", "echo from left > /data/file; mkdir /data/d").exits(0);
    assert_eq!(
        world.exec("right", "cat /other/file; rmdir /other/d; echo and right >> /other/file").text(),
        "from left"
    );
    let shown = || world.exec("left", "cat /data/file; ls /data").stdout;
    hull_tests::eventually("left sees it", || (shown() == b"from left\nand right\nfile\n").then_some(()));
    // Appended lines of both are whole and all there.
    let append = |name: &str, path: &str| {
        let script =
            format!("i=0; while [ $i -lt 200 ]; do echo {name} $i >> {path}/log; i=$((i + 1)); done");
        world.store.hull(["exec", name, "sh", "-ec", &script]).spawn()
    };
    let both = [append("left", "/data"), append("right", "/other")];
    for running in both {
        running.finish().exits(0);
    }
    let at = world.say("volume inspect --format {{.Mountpoint}} both").text();
    let log = std::fs::read_to_string(format!("{at}/log")).unwrap();
    for name in ["left", "right"] {
        let lines = log.lines().filter(|line| line.starts_with(&format!("{name} ")));
        let wanted: Vec<String> = (0..200).map(|n| format!("{name} {n}")).collect();
        assert_eq!(lines.collect::<Vec<_>>(), wanted, "lines of {name}");
    }
    assert_eq!(log.lines().count(), 400);
}

#[test]
fn a_part_of_a_volume_is_mounted_and_nothing_beside_it() {
    let world = World::new();
    let make = "mkdir -p /v/a/b; echo part > /v/a/b/file; echo all > /v/secret; ln -s ../../../../etc /v/out; ln -s / /v/root";
    world.sh("-v whole:/v", make).exits(0);
    let subpath = |path: &str| format!("--mount type=volume,src=whole,dst=/p,volume-subpath={path}");
    assert_eq!(
        world.sh(&subpath("a/b"), "cat /p/file; ls -A /p /p/..  | grep -c secret || true").text(),
        "part\n0"
    );
    assert_eq!(world.sh(&subpath("a/b/file"), "cat /p; stat -c %F /p").text(), "part\nregular file");
    for (path, part) in
        [("none", "none"), ("../x", "relative"), ("/a", "relative"), ("out", "out"), ("root", "root")]
    {
        let told = world.sh(&subpath(path), "ls /p").exits(125).stderr;
        assert!(told.contains(part), "{told}");
    }
}

/// A pod's members share files as any containers do.
#[test]
fn members_of_a_pod_have_volumes_and_binds() {
    let world = World::new();
    let folder = world.dir("data");
    let mode = hull_tests::isolation().word();
    world.say(&format!("pod create --name pair --isolation {mode}")).exits(0);
    let member = |options: &str, script: &str| {
        let options = options.split(' ');
        world.hull(
            ["run", "--rm", "--pod", "pair"].into_iter().chain(options).chain([BUSYBOX, "sh", "-ec", script]),
        )
    };
    member(&format!("-v {folder}:/bound -v pods:/named"), "echo one > /bound/file; echo two > /named/file")
        .exits(0);
    let options = format!("-v {folder}:/b:ro --volume pods:/n");
    let text = member(&options, "cat /b/file /n/file; echo x 2>/dev/null > /b/x || echo refused").text();
    assert_eq!(text, "one\ntwo\nrefused");
}
