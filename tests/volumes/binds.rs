//! Folders and files of the host in containers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use hull_tests::{DEBIAN, Isolation, World, isolation};

/// What both sides do to one folder, owners and modes and all.
#[test]
fn a_folder_is_one_and_the_same_on_both_sides() {
    let world = World::new();
    let folder = world.dir("data");
    world.file("data/from-host", "host\n");
    world.dir("data/below");
    symlink("from-host", world.path("data/link")).unwrap();
    world.sleeping("one", &format!("-v {folder}:/data -v {folder}/below:/other:rw,z"));
    let script = "cat /data/link; cd /data; echo guest > from-guest; chown 12:34 from-guest; chmod 4751 from-guest; \
                  ln from-guest hard; ln -s from-guest soft; mkfifo pipe; mv from-host below/moved; cat /other/moved; \
                  stat -c '%u:%g %a %h' hard";
    assert_eq!(world.exec("one", script).text(), "host\nhost\n12:34 4751 2");
    let file = fs::metadata(world.path("data/from-guest")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.nlink()), (12, 34, 2));
    assert_eq!(file.mode() & 0o7777, 0o4751);
    assert_eq!(fs::read_link(world.path("data/soft")).unwrap().to_str(), Some("from-guest"));
    assert_eq!(world.read("data/below/moved"), "host\n");
    // And what the host changes now is seen, in content, names, owners and modes.
    world.file("data/from-guest", "changed by the host\n");
    world.file("data/new", "new\n");
    fs::remove_file(world.path("data/soft")).unwrap();
    std::os::unix::fs::chown(world.path("data/new"), Some(5), Some(6)).unwrap();
    fs::set_permissions(world.path("data/new"), fs::Permissions::from_mode(0o604)).unwrap();
    let script = "cd /data; cat from-guest new; stat -c '%u:%g %a' new; test ! -L soft";
    let shown = || world.exec("one", script).stdout;
    let wanted = b"changed by the host\nnew\n5:6 604\n";
    // A guest may keep names and attributes for a second or so.
    hull_tests::eventually("the host's changes are seen", || (shown() == wanted).then_some(()));
}

/// Of a file only that file is shared.
#[test]
fn a_files_neighbours_are_out_of_reach() {
    let world = World::new();
    let file = world.file("public", "public\n");
    world.file("secret", "CANARY\n");
    let other = world.file("other", "other\n");
    world.sleeping("one", &format!("-v {file}:/etc/public -v {other}:/made/here/other:ro"));
    let script = "cat /etc/public /made/here/other; ls -A /made/here; echo written >> /etc/public; \
                  if echo x 2>/dev/null > /made/here/other; then echo not read-only; fi; \
                  cat /etc/../secret /etc/secret /proc/self/cwd/secret 2>/dev/null || echo nothing; \
                  mv /etc/public /etc/else 2>/dev/null || rm /etc/public 2>/dev/null || echo stays";
    assert_eq!(world.exec("one", script).text(), "public\nother\nother\nnothing\nstays");
    assert_eq!(world.read("public"), "public\nwritten\n");
    let found =
        world.exec("one", "grep -rl CANARY / --exclude-dir=proc --exclude-dir=sys 2>/dev/null || echo none");
    assert_eq!(found.text(), "none");
    // As with docker: the file is shared, not its name.
    world.file("new", "renamed over it\n");
    fs::rename(world.path("new"), world.path("public")).unwrap();
    assert_eq!(world.exec("one", "cat /etc/public").text(), "public\nwritten");
}

#[test]
fn what_is_readonly_is_so_for_root_in_every_way() {
    let world = World::new();
    let folder = world.dir("data");
    world.file("data/file", "as it was\n");
    // On a host a container that may mount may do that, too, as with docker; in a machine it is the host that refuses.
    let more = if isolation() == Isolation::Vm { "--cap-add ALL" } else { "" };
    let options = format!(
        "-v {folder}:/a:ro --mount type=bind,source={folder},target=/b,readonly --mount type=bind,src={folder},dst=/c {more}"
    );
    let script = "for d in /a /b; do mount -o remount,rw $d 2>/dev/null || :; for c in 'touch new' 'rm file' 'chmod 700 file' 'chown 1 file' \
                  'ln file hard' 'mkdir d' 'mv file x' 'truncate -s 0 file' 'touch file' 'mount -o bind . .'; do \
                  (cd $d; $c && touch new) 2>/dev/null && echo \"$c in $d\"; done; cat $d/file; done; touch /c/written; ls /a";
    assert_eq!(world.sh(&options, script).text(), "as it was\nas it was\nfile\nwritten");
}

/// `-v` makes a source that is missing, `--mount` does not.
#[test]
fn missing_sources_are_made_or_refused() {
    let world = World::new();
    let made = world.path("not/there/yet");
    let text = world.sh(&format!("-v {made}:/data"), "stat -c '%u:%g %a' /data; echo x > /data/file").text();
    assert_eq!(text, "0:0 755");
    assert_eq!(world.read("not/there/yet/file"), "x\n");
    let missing = world.path("missing");
    let told = world.refused(&format!("--mount type=bind,src={missing},dst=/data"), 125);
    assert!(told.contains(&format!("bind source path does not exist: {missing}")), "{told}");
    assert!(!fs::exists(missing).unwrap());
    // A folder is not mounted on a file, nor a file on a folder.
    let (folder, file) = (world.dir("folder"), world.file("file", ""));
    for options in [format!("-v {folder}:/etc/passwd"), format!("-v {file}:/etc")] {
        let told = world.refused(&options, 125);
        assert!(told.to_lowercase().contains("not a directory"), "{told}");
    }
    assert_eq!(world.say("ps -aq").text(), "");
}

/// Outer mounts come first, whatever the order of the options; links of the image are followed inside it.
#[test]
fn targets_may_be_nested_and_behind_links() {
    let world = World::new();
    let [outer, inner, deep] = ["outer", "inner", "deep"].map(|name| {
        let folder = world.dir(name);
        world.file(&format!("{name}/{name}"), "");
        folder
    });
    let file = world.file("file", "a file\n");
    let options = format!(
        "-v {deep}:/m/in/side/deep -v {file}:/m/in/file -v {inner}:/m/in -v {outer}:/m -v {inner}:/var/run/here \
         --tmpfs /m/memory -v {outer}:/bin/../twice"
    );
    let script = "ls -A /m /m/in /m/in/side/deep /run/here /twice | tr '\\n' ' '; cat /m/in/file; stat -f -c %T /m/memory";
    let text = world.script(&options, DEBIAN, script).output().text();
    let wanted = "/m: in memory outer  /m/in: file inner side  /m/in/side/deep: deep  /run/here: file inner side  \
                  /twice: in memory outer a file\ntmpfs";
    assert_eq!(text, wanted);
    // The places of mounts are made in what is mounted there, as with docker.
    assert!(fs::metadata(world.path("outer/in")).unwrap().is_dir());
    assert!(fs::metadata(world.path("inner/file")).unwrap().is_file());
    assert!(fs::metadata(world.path("inner/side/deep")).unwrap().is_dir());
}

#[test]
fn the_hosts_root_is_seen_and_not_changed() {
    let world = World::new();
    let file = world.file("file", "on the host\n");
    world.dir("mounted");
    let below = hull_tests::world::HostMount::tmpfs(world.path("mounted"));
    world.file("mounted/inside", "on a mount\n");
    let script = format!(
        "cd /host; cat .{file}; cat .{}; test -e etc/passwd; for p in new .{file} etc/new tmp/new; do \
         echo x 2>/dev/null > $p && echo wrote $p; done; true",
        world.path("mounted/inside")
    );
    let text = world.sh("-v /:/host:ro --cap-add SYS_ADMIN", &script).text();
    drop(below);
    assert_eq!(text.lines().collect::<Vec<_>>()[..2], ["on the host", "on a mount"]);
    assert_eq!(world.read("file"), "on the host\n");
    assert!(!text.contains("wrote"), "{text}");
}

/// A source is a link: what it leads to is mounted, as found at the start.
#[test]
fn a_source_may_be_behind_links() {
    let world = World::new();
    world.dir("real/folder");
    world.file("real/folder/file", "found\n");
    symlink("real", world.path("link")).unwrap();
    symlink("link/folder/file", world.path("to-file")).unwrap();
    let options = format!("-v {}:/d -v {}:/f", world.path("link/folder"), world.path("to-file"));
    assert_eq!(world.sh(&options, "cat /d/file /f").text(), "found\nfound");
}

#[test]
fn a_readonly_container_writes_where_it_was_given_a_place() {
    let world = World::new();
    let folder = world.dir("data");
    let options = format!("--read-only -v {folder}:/new/data -v named:/srv/named -u 1000:1000");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let script = "echo x > /new/data/file; stat -c '%u:%g' /new/data/file; touch /new/x 2>/dev/null || echo refused; \
                  touch /srv/named/x 2>/dev/null || echo not its own";
    assert_eq!(world.sh(&options, script).text(), "1000:1000\nrefused\nnot its own");
    assert_eq!(fs::metadata(world.path("data/file")).unwrap().uid(), 1000);
}

/// A container starts again with what is at the source's path by then, and ends without it where that is missing.
#[test]
fn each_start_looks_at_the_sources_anew() {
    let world = World::new();
    world.dir("data");
    world.file("data/file", "first\n");
    let options = format!("--mount type=bind,src={},dst=/data", world.path("data"));
    world.start("again", &options, [hull_tests::BUSYBOX, "cat", "/data/file"]);
    world.say("wait again").exits(0);
    fs::rename(world.path("data"), world.path("old")).unwrap();
    let told = world.say("start again").fails(1);
    assert!(told.contains(&world.path("data")), "{told}");
    world.dir("data");
    world.file("data/file", "second\n");
    world.say("start again").exits(0);
    world.say("wait again").exits(0);
    assert_eq!(world.say("logs again").text(), "first\nsecond");
}
