use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::pipe::{PipeFlags, pipe_with};

use super::*;

fn pair() -> (UnixStream, OwnedFd) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs.into())
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
}

#[test]
fn output_reaches_the_connection_and_its_end_half_closes() {
    let (mut reader, sink) = pair();
    let (source, container) = pipe();
    rustix::io::write(&container, b"hello").unwrap();
    let mut pump = Pump::new(source, Some(sink), Direction::FromContainer);
    let mut scratch = vec![0; CHUNK];
    assert_eq!(pump.advance(&mut scratch), Need::Readable);
    drop(container);
    assert_eq!(pump.advance(&mut scratch), Need::Nothing);
    let mut got = String::new();
    reader.read_to_string(&mut got).unwrap();
    assert_eq!(got, "hello");
}

#[test]
fn nothing_is_read_while_the_receiver_takes_nothing() {
    let (mut writer, source) = pair();
    let (container, sink) = pipe();
    let mut pump = Pump::new(source, Some(sink), Direction::ToPipe);
    let mut scratch = vec![0; CHUNK];
    writer.set_nonblocking(true).unwrap();
    let mut sent = 0;
    loop {
        match writer.write(&[7; 4096]) {
            Ok(len) => sent += len,
            Err(_) if pump.advance(&mut scratch) == Need::Writable => break,
            Err(_) => (),
        }
    }
    while let Ok(len) = writer.write(&[7; 4096]) {
        sent += len;
    }
    assert_eq!(pump.advance(&mut scratch), Need::Writable);
    assert!(pump.held.len() <= CHUNK);
    drop(writer);
    let mut received = 0;
    while pump.advance(&mut scratch) != Need::Nothing {
        while let Ok(len) = rustix::io::read(&container, &mut [0; 4096]) {
            received += len;
        }
    }
    drop(pump);
    while let Ok(len @ 1..) = rustix::io::read(&container, &mut [0; 4096]) {
        received += len;
    }
    assert_eq!(received, sent);
}

#[test]
fn output_ends_once_its_receiver_is_gone() {
    let (reader, sink) = pair();
    let (source, container) = pipe();
    drop(reader);
    rustix::io::write(&container, b"lost").unwrap();
    let mut pump = Pump::new(source, Some(sink), Direction::FromContainer);
    assert_eq!(pump.advance(&mut vec![0; CHUNK]), Need::Nothing);
    drop(pump);
    assert_eq!(rustix::io::write(&container, b"more"), Err(Errno::PIPE));
}

#[test]
fn output_that_nobody_asked_for_is_read_and_dropped() {
    let (source, container) = pipe();
    rustix::io::write(&container, b"lost").unwrap();
    let mut pump = Pump::new(source, None, Direction::FromContainer);
    assert_eq!(pump.advance(&mut vec![0; CHUNK]), Need::Readable);
}

#[test]
fn input_ends_once_the_container_has_closed_it() {
    let (mut writer, source) = pair();
    let (container, sink) = pipe();
    drop(container);
    writer.write_all(b"unwanted").unwrap();
    let mut pump = Pump::new(source, Some(sink), Direction::ToPipe);
    assert_eq!(pump.advance(&mut vec![0; CHUNK]), Need::Nothing);
}

#[test]
fn end_of_input_reaches_a_terminal_as_a_character() {
    let (writer, source) = pair();
    let (container, sink) = pipe();
    drop(writer);
    let mut pump = Pump::new(source, Some(sink), Direction::ToTerminal);
    assert_eq!(pump.advance(&mut vec![0; CHUNK]), Need::Nothing);
    let mut got = [0; 8];
    assert_eq!(rustix::io::read(&container, &mut got).unwrap(), 1);
    assert_eq!(got[0], END_OF_TRANSMISSION);
}
