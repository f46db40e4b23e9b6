//! `-t`: a pseudo terminal in the container, driven by hull's own.

use hull_tests::{BUSYBOX, Hull, Terminal};

fn start(args: &[&str]) -> Terminal {
    Terminal::start(Hull::run(["-it"]).args(args), 97, 31)
}

#[test]
fn container_has_the_size_of_the_terminal_before_its_first_byte() {
    let mut terminal = start(&[BUSYBOX, "stty", "size"]);
    terminal.expect("31 97\r\n");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn resized_terminal_tells_the_container() {
    // A signal that comes just before the shell waits is seen when it no longer does.
    let script = "trap 'stty size' WINCH; echo ready; while true; do read -t 1 x; done";
    let mut terminal = start(&[BUSYBOX, "sh", "-c", script]);
    terminal.expect("ready");
    terminal.resize(120, 44);
    terminal.expect("44 120");
    terminal.resize(60, 20);
    terminal.expect("20 60");
}

#[test]
fn control_c_interrupts_the_command_and_not_hull() {
    let script = "trap 'echo; echo interrupted; exit 5' INT; echo ready; while true; do sleep 1; done";
    let mut terminal = start(&[BUSYBOX, "sh", "-c", script]);
    terminal.expect("ready");
    terminal.send("\x03");
    terminal.expect("interrupted");
    assert_eq!(terminal.finish(), 5);
}

#[test]
fn control_c_reaches_the_foreground_of_an_interactive_shell() {
    let mut terminal = start(&["-e", "PS1=prompt> ", BUSYBOX, "sh"]);
    terminal.expect("prompt> ");
    terminal.send("sleep 1000\n");
    terminal.expect("sleep 1000");
    // The shell has to have put its child into the foreground; it says so in no other way.
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.send("\x03");
    terminal.expect("prompt> ");
    terminal.send("echo code $?\n");
    terminal.expect("code 130");
    terminal.send("exit 9\n");
    assert_eq!(terminal.finish(), 9);
}

#[test]
fn control_d_ends_the_shell() {
    let mut terminal = start(&["-e", "PS1=prompt> ", BUSYBOX, "sh"]);
    terminal.expect("prompt> ");
    terminal.send("false\n");
    terminal.expect("prompt> ");
    terminal.send("\x04");
    assert_eq!(terminal.finish(), 1);
}

#[test]
fn terminal_is_raw_meanwhile_and_as_before_afterwards() {
    let mut terminal = start(&[BUSYBOX, "sh", "-c", "stty -echo; echo ready; read x; echo \"<$x>\""]);
    assert_eq!(terminal.finish_after("ready", "secret\n"), 0);
    let shown = terminal.shows();
    assert!(shown.contains("<secret>"), "{shown}");
    assert_eq!(shown.matches("secret").count(), 1, "the outer terminal must not echo: {shown}");
    assert!(terminal.echoes());
}

#[test]
fn terminal_is_as_before_when_the_command_does_not_exist() {
    let mut terminal = start(&[BUSYBOX, "nosuch"]);
    assert_eq!(terminal.finish(), 127);
    assert!(terminal.echoes());
}

#[test]
fn all_three_streams_are_the_terminal() {
    let mut terminal =
        start(&[BUSYBOX, "sh", "-c", "for n in 0 1 2; do readlink /proc/self/fd/$n; done; tty"]);
    assert_eq!(terminal.finish(), 0);
    assert_eq!(terminal.shows().matches("/dev/pts/0").count(), 4);
}

#[test]
fn terminal_controls_the_command() {
    // /dev/tty opens only for a process with a controlling terminal.
    let mut terminal = start(&[BUSYBOX, "sh", "-c", "echo through > /dev/tty"]);
    terminal.expect("through");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn much_output_arrives_whole_on_a_terminal() {
    let mut terminal = start(&[BUSYBOX, "sh", "-c", "seq 1 10000; echo the end"]);
    terminal.expect("10000");
    terminal.expect("the end");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn terminal_in_the_container_needs_none_outside_unless_stdin_is_wanted() {
    let output = hull_tests::run(["-t", BUSYBOX, "sh", "-c", "tty; echo err >&2"]).exits(0);
    assert_eq!(output.stdout, b"/dev/pts/0\r\nerr\r\n");
    let line = hull_tests::run(["-it", BUSYBOX, "true"]).fails(1);
    assert!(line.contains("not a TTY") || line.contains("not a terminal"), "{line}");
}
