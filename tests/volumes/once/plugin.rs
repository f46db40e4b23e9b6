//! Volumes of a plugin, by docker's protocol.

use hull_tests::plugin::{Answer, Plugin};
use hull_tests::{World, pod, unique};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

/// Plugins that only this thread and what it starts can find: other cases, and dockerd, would list the volumes of these
/// as their own, and clear them away.
pub fn alone_with_plugins() {
    const PLACE: &str = "/run/docker/plugins";
    let none: Option<&str> = None;
    std::fs::create_dir_all(PLACE).unwrap();
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(none, PLACE, Some("tmpfs"), MsFlags::empty(), none).unwrap();
}

/// What was called since `from`, without who only looks, and without the ids of sandboxes; sorted.
fn changes(plugin: &Plugin, from: &mut usize) -> Vec<String> {
    let calls = plugin.calls();
    let words = ["Create ", "Mount ", "Unmount ", "Remove "];
    let new = calls[*from..].iter().filter(|call| words.iter().any(|word| call.starts_with(word)));
    let mut new: Vec<String> =
        new.map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    *from = calls.len();
    new.sort();
    new
}

#[test]
fn a_plugins_volumes_are_made_mounted_and_removed_by_it() {
    alone_with_plugins();
    let mut world = World::new();
    let driver = unique("plugin");
    let plugin = Plugin::named(&driver, world.dir("plugin").as_ref());
    let mut seen = 0;
    world.say(&format!("volume create -d {driver} -o a=b --label l=1 theirs")).exits(0);
    assert_eq!(changes(&plugin, &mut seen), ["Create theirs"]);
    let text = world
        .say("volume inspect -f {{.Driver}}_{{.Scope}}_{{.Mountpoint}}_{{.Options.a}}_{{.Status.of}} theirs")
        .text();
    assert_eq!(text, format!("{driver}_global_{}_b_test", plugin.path("theirs").display()));
    assert_eq!(world.say(&format!("volume ls -q -f driver={driver}")).text(), "theirs");
    world.sh("-v theirs:/x", "echo written > /x/file").exits(0);
    assert_eq!(changes(&plugin, &mut seen), ["Mount theirs", "Unmount theirs"]);
    assert_eq!(world.read("plugin/theirs/file"), "written\n");
    // Made on the way, as any volume.
    let options =
        format!("--mount type=volume,src=other,dst=/o,volume-driver={driver},volume-opt=c=d -v theirs:/x:ro");
    let script = "cat /x/file; touch /o/x; touch /x/y 2>/dev/null || echo refused";
    assert_eq!(world.sh(&options, script).text(), "written\nrefused");
    let wanted = ["Create other", "Mount other", "Mount theirs", "Unmount other", "Unmount theirs"];
    assert_eq!(changes(&plugin, &mut seen), wanted);
    world.sh(&format!("--volume-driver {driver} -v third:/x"), "true").exits(0);
    assert_eq!(changes(&plugin, &mut seen), ["Create third", "Mount third", "Unmount third"]);

    // Of a supervisor that was killed, the next command tells the plugin.
    world.sleeping("killed", "-v theirs:/x");
    assert_eq!(plugin.mounts("theirs").len(), 1);
    pod::supervisors_of(&world.store.root).into_iter().for_each(pod::murder);
    world.say("rm -f killed").exits(0);
    assert_eq!((plugin.mounts("theirs").len(), world.left()), (0, vec![]));
    world.say("volume rm theirs other").exits(0);
    assert_eq!(plugin.volumes(), ["third"]);

    // What it will not do is told in its words.
    for (call, line) in [
        ("Mount", "run --rm --network none --isolation namespace -v third:/x busybox true".to_owned()),
        ("Create", format!("volume create -d {driver} fourth")),
        ("Remove", "volume rm third".to_owned()),
    ] {
        plugin.answer(
            &format!("VolumeDriver.{call}"),
            Answer::Json(json!({"Err": format!("no {call} today")})),
        );
        let output = world.say(&line);
        let told = output.code != 0 && output.stderr.contains(&format!("no {call} today"));
        assert!(told, "{}", output.report(call));
    }
    // Its absence is told, too.
    drop(plugin);
    let told = world.refused("-v third:/x", 125);
    assert!(told.contains(&driver), "{told}");
    world.say("volume rm -f third").exits(0);
}
