//! What there is only of hull's, or only where a container has run.

use hull_tests::{BUSYBOX, World};

#[test]
fn what_happens_to_volumes_is_told_as_events() {
    let world = World::new();
    world.say("volume create told").exits(0);
    world.sh("-v told:/x", "true").exits(0);
    world.say("volume rm told").exits(0);
    let events = world.say(
        "events --since 10m --until 0s --filter type=volume --format {{.Type}}~{{.Action}}~{{.Actor.ID}}",
    );
    let text = events.text();
    let actions: Vec<&str> = text.lines().filter_map(|line| line.split('~').nth(1)).collect();
    assert_eq!(actions, ["create", "mount", "unmount", "destroy"], "{text}");
    assert!(text.lines().all(|line| line.ends_with("~told")), "{text}");
}

#[test]
fn volumes_have_their_place_in_system_df_and_prune() {
    let world = World::new();
    world.sh("-v big:/x", "head -c 3000000 /dev/zero > /x/file").exits(0);
    world.start("user", "-v used:/x", [BUSYBOX, "true"]);
    world.say("wait user").exits(0);
    let text = world.say("system df").text();
    let line =
        text.lines().find(|line| line.starts_with("Local Volumes")).unwrap_or_else(|| panic!("{text}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[2..4], ["2", "1"], "{text}");
    assert!(words[4].starts_with('3') && words[4].ends_with("MB"), "{text}");
    let text = world.say("system df -v").text();
    assert!(text.contains("VOLUME NAME") && text.contains("big"), "{text}");
    world.say("system prune -f").exits(0);
    assert_eq!(world.volumes(), ["big", "used"]);
    world.say("system check").exits(0);
}
