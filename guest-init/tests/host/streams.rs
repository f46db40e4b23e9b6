//! Standard streams: half-close, volume, terminals.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use hull_guest::protocol::*;

use crate::fixture::{Agent, args, read_all, read_until, write_text};

const MEGABYTE: usize = 1 << 20;

#[test]
fn megabyte_goes_in_and_comes_back_after_a_half_close() {
    let Some(agent) = Agent::start() else { return };
    let mut spec = agent.spec(&["cat"]);
    spec.process.stdin = true;
    agent.create(&spec).unwrap();
    let mut stdin = agent.attach(&spec.id, Stream::Stdin);
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    let data: Vec<u8> = (0..MEGABYTE).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let sent = data.clone();
    let writer = thread::spawn(move || {
        stdin.write_all(&sent).unwrap();
        stdin.shutdown(Shutdown::Write).unwrap();
        stdin
    });
    let mut received = Vec::new();
    stdout.read_to_end(&mut received).unwrap();
    assert!(received == data, "{} bytes", received.len());
    drop(writer.join().unwrap());
    assert_eq!(agent.wait(&spec.id).code, 0);
}

#[test]
fn output_after_the_end_of_input_is_complete() {
    let Some(agent) = Agent::start() else { return };
    let mut spec = agent.spec(&["sh", "-c", "cat > /dev/null; dd if=/dev/zero bs=1k count=1024 2>/dev/null"]);
    spec.process.stdin = true;
    agent.create(&spec).unwrap();
    let stdin = agent.attach(&spec.id, Stream::Stdin);
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    stdin.shutdown(Shutdown::Write).unwrap();
    // The status is final while the stream is still being read.
    let mut received = Vec::new();
    stdout.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), MEGABYTE);
    assert_eq!(agent.wait(&spec.id).code, 0);
}

#[test]
fn container_waits_for_a_reader_and_meets_a_closed_pipe_without_one() {
    let Some(agent) = Agent::start() else { return };
    let spec = agent.spec(&["dd", "if=/dev/zero", "bs=1k", "count=4096"]);
    agent.create(&spec).unwrap();
    let unread = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    let mut waiting = agent.send(&Request::Wait(args(&spec.id)));
    waiting.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "it ended though nobody read");
    drop(unread);
    assert_ne!(agent.wait(&spec.id).code, 0);
}

#[test]
fn unattached_streams_do_not_stall_the_container() {
    let Some(agent) = Agent::start() else { return };
    let mut spec = agent.spec(&["sh", "-c", "yes | dd bs=1k count=512; cat"]);
    spec.process.stdin = true;
    agent.create(&spec).unwrap();
    agent.start_container(&spec.id).unwrap();
    assert_eq!(agent.wait(&spec.id).code, 0);
}

#[test]
fn streams_are_attached_once_and_only_before_the_start() {
    let Some(agent) = Agent::start() else { return };
    let spec = agent.spec(&["sleep", "5"]);
    let attach = |stream| agent.call(&Request::Attach(AttachArgs { container: spec.id.clone(), stream }));
    assert_eq!(attach(Stream::Stdout).unwrap_err().kind, ErrorKind::NoContainer);
    agent.create(&spec).unwrap();
    assert_eq!(attach(Stream::Stdin).unwrap_err().kind, ErrorKind::State);
    let _stdout = agent.attach(&spec.id, Stream::Stdout);
    assert_eq!(attach(Stream::Stdout).unwrap_err().kind, ErrorKind::State);
    agent.start_container(&spec.id).unwrap();
    assert_eq!(attach(Stream::Stderr).unwrap_err().kind, ErrorKind::State);
    agent.delete(&spec.id);
}

#[test]
fn terminal_has_the_size_asked_for_and_follows_it() {
    let Some(agent) = Agent::start() else { return };
    let mut spec = agent.spec(&[
        "sh",
        "-c",
        "tty; stty size; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done",
    ]);
    spec.process.terminal = Some(TerminalSize { columns: 91, rows: 33 });
    agent.create(&spec).unwrap();
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    assert_eq!(read_until(&mut stdout, "ready\r\n"), "/dev/pts/0\r\n33 91\r\nready\r\n");
    let size = TerminalSize { columns: 120, rows: 50 };
    agent.call(&Request::Resize(ResizeArgs { container: spec.id.clone(), size })).unwrap();
    assert_eq!(read_all(&mut stdout), "50 120\r\n");
    assert_eq!(agent.wait(&spec.id).code, 3);
}

#[test]
fn terminal_reads_input_and_sees_its_end() {
    let Some(agent) = Agent::start() else { return };
    for init in [false, true] {
        let mut spec = agent.spec(&[
            "sh",
            "-c",
            "stty -echo; echo ready; cat; test -t 0 && test -c /dev/console && exit 5",
        ]);
        spec.process.terminal = Some(TerminalSize { columns: 80, rows: 24 });
        spec.process.stdin = true;
        spec.process.init = init;
        agent.create(&spec).unwrap();
        let mut stdin = agent.attach(&spec.id, Stream::Stdin);
        let mut stdout = agent.attach(&spec.id, Stream::Stdout);
        agent.start_container(&spec.id).unwrap();
        read_until(&mut stdout, "ready\r\n");
        write_text(&mut stdin, "line\n");
        read_until(&mut stdout, "line\r\n");
        stdin.shutdown(Shutdown::Write).unwrap();
        assert_eq!(agent.wait(&spec.id).code, 5);
    }
}

#[test]
fn interrupt_character_reaches_the_foreground_process() {
    let Some(agent) = Agent::start() else { return };
    let mut spec = agent.spec(&["sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done"]);
    spec.process.terminal = Some(TerminalSize { columns: 80, rows: 24 });
    spec.process.stdin = true;
    agent.create(&spec).unwrap();
    let mut stdin = agent.attach(&spec.id, Stream::Stdin);
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    read_until(&mut stdout, "ready");
    write_text(&mut stdin, "\x03");
    assert_eq!(agent.wait(&spec.id).code, 9);
}
