//! kill -9 of each process that has to do with mounts: the next command finds everything as it should be.

use std::time::Duration;

use hull_tests::{BUSYBOX, DEBIAN, Isolation, World, eventually, isolation, paths, pod};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One of each kind.
fn options(world: &World) -> String {
    let folder = world.dir("bound");
    world.say("volume create -o type=tmpfs -o device=tmpfs memory").exits(0);
    format!(
        "-v {folder}:/bound -v named:/named -v memory:/memory --tmpfs /t -v /anonymous \
         --mount type=volume,src=disk,dst=/disk,volume-opt=kind=block,volume-opt=size=64M"
    )
}

fn supervisor(world: &World) -> Pid {
    let supervisors = pod::supervisors_of(&world.store.root);
    let [supervisor] = supervisors[..] else { panic!("{supervisors:?}") };
    supervisor
}

/// The container's own, whose row is there.
#[track_caller]
fn only_folders_are_left(world: &mut World) {
    let folders =
        ["containers", "sandboxes"].map(|name| format!("folder {}", world.store.root.join(name).display()));
    let owned = |line: &String| folders.iter().any(|folder| line.starts_with(folder));
    hull_tests::eventually("nothing but folders is left", || world.traces().iter().all(owned).then_some(()));
}

const USE: &str = "for d in bound named disk anonymous; do echo x >> /$d/starts; sync /$d/starts; cat /$d/starts | wc -l; done; ls -A /memory";

#[test]
fn nothing_of_its_mounts_is_left_of_a_killed_supervisor() {
    let mut world = World::new();
    world.sleeping("one", &options(&world));
    assert_eq!(world.exec("one", USE).text(), "1\n1\n1\n1");
    pod::murder(supervisor(&world));
    assert_eq!(world.say("inspect -f {{.State.Status}} one").text(), "exited");
    only_folders_are_left(&mut world);
    // Everything is to be had again, by itself and by another.
    world.say("start one").exits(0);
    assert_eq!(world.exec("one", USE).text(), "2\n2\n2\n2");
    world.say("rm -fv one").exits(0);
    assert_eq!(
        world.sh("-v disk:/disk -v named:/named", "cat /disk/starts /named/starts | wc -l").text(),
        "4"
    );
}

#[test]
fn a_killed_agent_or_machine_ends_its_container_and_its_mounts() {
    let mut world = World::new();
    world.sleeping("one", &options(&world));
    world.exec("one", USE).exits(0);
    let id = world.say("inspect -f {{.Id}} one").text();
    let serves_files = |pid: &Pid| {
        std::fs::read_link(format!("/proc/{pid}/exe"))
            .is_ok_and(|exe| exe.to_string_lossy().contains("hull-fs"))
    };
    let found = pod::supervised(&id).into_iter().find(|pid| !serves_files(pid));
    pod::murder(found.unwrap());
    eventually("it has ended", || {
        (world.say("inspect -f {{.State.Status}} one").text() == "exited").then_some(())
    });
    only_folders_are_left(&mut world);
    world.say("start one").exits(0);
    assert_eq!(world.exec("one", USE).text(), "2\n2\n2\n2");
}

/// A machine without its files cannot go on, and its owner is told why it did not.
#[test]
fn a_killed_file_server_ends_its_container_in_words() {
    if isolation() == Isolation::Namespace {
        return;
    }
    let mut world = World::new();
    let folder = world.dir("bound");
    for server in [false, true] {
        world.sleeping("one", &format!("-v {folder}:/bound -v named:/named"));
        world.exec("one", "echo x > /bound/x; echo x > /named/x").exits(0);
        let is_stager = |pid: &Pid| {
            std::fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe.to_string_lossy().contains("hull-fs"))
        };
        let stager = pod::children(supervisor(&world)).into_iter().find(is_stager).unwrap();
        pod::murder(if server { pod::children(stager)[0] } else { stager });
        eventually("it has ended", || {
            (world.say("inspect -f {{.State.Status}} one").text() == "exited").then_some(())
        });
        let why = world.say("inspect -f {{.State.Error}} one").text();
        assert!(why.contains("file server") || why.contains("hull-fs"), "{why}");
        assert_ne!(world.say("inspect -f {{.State.ExitCode}} one").text(), "0");
        only_folders_are_left(&mut world);
        world.say("start one").exits(0);
        world.exec("one", "cat /bound/x /named/x").exits(0);
        world.say("rm -f one").exits(0);
    }
}

/// At no moment does a start that is killed leave what the next one stumbles over.
#[test]
fn starts_that_are_killed_are_cleared_away() {
    let mut world = World::new();
    let options = options(&world);
    let (moments, pace) = if paths::emulated() { (3, 2500) } else { (12, 40) };
    for moment in 0..moments {
        let running = world.script(&options, BUSYBOX, "echo x >> /named/runs; sleep 1000").spawn();
        std::thread::sleep(Duration::from_millis(pace * moment / 2));
        // The supervisor, where there is one by now, and the command itself.
        pod::supervisors_of(&world.store.root).into_iter().for_each(pod::murder);
        drop(running);
        world.say("ps -a").exits(0);
        let stay: Vec<String> = world.say("ps -aq").text().split_whitespace().map(str::to_owned).collect();
        world.hull(["rm", "-fv"].into_iter().chain(stay.iter().map(String::as_str)));
    }
    assert_eq!(world.left(), [""; 0]);
    world.sleeping("after", &options);
    world.exec("after", USE).exits(0);
}

/// Of one that was to be removed, the volume without a name goes with it, at whatever moment it is killed.
#[test]
fn a_killed_container_that_was_to_be_removed_takes_its_own_volume_along() {
    let world = World::new();
    for moment in 0..8 {
        let running = world.script("-v /anonymous", BUSYBOX, "sleep 1000").spawn();
        match moment {
            0 => drop(eventually("it runs", || world.say("ps -q").text().lines().next().map(str::to_owned))),
            moment => std::thread::sleep(Duration::from_millis(6 * moment)),
        }
        kill(running.pid(), Signal::SIGKILL).unwrap();
        drop(running);
        // Whoever was killed may just have begun the supervisor.
        eventually("it is swept", || {
            pod::supervisors_of(&world.store.root).into_iter().for_each(pod::murder);
            (world.say("ps -aq").text().is_empty() && world.volumes().is_empty()).then_some(())
        });
    }
}

/// A copy of what the image has that was cut short is not taken for a whole one.
#[test]
fn a_copy_that_was_cut_short_is_done_again() {
    let world = World::new();
    let place = if paths::emulated() { "/usr/share/doc" } else { "/usr/share" };
    let list = &format!("cd {place}; find . -type f | sort | xargs -d '\\n' md5sum | md5sum; find . | wc -l");
    let wanted = world.script("", DEBIAN, list).output().text();
    world.say("volume create slow").exits(0);
    let at = world.say("volume inspect -f {{.Mountpoint}} slow").text();
    let volume = format!("-v slow:{place}");
    let running = world.script(&volume, DEBIAN, "sleep 1000").spawn();
    eventually("the copy has begun", || std::fs::read_dir(&at).unwrap().next().map(drop));
    pod::supervisors_of(&world.store.root).into_iter().for_each(pod::murder);
    drop(running);
    assert_eq!(world.script(&volume, DEBIAN, list).output().text(), wanted);
}
