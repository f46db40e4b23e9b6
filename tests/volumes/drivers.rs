//! The local driver's options: docker's `type`, `o` and `device`, which are mount(8)'s.

use hull_tests::World;

#[test]
fn a_volume_in_memory_lives_while_somebody_uses_it() {
    let world = World::new();
    world.say("volume create -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=1000,mode=750 memory").exits(0);
    world.sleeping("first", "-v memory:/data");
    let script = "stat -c '%u %a' /data; stat -f -c %T /data; echo here > /data/file; dd if=/dev/zero of=/data/full bs=64k count=40 \
                  2>/dev/null || echo full; rm /data/full";
    let text = world.exec("first", script).text();
    // What a guest sees of a host's file system is virtio-fs.
    assert!(text.starts_with("1000 750\n") && text.ends_with("full"), "{text}");
    assert_eq!(world.sh("-v memory:/x", "cat /x/file").text(), "here");
    world.say("rm -f first").exits(0);
    assert_eq!(world.sh("-v memory:/x", "ls -A /x").text(), "");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(world.store.root.to_str().unwrap()), "{mounts}");
}

#[test]
fn a_volume_is_a_folder_of_the_host_if_that_is_said() {
    let world = World::new();
    let folder = world.dir("elsewhere");
    world.file("elsewhere/file", "of the host\n");
    world.say(&format!("volume create -o type=none -o device={folder} -o o=bind bound")).exits(0);
    world.say(&format!("volume create -o type=none -o device={folder} -o o=bind,ro fixed")).exits(0);
    let script = "cat /b/file; echo written > /b/new; cat /f/new; echo x 2>/dev/null > /f/x || echo refused";
    assert_eq!(world.sh("-v bound:/b -v fixed:/f", script).text(), "of the host\nwritten\nrefused");
    assert_eq!(world.read("elsewhere/new"), "written\n");
    world.say("volume rm bound fixed").exits(0);
    assert_eq!(world.read("elsewhere/file"), "of the host\n");
    // Said when it is mounted: it may be there by then.
    let missing = world.path("missing");
    world.say(&format!("volume create -o type=none -o device={missing} -o o=bind gone")).exits(0);
    let told = world.refused("-v gone:/g", 125);
    assert!(told.contains("gone") && told.contains(&missing), "{told}");
    world.dir("missing");
    world.sh("-v gone:/g", "echo x > /g/x").exits(0);
}

/// Such as NFS where the kernel has none: what the kernel says of it is told with the volume's name.
#[test]
fn a_file_system_that_cannot_be_mounted_is_told() {
    let world = World::new();
    if !std::fs::read_to_string("/proc/filesystems").unwrap().contains("\tnfs\n") {
        world.say("volume create -o type=nfs -o o=addr=127.0.0.1,ro -o device=:/nowhere remote").exits(0);
        let told = world.refused("-v remote:/r", 125);
        // A kernel may load the module, and find no server.
        let why = told.contains("No such device") || told.contains("Connection refused");
        assert!(told.contains("remote") && why, "{told}");
    }
    world.say("volume create -o type=nosuchfs -o device=x odd").exits(0);
    let told = world.refused("-v odd:/r", 125);
    assert!(told.contains("odd") && told.contains("No such device"), "{told}");
    assert_eq!(world.say("ps -aq").text(), "");
}
