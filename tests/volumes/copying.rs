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
    // A read-only volume is filled all the same, but for a machine, which could then write to it.
    let text = world.script(
        "-v fixed:/srv/full:ro",
        "full:1",
        "cat /srv/full/file 2>/dev/null || echo nothing; touch /srv/full/x 2>/dev/null || echo refused",
    );
    let filled = if isolation() == Isolation::Vm { "nothing" } else { "one" };
    assert_eq!(text.output().text(), format!("{filled}\nrefused"));
}
