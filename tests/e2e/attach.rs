//! `hull attach`, and what clients that come and go may expect.

use hull_tests::{Container, Hull, Running, Terminal, hull};
use nix::sys::signal::Signal;

fn attach(container: &Container) -> Hull {
    Hull::new(["attach", &container.name])
}

#[test]
fn attached_client_gets_what_comes_and_the_exit_code() {
    let container = Container::start(["-i"], ["sh", "-c", "read x; echo got $x; echo err >&2; exit 7"]);
    let mut running = attach(&container).spawn();
    std::io::Write::write_all(running.stdin.as_mut().unwrap(), b"this\n").unwrap();
    let output = running.finish().exits(7);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (&b"got this\n"[..], "err\n"));
}

#[test]
fn several_clients_get_the_same() {
    let container = Container::start(["-i"], ["sh", "-c", "read x; echo got $x"]);
    let listeners: Vec<_> = (0..3).map(|_| listener(&container)).collect();
    let mut talker = attach(&container).spawn();
    wait_for_listeners();
    std::io::Write::write_all(talker.stdin.as_mut().unwrap(), b"this\n").unwrap();
    for running in listeners.into_iter().chain([talker]) {
        assert_eq!(running.finish().text(), "got this");
    }
}

fn listener(container: &Container) -> Running {
    Hull::new(["attach", "--no-stdin", &container.name]).spawn()
}

/// Nothing tells that a client has joined; so each has to have had its time.
fn wait_for_listeners() {
    std::thread::sleep(hull_tests::paths::patience() / 20);
}

#[test]
fn signals_are_passed_on_unless_that_is_switched_off() {
    let script = "trap 'echo told; exit 3' TERM; echo ready; while true; do sleep 0.1; done";
    let container = Container::start([], ["sh", "-c", script]);
    let deaf = Hull::new(["attach", "--sig-proxy=false", &container.name]).spawn();
    let running = attach(&container).spawn();
    wait_for_listeners();
    deaf.signal(Signal::SIGTERM);
    deaf.finish().exits(143);
    running.signal(Signal::SIGTERM);
    assert!(running.finish().exits(3).stdout.ends_with(b"told\n"));
}

#[test]
fn terminal_can_be_left_and_joined_again_and_again() {
    let container = Container::start(["-it", "-e", "PS1=prompt> "], ["sh"]);
    for round in ["one", "two", "three"] {
        let mut terminal = Terminal::start(attach(&container), 90, 30);
        // The new size makes the shell draw its prompt again; an enter makes sure of it.
        terminal.send("\n");
        terminal.expect("prompt> ");
        terminal.send(&format!("echo round-{round}; stty size\n"));
        terminal.expect(&format!("round-{round}\r\n"));
        terminal.expect("30 90");
        terminal.send("\x10\x11");
        assert_eq!(terminal.finish(), 0);
        assert!(terminal.echoes());
        assert!(hull(["ps"]).text().contains(&container.name));
    }
    let mut terminal = Terminal::start(attach(&container), 90, 30);
    terminal.send("exit 5\n");
    assert_eq!(terminal.finish(), 5);
}

#[test]
fn run_on_a_terminal_can_be_left_and_joined() {
    let name = hull_tests::unique("left");
    let words = ["-it", "--name", &name, "--detach-keys", "ctrl-a,x", hull_tests::BUSYBOX, "cat"];
    let mut terminal = Terminal::start(Hull::keep(words), 80, 24);
    terminal.send("before\r");
    terminal.expect("before\r\nbefore\r\n");
    terminal.send("\x01x");
    assert_eq!(terminal.finish(), 0);
    let container = Container { name };
    let mut terminal = Terminal::start(attach(&container), 80, 24);
    terminal.send("after\r");
    terminal.expect("after\r\nafter\r\n");
    terminal.send("\x10\x11");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn later_client_that_does_not_read_is_dropped_and_told() {
    let container = Container::start(["-i"], ["sh", "-c", "read x; head -c 8000000 /dev/zero; read x"]);
    // Output into a pipe that nobody reads, so that the client itself stops.
    let (unread, out) = std::io::pipe().unwrap();
    let mut client = attach(&container).into_command();
    client.stdin(std::process::Stdio::piped()).stdout(out).stderr(std::process::Stdio::piped());
    let mut client = client.spawn().unwrap();
    std::io::Write::write_all(client.stdin.as_mut().unwrap(), b"go\n").unwrap();
    let mut told = String::new();
    let mut stderr = std::io::BufReader::new(client.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut told).unwrap();
    assert!(told.contains("1 MiB behind") && told.contains("dropped"), "{told}");
    assert_eq!(client.wait().unwrap().code(), Some(1));
    drop(unread);
    // The container has gone on.
    container.exec(["true"]).exits(0);
}

#[test]
fn states_without_streams_are_told_in_dockers_words() {
    let container = Container::sleeping([]);
    hull(["pause", &container.name]).exits(0);
    assert!(attach(&container).output().fails(1).contains("paused container, unpause it first"));
    hull(["unpause", &container.name]).exits(0);
    hull(["kill", &container.name]).exits(0);
    assert!(attach(&container).output().fails(1).contains("stopped container, start it first"));
}
