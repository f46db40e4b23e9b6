//! Leaving a container by the keys, and coming back.

use hull_engine::store::ContainerState;

use hull_tests::{BUSYBOX, Background, Hull, Terminal};

const SCRIPT: &str = "echo ready; while read line; do echo \"got <$line>\"; done";

fn shell(options: &[&str]) -> Background {
    Background::create([options, &["-it", BUSYBOX, "sh", "-c", SCRIPT]].concat())
}

#[test]
fn keys_leave_the_container_running_and_start_comes_back() {
    let container = shell(&[]);
    let mut terminal = container.terminal(["start", "-ai"]);
    terminal.expect("ready");
    terminal.send("one\n");
    terminal.expect("got <one>");
    terminal.send("\x10\x11");
    assert_eq!(terminal.finish(), 0);
    assert!(terminal.echoes(), "the terminal is as before");
    assert_eq!(container.row().unwrap().state, ContainerState::Running);

    let mut terminal = container.terminal(["start", "-ai"]);
    terminal.send("two\n");
    terminal.expect("got <two>");
    // Its end is the container's.
    terminal.send("\x04");
    assert_eq!(terminal.finish(), 0);
    container.expect_exit(0);
}

#[test]
fn run_is_left_by_the_keys_too() {
    let name = hull_tests::unique("left");
    let mut terminal =
        Terminal::start(Hull::keep(["-it", "--name", &name, BUSYBOX, "sh", "-c", SCRIPT]), 80, 24);
    terminal.expect("ready");
    // The first of the two alone is typed on.
    terminal.send("\x10x\n");
    terminal.expect("x>");
    terminal.send("\x10\x11");
    assert_eq!(terminal.finish(), 0);
    assert!(hull_tests::hull(["ps"]).text().contains(&name));
    hull_tests::hull(["rm", "-f", &name]).exits(0);
}

#[test]
fn keys_are_those_asked_for() {
    let container = shell(&[]);
    let mut terminal = container.terminal(["start", "-ai", "--detach-keys", "ctrl-a,d"]);
    terminal.expect("ready");
    terminal.send("\x01d");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(container.row().unwrap().state, ContainerState::Running);
    for bad in ["ctrl-", "ctrl-1", "ab"] {
        container.hull(["start", "-ai", "--detach-keys", bad]).fails(1);
    }
}
