//! Starts that wait for a plugin, or for another container's copy: nobody else does.

use std::time::{Duration, Instant};

use hull_tests::plugin::Plugin;
use hull_tests::{BUSYBOX, DEBIAN, Output, World, eventually, pod, unique};
use nix::sys::signal::{Signal, kill};

use super::plugin::alone_with_plugins;

const MOUNT: &str = "VolumeDriver.Mount";

/// A world with a plugin, whose volume "theirs" cannot be mounted until it is let go.
fn hanging() -> (World, Plugin) {
    alone_with_plugins();
    let world = World::new();
    let driver = unique("plugin");
    let plugin = Plugin::named(&driver, world.dir("plugin").as_ref());
    world.say(&format!("volume create -d {driver} theirs")).exits(0);
    plugin.hold(MOUNT);
    (world, plugin)
}

/// What it says, at once.
#[track_caller]
fn at_once(world: &World, line: &str) -> Output {
    let begin = Instant::now();
    let output = world.say(line);
    assert!(begin.elapsed() < Duration::from_secs(4), "{line} took {:?}", begin.elapsed());
    output
}

/// What came late has been taken back.
#[track_caller]
fn nothing_stays(world: &mut World, plugin: &Plugin, mounts: usize) {
    plugin.let_go();
    let calls = |word: &str| plugin.calls().iter().filter(|call| call.starts_with(word)).count();
    eventually("all that was mounted is unmounted", || {
        (calls("Mount ") == mounts && plugin.mounts("theirs").is_empty()).then_some(())
    });
    assert_eq!(world.left(), [""; 0]);
    world.say("volume rm theirs").exits(0);
}

#[test]
fn a_start_that_a_plugin_holds_up_is_removed_and_killed_at_once() {
    let (mut world, plugin) = hanging();
    let running = world.script("--name one -v theirs:/x", BUSYBOX, "true").spawn();
    plugin.wait_for_held(1);
    at_once(&world, "rm -f one").exits(0);
    let told = running.finish().fails(125);
    assert!(told.contains("called off"), "{told}");
    assert_eq!(at_once(&world, "ps -aq").text(), "");

    let command =
        format!("create --name two --network none --isolation namespace -v theirs:/x {BUSYBOX} true");
    at_once(&world, &command).exits(0);
    let starting = world.store.hull(["start", "-a", "two"]).spawn();
    // The first still has the volume.
    eventually("it is about to start", || pod::supervisors_of(&world.store.root).first().copied());
    at_once(&world, "kill two").exits(0);
    let told = starting.finish().fails(1);
    assert!(told.contains("called off"), "{told}");
    nothing_stays_and_starts(&mut world, &plugin);
}

/// One that was killed is there, and can be started.
fn nothing_stays_and_starts(world: &mut World, plugin: &Plugin) {
    plugin.let_go();
    world.say("start -a two").exits(0);
    world.say("rm two").exits(0);
    let calls = |word: &str| plugin.calls().iter().filter(|call| call.starts_with(word)).count();
    let mounts = calls("Mount ");
    nothing_stays(world, plugin, mounts);
}

#[test]
fn a_pod_goes_on_while_a_plugin_holds_one_of_it_up() {
    let (mut world, plugin) = hanging();
    world.say("pod create --name pp --network none --isolation namespace").exits(0);
    world.say(&format!("run -d --pod pp --name other {BUSYBOX} sleep 1000")).exits(0);
    let running =
        world.store.hull(["run", "--pod", "pp", "--name", "one", "-v", "theirs:/x", BUSYBOX, "true"]);
    let running = running.spawn();
    plugin.wait_for_held(1);
    assert_eq!(at_once(&world, "exec other echo here").text(), "here");
    at_once(&world, "stop -t 0 other").exits(0);
    at_once(&world, "start other").exits(0);
    at_once(&world, "rm -f one").exits(0);
    let told = running.finish();
    assert_ne!(told.code, 0);
    at_once(&world, "pod rm -f pp").exits(0);
    nothing_stays(&mut world, &plugin, 1);
}

#[test]
fn a_restart_that_a_plugin_holds_up_can_be_stopped() {
    for word in ["stop", "kill"] {
        let (mut world, plugin) = hanging();
        plugin.let_go();
        let script = "[ -e /x/again ] && exit 0; echo x > /x/again; sleep 1; exit 1";
        world.start("one", "--restart on-failure -v theirs:/x", [BUSYBOX, "sh", "-c", script]);
        plugin.hold(MOUNT);
        plugin.wait_for_held(1);
        at_once(&world, &format!("{word} one")).exits(0);
        assert_eq!(world.say("inspect -f {{.State.Status}}_{{.State.ExitCode}} one").text(), "exited_1");
        at_once(&world, "rm one").exits(0);
        nothing_stays(&mut world, &plugin, 2);
    }
}

#[test]
fn a_restart_whose_sandbox_is_killed_while_a_plugin_holds_it_up_is_tried_again() {
    let (mut world, plugin) = hanging();
    plugin.let_go();
    let script = "[ -e /x/again ] && exec sleep 1000; echo x > /x/again; sleep 1; exit 1";
    world.start("one", "--restart always -v theirs:/x", [BUSYBOX, "sh", "-c", script]);
    plugin.hold(MOUNT);
    plugin.wait_for_held(1);
    let id = world.say("inspect -f {{.Id}} one").text();
    let agent = eventually("its sandbox is up", || pod::supervised(&id).first().copied());
    pod::murder(agent);
    plugin.let_go();
    let state = || world.say("inspect -f {{.State.Status}}_{{.State.ExitCode}} one").text();
    eventually("it runs again", || (state() == "running_0").then_some(()));
    world.say("rm -f one").exits(0);
    let mounts = plugin.calls().iter().filter(|call| call.starts_with("Mount ")).count();
    nothing_stays(&mut world, &plugin, mounts);
}

/// Not even by whoever asks the plugin to unmount what a killed supervisor has left.
#[test]
fn a_plugin_that_does_not_unmount_holds_up_no_other_command() {
    let (world, plugin) = hanging();
    plugin.let_go();
    world.sleeping("one", "-v theirs:/x");
    plugin.hold("VolumeDriver.Unmount");
    pod::supervisors_of(&world.store.root).into_iter().for_each(pod::murder);
    // It ends the sandbox, and asks; and asks once more for the last time.
    let sweeping = world.store.hull(["ps"]).spawn();
    for calls in [1, 2] {
        plugin.wait_for_held(calls);
        at_once(&world, &format!("create --network none --isolation namespace {BUSYBOX} true")).exits(0);
    }
    sweeping.finish().exits(0);
    plugin.let_go();
    world.say("rm one").exits(0);
    world.say("volume rm theirs").exits(0);
}

/// Whose agent is stopped while it copies, and goes on later.
#[test]
fn a_start_that_waits_for_another_s_copy_is_removed_at_once_and_else_waits() {
    let world = World::new();
    let list = "cd /usr/share; find . | wc -l";
    let wanted = world.script("", DEBIAN, list).output().text();
    world.say("volume create slow").exits(0);
    let at = world.say("volume inspect -f {{.Mountpoint}} slow").text();
    let options = "-v slow:/usr/share";
    let first = world.script(&format!("--name first {options}"), DEBIAN, list).spawn();
    eventually("the copy has begun", || std::fs::read_dir(&at).unwrap().next().map(drop));
    let id = world.say("inspect -f {{.Id}} first").text();
    let copying = pod::in_sandbox(&id);
    assert!(!copying.is_empty());
    copying.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
    let second = world.script(&format!("--name second {options}"), DEBIAN, list).spawn();
    eventually("the second is about to start", || {
        (pod::supervisors_of(&world.store.root).len() == 2).then_some(())
    });
    at_once(&world, "rm -f second").exits(0);
    second.finish().fails(125);
    let third = world.script(options, DEBIAN, list).spawn();
    copying.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).unwrap());
    assert_eq!([first.finish().text(), third.finish().text()], [wanted.clone(), wanted]);
}
