//! Block volumes: a file system of its own, as a disk of the machine.

use hull_tests::{Isolation, World, isolation};

const VOLUME: &str = "--mount type=volume,src=disk,dst=/data,volume-opt=kind=block,volume-opt=size=64M";

#[test]
fn a_block_volume_keeps_what_is_written_to_it() {
    let world = World::new();
    let script = "df -k /data | awk 'NR == 2 {exit !($2 > 40000 && $2 < 66000)}'; ls -A /data; \
                  head -c 5000000 /dev/urandom > /data/big; sha256sum < /data/big > /data/sum; chown 3:4 /data/sum; \
                  mkdir /data/d; stat -f -c %T /data";
    let text = world.sh(VOLUME, script).text();
    assert!(text.contains("ext"), "{text}");
    let script = "sha256sum < /d/big | cmp - /d/sum; stat -c %u:%g /d/sum; ls /d | tr '\\n' ' '; echo x 2>/dev/null > /d/x || echo refused";
    assert_eq!(world.sh("-v disk:/d:ro", script).text(), "3:4\nbig d sum refused");
    // Over a container's restarts.
    world.start(
        "again",
        "-v disk:/d",
        [hull_tests::BUSYBOX, "sh", "-c", "echo start >> /d/starts; cat /d/starts"],
    );
    world.say("wait again").exits(0);
    world.say("restart again").exits(0);
    world.say("wait again").exits(0);
    assert_eq!(world.say("logs again").text(), "start\nstart\nstart");
    // Full is full, for this volume alone.
    let script = "dd if=/dev/zero of=/d/full bs=1M count=100 2>&1 | grep -o 'No space left'; echo x > /elsewhere; cat /d/starts | wc -l";
    assert_eq!(world.sh("-v disk:/d", script).text(), "No space left\n2");
}

#[test]
fn a_block_volume_is_one_sandboxs_at_a_time() {
    let world = World::new();
    world.sleeping("owner", VOLUME);
    let told = world.refused("-v disk:/d", 125);
    assert!(told.contains("Volume disk ") && told.contains("one container or pod"), "{told}");
    world.exec("owner", "echo kept > /data/file; sync").exits(0);
    world.say("kill owner").exits(0);
    assert_eq!(world.say("wait owner").text(), "137");
    assert_eq!(world.sh("-v disk:/d", "cat /d/file").text(), "kept");
    world.say("start owner").exits(0);
    assert_eq!(world.exec("owner", "cat /data/file").text(), "kept");
}

/// What a machine wrote is a hostile file system to the host's kernel.
#[test]
fn the_host_does_not_mount_what_a_machine_has_written() {
    let world = World::new();
    world.sh(VOLUME, "echo x > /data/x").exits(0);
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--isolation",
        "namespace",
        "-v",
        "disk:/d",
        hull_tests::BUSYBOX,
        "cat",
        "/d/x",
    ];
    match isolation() {
        Isolation::Vm => {
            let told = world.hull(words).fails(125);
            assert!(told.contains("disk") && told.contains("machine"), "{told}");
        }
        Isolation::Namespace => assert_eq!(world.hull(words).text(), "x"),
    }
}

#[test]
fn what_a_block_volume_cannot_be_is_said() {
    let world = World::new();
    for (options, part) in [
        ("volume-opt=kind=block,volume-opt=size=0", "size"),
        ("volume-opt=kind=block,volume-opt=size=nonsense", "nonsense"),
        ("volume-opt=kind=block,volume-opt=size=1k", "size"),
        ("volume-opt=kind=block,volume-opt=size=900000T", "size"),
        ("volume-opt=kind=bogus", "bogus"),
        ("volume-opt=kind=block,volume-opt=size=64M,volume-opt=type=tmpfs", "type"),
    ] {
        let told = world.refused(&format!("--mount type=volume,src=bad,dst=/d,{options}"), 125);
        assert!(told.contains(part), "{options}: {told}");
    }
    assert_eq!(world.volumes(), [""; 0]);
}
