//! An empty volume gets what the image has at its place, once.

use std::process::Command;

use hull_tests::archive::Archive;
use hull_tests::{Isolation, World, isolation};

/// A folder with everything that a folder can have.
const MAKE: &str = "
mkdir -p srv/full/below && cd srv/full
echo one > file && chown 11:22 file && chmod 4750 file
echo two > below/deep && ln file below/hard && ln -s ../file below/soft && ln -s /etc/passwd absolute
mkfifo pipe && chmod 622 pipe
mkdir empty && chown 5:6 empty && chmod 1777 empty
setfattr -n user.mark -v value file 2>/dev/null || python3 -c 'import os; os.setxattr(\"file\", \"user.mark\", b\"value\")'
truncate -s 5M sparse
touch -d '2001-02-03 04:05:06.789 UTC' file below/deep
chown 33:44 . && chmod 2770 .
";

const LIST: &str = "cd /v; stat -c '%n %F %u:%g %a %h' . file below below/deep below/hard below/soft absolute pipe empty; \
                    cat below/hard; readlink below/soft; readlink absolute; stat -c %s sparse; du -k sparse | cut -f1; stat -c %Y file; ls -A | wc -l";

fn load(world: &World) {
    let tree = world.dir("tree");
    let script = format!("set -e; {MAKE}");
    assert!(Command::new("sh").args(["-ec", &script]).current_dir(&tree).status().unwrap().success());
    let options =
        ["--xattrs", "--xattrs-include=*", "--format=pax", "--numeric-owner", "-C", &tree, "-c", "."];
    let tar = Command::new("tar").args(options).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    world.store.load_archive(&Archive::on_busybox("full:1").layer(tar.stdout)).exits(0);
}

#[test]
fn the_first_use_copies_what_the_image_has() {
    let world = World::with_own_images();
    load(&world);
    let script = LIST.replace("/v;", "/srv/full;");
    let in_image = world.script("", "full:1", &script).output().text();
    assert!(
        in_image.contains(". directory 33:44 2770") && in_image.contains("file regular file 11:22 4750 2"),
        "{in_image}"
    );
    let in_volume = world.script("-v filled:/srv/full", "full:1", &script).output().text();
    assert_eq!(in_volume, in_image);
    let at = world.say("volume inspect --format {{.Mountpoint}} filled").text();
    let read = "import os, sys; print(os.getxattr(sys.argv[1], 'user.mark').decode())";
    let shown = Command::new("python3").args(["-c", read, &format!("{at}/file")]).output();
    if let Ok(output) = shown {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "value\n", "{output:?}");
    }
    // Another image's use of it changes nothing, wherever it is mounted.
    assert_eq!(world.sh("-v filled:/v", LIST).text(), in_image);
    // Who empties it gets it anew, as with docker; who leaves something does not.
    world.sh("-v filled:/v", "cd /v; rm -r ./*; echo left > left").exits(0);
    let script = "cd /srv/full; ls -A";
    assert_eq!(world.script("-v filled:/srv/full", "full:1", script).output().text(), "left");
    world.sh("-v filled:/v", "rm /v/left").exits(0);
    assert_eq!(world.script("-v filled:/srv/full", "full:1", "ls -A /srv/full | wc -l").output().text(), "6");
}

#[test]
fn nothing_is_copied_where_it_is_not_wanted() {
    let world = World::with_own_images();
    load(&world);
    let bound = world.dir("bound");
    let options = format!(
        "-v none:/srv/full:nocopy -v {bound}:/srv/full/below --mount type=volume,src=other,dst=/etc,volume-nocopy"
    );
    let script = "ls -A /srv/full /srv/full/below; stat -c '%u:%g %a' /srv/full; ls -A /etc";
    let text = world.script(&options, "full:1", script).output().text();
    // What is laid over /etc are the three files that every container has.
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines[..3], ["/srv/full:", "below", "/srv/full/below:"], "{text}");
    assert!(!text.contains("passwd"), "{text}");
    // A target that the image has not is an empty folder.
    assert_eq!(
        world
            .script("-v fresh:/not/there", "full:1", "ls -A /not/there; stat -c %a /not/there")
            .output()
            .text(),
        "755"
    );
}

/// As with docker: who may only read a volume finds it filled all the same.
#[test]
fn a_volume_that_is_only_to_be_read_is_filled_and_then_read() {
    let world = World::with_own_images();
    load(&world);
    let script = LIST.replace("/v;", "/srv/full;");
    let in_image = world.script("", "full:1", &script).output().text();
    assert_eq!(world.script("-v fixed:/srv/full:ro", "full:1", &script).output().text(), in_image);
    // Another mount of it may be written to, and is before it, where the image has nothing. Each start is the same.
    let both = "-v both:/srv/full:ro -v both:/v";
    let script = "cat /srv/full/file; echo new >> /v/new; cat /srv/full/new; touch /srv/full/x 2>/dev/null || echo refused";
    world.start("again", both, ["full:1", "sh", "-c", script]);
    world.say("wait again").exits(0);
    world.say("restart again").exits(0);
    world.say("wait again").exits(0);
    let text = world.say("logs again").text();
    assert_eq!(text, "one\nnew\nrefused\none\nnew\nnew\nrefused");
}

/// A machine's agent fills it through the share that the container reads from.
#[test]
fn who_has_filled_a_volume_to_read_it_cannot_write_to_it() {
    let world = World::with_own_images();
    load(&world);
    // On a host a container that may mount may do that, too, as with docker; in a machine it is the host that refuses.
    let all = if isolation() == Isolation::Vm { "--cap-add ALL" } else { "" };
    let script = "mkdir /anew; mount -t virtiofs hull /anew 2>/dev/null || :; for d in /srv/full /anew /anew/s*; do cd $d 2>/dev/null || continue; \
                  mount -o remount,rw . 2>/dev/null || :; for c in 'touch new' 'rm file' 'chmod 700 file' 'chown 1 file' 'mkdir d' \
                  'ln file hard' 'mv file x' 'truncate -s 0 file' 'touch -c file' 'rm below/deep'; do \
                  test ! -e file || ! $c 2>/dev/null || echo \"$c in $d\"; done; done; cat /srv/full/file; ls -A /srv/full | wc -l";
    let told = world.script(&format!("-v fixed:/srv/full:ro {all}"), "full:1", script).output().text();
    assert_eq!(told, "one\n6");
    assert_eq!(world.sh("-v fixed:/v", "cat /v/file; ls -A /v | wc -l; touch /v/new").text(), "one\n6");
}

#[test]
fn in_a_pod_a_volume_that_is_only_to_be_read_is_filled_for_the_next_container() {
    let world = World::with_own_images();
    load(&world);
    let mode = isolation().word();
    world.say(&format!("pod create --name pair --network none --isolation {mode}")).exits(0);
    world.say("run -d --pod pair --name first busybox sleep 1000").exits(0);
    let read = "cat /srv/full/file; touch /srv/full/x 2>/dev/null || echo refused";
    for _ in 0..2 {
        let words =
            ["run", "--rm", "--pod", "pair", "-v", "podded:/srv/full:ro", "full:1", "sh", "-ec", read];
        assert_eq!(world.hull(words).text(), "one\nrefused");
    }
    assert_eq!(world.exec("first", "echo still here").text(), "still here");
}
