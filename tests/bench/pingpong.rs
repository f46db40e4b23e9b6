//! Request and response over one TCP connection, a byte each: how long a packet is on its way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Round trips before those that count.
const WARM_UP: u32 = 100;

/// Sends back what comes, to one client after the other, for ever.
pub(crate) fn pong(address: &str) -> std::io::Result<String> {
    let listener = TcpListener::bind(address)?;
    loop {
        let (client, _) = listener.accept()?;
        // A client that goes is how each exchange ends.
        let _ = answer(client);
    }
}

fn answer(mut client: TcpStream) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut byte = [0];
    loop {
        client.read_exact(&mut byte)?;
        client.write_all(&byte)?;
    }
}

/// A line with the round trips of a second, measured for so many seconds.
pub(crate) fn ping(address: &str, seconds: &str) -> std::io::Result<String> {
    let limit = Duration::from_secs(seconds.parse().map_err(std::io::Error::other)?);
    let mut server = TcpStream::connect(address)?;
    server.set_nodelay(true)?;
    let mut exchange = || {
        server.write_all(&[1])?;
        server.read_exact(&mut [0])
    };
    for _ in 0..WARM_UP {
        exchange()?;
    }
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < limit {
        exchange()?;
        count += 1;
    }
    let nanos = start.elapsed().as_nanos();
    Ok(format!("{}\n", u128::from(count) * 1_000_000_000 / nanos))
}
