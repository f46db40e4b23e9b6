//! What differs between the modes: a virtual machine's mounts are its own, and so are its sockets and devices.

use std::io::Write;
use std::os::unix::net::UnixListener;

use hull_tests::world::{HostMount, program};
use hull_tests::{Isolation, World, isolation};

#[test]
fn mounts_of_the_host_show_as_asked() {
    let world = World::new();
    world.dir("data");
    let _outer = HostMount::tmpfs(world.path("data"));
    let folder = world.path("data");
    for word in ["rslave", "rshared", "slave", "shared"] {
        if isolation() == Isolation::Vm {
            let told = world.refused(&format!("-v {folder}:/d:{word}"), 125);
            assert!(told.contains(word) && told.contains("--isolation namespace"), "{told}");
        }
    }
    world.sleeping("private", &format!("-v {folder}:/d -v {folder}:/p:rprivate"));
    if isolation() == Isolation::Namespace {
        world.sleeping("slave", &format!("-v {folder}:/d:rslave --cap-add SYS_ADMIN"));
        world.sleeping("shared", &format!("-v {folder}:/d:rshared --cap-add SYS_ADMIN"));
    }
    let _inner = HostMount::tmpfs(world.path("data/later"));
    world.file("data/later/file", "mounted later\n");
    world.exec("private", "test -d /d/later; test ! -e /d/later/file; test ! -e /p/later/file").exits(0);
    if isolation() == Isolation::Namespace {
        assert_eq!(world.exec("slave", "cat /d/later/file").text(), "mounted later");
        // The other way only with shared.
        for (name, seen) in [("slave", false), ("shared", true)] {
            world
                .exec(name, &format!("mkdir /d/{name}; mount -t tmpfs x /d/{name}; echo x > /d/{name}/file"))
                .exits(0);
            assert_eq!(std::fs::exists(world.path(&format!("data/{name}/file"))).unwrap(), seen, "{name}");
        }
        let _ = nix::mount::umount2(world.path("data/shared").as_str(), nix::mount::MntFlags::MNT_DETACH);
    }
    world.say("rm -f private slave shared");
}

/// What is mounted below the source comes along, unless asked not to.
#[test]
fn mounts_below_a_source_come_along() {
    let world = World::new();
    let folder = world.dir("data");
    world.dir("data/below");
    let _below = HostMount::tmpfs(world.path("data/below"));
    world.file("data/below/file", "below\n");
    let options = format!(
        "-v {folder}:/r --mount type=bind,src={folder},dst=/n,bind-recursive=disabled \
         --mount type=bind,src={folder},dst=/ro,readonly,bind-recursive=readonly,bind-propagation=rprivate"
    );
    let script = "cat /r/below/file; ls -A /n/below; cat /ro/below/file; echo x 2>/dev/null > /ro/below/new || echo refused; \
                  echo x > /r/below/new; echo x > /n/below/hidden";
    assert_eq!(world.sh(&options, script).text(), "below\nbelow\nrefused");
    assert_eq!(world.read("data/below/new"), "x\n");
    assert!(!std::fs::exists(world.path("data/below/hidden")).unwrap());
}

#[test]
fn a_socket_is_bound_on_a_host_only() {
    let world = World::new();
    let path = world.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let options = format!("-v {path}:/run/s {}", program("hull-files"));
    if isolation() == Isolation::Vm {
        let told = world.refused(&options, 125);
        assert!(told.contains("socket") && told.contains("--isolation namespace"), "{told}");
        let told = world.refused("-v /dev/null:/run/null", 125);
        assert!(told.contains("device") && told.contains("--isolation namespace"), "{told}");
        return;
    }
    let server =
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello from the host").unwrap());
    assert_eq!(world.sh(&options, "hull-files connect /run/s").text(), "hello from the host");
    server.join().unwrap();
}
