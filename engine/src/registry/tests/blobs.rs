use std::io::Read;
use std::time::{Duration, Instant};

use super::fixture::{World, chain, descriptor};
use crate::registry::test_server::{Reply, Seen, TestServer, ok, reply};

const BLOB: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The head of an answer with all of the blob, and so many bytes of it.
fn cut(bytes: usize) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BLOB.len());
    Reply::Bytes([head.as_bytes(), &BLOB[..bytes]].concat())
}

/// The rest from byte `from` on, said to be `range`.
fn part(from: usize, range: &str) -> Reply {
    reply("206 Partial Content", &format!("Content-Range: {range}\r\n"), &BLOB[from..])
}

fn read(world: &World, server: &TestServer) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut reader = world.open(&server.name()).blob(&descriptor(BLOB)).map_err(|error| chain(&error))?;
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(chain(&error)),
    }
}

fn ranges(server: &TestServer) -> Vec<String> {
    let range = |seen: &Seen| seen.header("range").unwrap_or("all").to_owned();
    server.seen().iter().map(range).collect()
}

#[test]
fn a_blob_comes_whole() {
    let server = TestServer::new(|_| ok(BLOB));
    assert_eq!(read(&World::new(), &server).unwrap(), BLOB);
    assert_eq!(ranges(&server), ["all"]);
}

#[test]
fn a_broken_blob_is_taken_up_where_it_broke() {
    let server = TestServer::new(|seen| match seen.number {
        0 => cut(10),
        1 => reply("503 Service Unavailable", "", b""),
        _ => part(10, "bytes 10-35/36"),
    });
    let world = World::new();
    assert_eq!(read(&world, &server).unwrap(), BLOB);
    assert_eq!(ranges(&server), ["all", "bytes=10-", "bytes=10-"]);
    assert_eq!(world.slept.lock().unwrap().len(), 2);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let server = TestServer::new(|seen| if seen.number == 0 { cut(10) } else { ok(BLOB) });
    assert_eq!(read(&World::new(), &server).unwrap(), BLOB);
    assert_eq!(ranges(&server), ["all", "bytes=10-"]);
}

#[test]
fn another_range_than_the_one_asked_for_is_refused() {
    for range in ["bytes 9-35/36", "bytes 10-34/36", "bytes 10-35/37", "bytes */36", "items 10-35/36", ""] {
        let server = TestServer::new(move |seen| if seen.number == 0 { cut(10) } else { part(10, range) });
        let error = read(&World::new(), &server).unwrap_err();
        assert!(error.contains("answer to the question for a blob"), "{range}: {error}");
    }
    // Nobody asked for a part.
    let server = TestServer::new(|_| part(0, "bytes 0-35/36"));
    assert!(read(&World::new(), &server).is_err());
}

#[test]
fn a_blob_that_always_breaks_is_given_up() {
    let server = TestServer::new(|_| cut(0));
    let error = read(&World::new(), &server).unwrap_err();
    assert!(error.contains("disconnected"), "{error}");
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn progress_earns_new_tries() {
    let server = TestServer::new(|seen| {
        let from = seen.number;
        let range = format!("bytes {from}-35/36");
        let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\n");
        let head = format!("{head}Content-Length: {}\r\n\r\n", BLOB.len() - from);
        if from == 0 { cut(1) } else { Reply::Bytes([head.as_bytes(), &BLOB[from..=from]].concat()) }
    });
    let world = World::new().limits(|limits| limits.progress = 1);
    assert_eq!(read(&world, &server).unwrap(), BLOB);
    assert_eq!(server.seen().len(), BLOB.len());
}

#[test]
fn fewer_bytes_than_said_are_an_error() {
    let server = TestServer::new(|_| ok(&BLOB[..30]));
    let error = read(&World::new(), &server).unwrap_err();
    assert!(error.contains("30 bytes of a blob that has 36"), "{error}");
    // Without a length it may have been the connection, until the rest turns out not to be there.
    let server = TestServer::new(|seen| match seen.number {
        0 => Reply::Bytes([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), &BLOB[..30]].concat()),
        _ => reply("416 Range Not Satisfiable", "", b""),
    });
    let error = read(&World::new(), &server).unwrap_err();
    assert!(error.contains("30 bytes of a blob that has 36"), "{error}");
}

#[test]
fn more_bytes_than_said_are_an_error() {
    let longer = [BLOB, b"!"].concat();
    let body = longer.clone();
    let server = TestServer::new(move |_| ok(&body));
    assert!(read(&World::new(), &server).unwrap_err().contains("37 bytes of a blob that has 36"));
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let server = TestServer::new(move |_| Reply::Bytes([head.clone(), longer.clone()].concat()));
    assert!(read(&World::new(), &server).unwrap_err().contains("more than the 36 bytes"));
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let server = TestServer::new(move |_| Reply::Endless(head.clone(), vec![0; 1 << 16]));
    assert!(read(&World::new(), &server).unwrap_err().contains("more than the 36 bytes"));
}

#[test]
fn silence_in_a_blob_is_a_broken_connection() {
    let server = TestServer::new(|seen| match (seen.number, cut(10)) {
        (0, Reply::Bytes(bytes)) => Reply::Hang(bytes),
        _ => part(10, "bytes 10-35/36"),
    });
    let world = World::new().limits(|limits| limits.silence = Duration::from_millis(100));
    assert_eq!(read(&world, &server).unwrap(), BLOB);
}

#[test]
fn a_trickle_is_a_broken_connection() {
    let server = TestServer::new(|_| ok(BLOB));
    let world = World::new().limits(|limits| limits.pace = (1000, Duration::ZERO));
    let begun = Instant::now();
    let error = read(&world, &server).unwrap_err();
    assert!(error.contains("too slowly"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_comes_after_the_last_chunk_does_not_matter() {
    let chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", BLOB.len());
    let whole = [chunk.as_bytes(), BLOB, b"\r\n0\r\n"].concat();
    for after in [b"X-More: and more\r\n".to_vec(), vec![b'x'; 1 << 16]] {
        let whole = whole.clone();
        let server = TestServer::new(move |_| Reply::Endless(whole.clone(), after.clone()));
        let begun = Instant::now();
        assert_eq!(read(&World::new(), &server).unwrap(), BLOB);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn trailers_without_end_end_a_blob_that_is_not_there() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_vec();
    let server = TestServer::new(move |_| Reply::Endless(head.clone(), b"X-More: and more\r\n".repeat(100)));
    let world = World::new().limits(|limits| {
        limits.connection = (Duration::from_millis(100), u64::MAX);
        limits.tries = 2;
    });
    let error = read(&world, &server).unwrap_err();
    assert!(error.contains("took too long"), "{error}");
}

#[test]
fn a_chunk_without_end_to_its_length_is_left() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1".to_vec();
    for more in [b"0".to_vec(), b";x=y".to_vec()] {
        let head = head.clone();
        let server = TestServer::new(move |_| Reply::Endless(head.clone(), more.repeat(1 << 12)));
        assert!(read(&World::new(), &server).is_err());
    }
}

#[test]
fn an_empty_blob_is_one() {
    let server = TestServer::new(|_| ok(b""));
    let mut reader = World::new().open(&server.name()).blob(&descriptor(b"")).unwrap();
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_missing_blob_is_told_before_it_is_read() {
    let server = TestServer::new(|_| reply("404 Not Found", "", b""));
    assert!(World::new().open(&server.name()).blob(&descriptor(BLOB)).is_err());
}
