//! A container that wants out of what it was given, and a host that changes it meanwhile.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hull_tests::world::program;
use hull_tests::{Isolation, World, isolation, pod};

/// Nowhere inside of a shared folder.
const CANARY: &str = "CANARY of the host\n";

#[test]
fn no_path_leads_out_of_a_shared_folder() {
    let world = World::new();
    let folder = world.dir("data");
    world.file("data/inside", "inside\n");
    let secret = world.file("secret", CANARY);
    // Made by the host, too.
    symlink(&secret, world.path("data/host-absolute")).unwrap();
    symlink("../secret", world.path("data/host-relative")).unwrap();
    symlink("..", world.path("data/host-parent")).unwrap();
    let script = format!(
        "cd /data; ln -s {secret} absolute; ln -s ../secret relative; ln -s {} parent; ln -s /proc/1/root root; \
         for p in absolute relative parent/secret host-absolute host-relative host-parent/secret root{secret} ../secret \
         ../../secret ./../data/../secret {secret} /proc/self/root/../secret; do cat $p 2>/dev/null && echo \"by $p\"; done; \
         ln ../secret hard 2>/dev/null && echo linked; ln {secret} hard 2>/dev/null && echo linked; \
         mv inside ../moved; cat ../moved; ls -A .. | grep -c secret || true",
        world.folder.display()
    );
    assert_eq!(world.sh(&format!("-v {folder}:/data"), &script).text(), "inside\n0");
    assert_eq!(world.read("secret"), CANARY);
    assert!(!fs::exists(world.path("moved")).unwrap());
}

/// Device files are refused or lead nowhere, and files by number are not to be had.
#[test]
fn devices_and_files_by_number_are_out_of_reach() {
    let world = World::new();
    let folder = world.dir("data");
    world.file("data/file", "x\n");
    let disk = fs::metadata(&world.folder).unwrap().dev();
    let (major, minor) = (libc::major(disk), libc::minor(disk));
    let mknod = format!(
        "mknod /data/disk b {major} {minor} 2>/dev/null || :; mknod /data/mem c 1 1 2>/dev/null || :; \
                         for d in disk mem; do head -c 1 /data/$d >/dev/null 2>&1 && echo opened $d; done; true"
    );
    // On a host the default capabilities are what keeps a container in; a machine's root may have all.
    let all = if isolation() == Isolation::Vm { "--cap-add ALL" } else { "" };
    let options = format!("-v {folder}:/data -v named:/named {all} {}", program("hull-files"));
    let script = format!(
        "{mknod}; touch /named/x; hull-files handle /data/file || :; hull-files handle /named/x || :"
    );
    let text = world.sh(&options, &script).text();
    assert!(text.lines().all(|line| !all.is_empty() && line == "the file's own handle"), "{text}");
    if isolation() == Isolation::Vm {
        let made: Vec<_> = ["disk", "mem"]
            .iter()
            .filter_map(|name| fs::symlink_metadata(world.path(&format!("data/{name}"))).ok())
            .collect();
        assert!(
            made.iter().all(|file| !file.file_type().is_block_device() && !file.file_type().is_char_device()),
            "{made:?}"
        );
    }
    // One that the host made in the folder is not for the container either.
    let device = std::path::PathBuf::from(world.path("data/theirs"));
    let made = nix::sys::stat::mknod(
        &device,
        nix::sys::stat::SFlag::S_IFBLK,
        nix::sys::stat::Mode::from_bits_truncate(0o666),
        disk,
    );
    made.unwrap();
    let text = world.sh(&options, "head -c 1 /data/theirs 2>/dev/null | wc -c").text();
    assert_eq!(text, "0");
}

/// A host process swaps a folder and a link to elsewhere all the time; what is elsewhere is never seen.
#[test]
fn swapped_links_never_show_what_is_outside() {
    let world = World::new();
    let folder = world.dir("data");
    world.dir("data/swap/deep");
    world.file("data/swap/name", "inside\n");
    world.file("data/swap/deep/name", "inside\n");
    world.dir("outside/deep");
    world.file("outside/name", CANARY);
    world.file("outside/deep/name", CANARY);
    symlink("../outside", world.path("data/other")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, [one, two]) = (Arc::clone(&stop), [world.path("data/swap"), world.path("data/other")]);
    let swapper = std::thread::spawn(move || {
        let mut swaps = 0u32;
        while !stopped.load(Ordering::Relaxed) {
            let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
            nix::fcntl::renameat2(
                nix::fcntl::AT_FDCWD,
                one.as_str(),
                nix::fcntl::AT_FDCWD,
                two.as_str(),
                flags,
            )
            .unwrap();
            swaps += 1;
            if hull_tests::paths::emulated() {
                // There is one processor for all of it.
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
        swaps
    });
    let rounds = if hull_tests::paths::emulated() { 15 } else { 1500 };
    let script = format!(
        "set +e; cd /data; i=0; while [ $i -lt {rounds} ]; do i=$((i + 1)); for d in swap other; do cat $d/name $d/deep/name; ls $d/deep/..; \
         echo x > $d/new; rm -f $d/new; mkdir $d/made; rmdir $d/made; (cd $d && cat name && cat ../outside/name); done; done 2>/dev/null; \
         find -L /data -name name | xargs cat 2>/dev/null; true"
    );
    let output = world.sh(&format!("-v {folder}:/data"), &script).exits(0);
    stop.store(true, Ordering::Relaxed);
    assert!(swapper.join().unwrap() > 100);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.matches("inside").count() > 10, "{text}");
    assert!(!text.contains("CANARY"), "{text}");
    let mut outside: Vec<_> =
        fs::read_dir(world.path("outside")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    outside.sort();
    assert_eq!(outside, ["deep", "name"]);
}

/// What blocks one process, or is deeper than a path can be long, stops nobody else.
#[test]
fn fifos_and_deep_trees_hold_nobody_up() {
    let world = World::new();
    let folder = world.dir("data");
    nix::unistd::mkfifo(
        world.path("data/host-pipe").as_str(),
        nix::sys::stat::Mode::from_bits_truncate(0o666),
    )
    .unwrap();
    hull_tests::files::names::deep_tree(folder.as_ref()).unwrap();
    let script = "mkfifo /data/pipe; cat /data/pipe & cat /data/host-pipe & cat < /data/host-pipe & \
                  echo still here > /data/file; cat /data/file; find /data -type d | wc -l; \
                  rm -r /data/d*; echo through > /data/pipe; wait %1; ls /data";
    let text = world.script(&format!("-v {folder}:/data"), hull_tests::DEBIAN, script).output().text();
    assert_eq!(text, "still here\n61\nthrough\nfile\nhost-pipe\npipe");
}

/// The process that a machine's files come from.
#[test]
fn the_file_server_has_the_shared_folders_and_nothing_else() {
    if isolation() == Isolation::Namespace {
        return;
    }
    let world = World::new();
    let folder = world.dir("data");
    let file = world.file("file", "");
    world.sleeping("one", &format!("-v {folder}:/data -v {file}:/file:ro -v named:/named"));
    let supervisors = pod::supervisors_of(&world.store.root);
    let [supervisor] = supervisors[..] else { panic!("{supervisors:?}") };
    let is_server = |pid: &nix::unistd::Pid| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.to_string_lossy().contains("hull-fs"))
    };
    let stagers: Vec<_> = pod::children(supervisor).into_iter().filter(is_server).collect();
    let [stager] = stagers[..] else { panic!("{stagers:?}") };
    let servers = pod::children(stager);
    let [server] = servers[..] else { panic!("{servers:?}") };
    for pid in [stager, server] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
            line.trim().to_owned()
        };
        assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"), "{pid}");
        // Who mounts for the server is outside of its processes.
        let kinds = ["user", "mnt", "net", "ipc", "pid"];
        for kind in kinds.into_iter().filter(|kind| pid == server || *kind != "pid") {
            let theirs = fs::read_link(format!("/proc/{pid}/ns/{kind}"));
            assert_ne!(
                theirs.unwrap(),
                fs::read_link(format!("/proc/self/ns/{kind}")).unwrap(),
                "{kind} of {pid}"
            );
        }
        let devices = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        assert!(devices.lines().skip(2).all(|line| line.trim_start().starts_with("lo:")), "{devices}");
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        for line in mounts.lines() {
            let options = line.split(' ').nth(5).unwrap();
            assert!(options.contains("nosuid") && options.contains("nodev"), "{line}");
        }
        assert!(mounts.lines().count() <= 4, "a root and three shares: {mounts}");
    }
    // capabilities(7): CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, SETGID 6, SETUID 7, SETFCAP 31.
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    for name in ["CapPrm", "CapEff", "CapBnd"] {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
        let held = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(held & !0x8000_00db, 0, "{name}: {held:x}");
    }
    // Its descriptors of files are all below the shares.
    for entry in fs::read_dir(format!("/proc/{server}/fd")).unwrap().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let text = target.to_string_lossy().into_owned();
        assert!(
            !text.contains("hull.db") && !text.starts_with("/dev/kvm") && !text.starts_with("/etc"),
            "{text}"
        );
    }
}

/// A machine's agent writes to what its containers may only read, once, to fill it. Whoever has the guest's kernel may
/// open a file of it just then; a pod's machine has other containers, and would go on.
#[test]
fn a_guest_that_holds_on_to_what_it_may_only_read_is_ended() {
    if isolation() == Isolation::Namespace {
        return;
    }
    let world = World::new();
    world.say("pod create --name pair --network none --isolation vm").exits(0);
    let hold = "mkdir /anew; mount -t virtiofs hull /anew; touch /ready; \
                while :; do for d in /anew/s*; do (exec 3>> $d/held && sleep 1000) 2>/dev/null; done; done";
    let words = ["run", "-d", "--pod", "pair", "--name", "first", "--cap-add", "ALL", hull_tests::BUSYBOX];
    world.hull(words.into_iter().chain(["sh", "-c", hold])).exits(0);
    world.exec("first", "while ! test -e /ready; do sleep 0.1; done; grep virtiofs /proc/mounts").exits(0);
    let words = ["run", "--rm", "--pod", "pair", "-v", "filled:/bin:ro", hull_tests::BUSYBOX, "ls", "/bin"];
    let output = world.hull(words);
    // Else it came too late, and cannot write either.
    if output.code != 0 {
        let told = world.say("inspect --format {{.State.Status}}:{{.State.Error}} first").text();
        assert!(told.starts_with("exited:Failed to make the volume at /bin read-only"), "{told}");
        assert!(told.ends_with("The guest has a file of s0 open for writing"), "{told}");
    }
}
