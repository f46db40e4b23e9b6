//! Asking name servers, by UDP and where the answer is too long for that by TCP.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RecordType};

use super::conf::Conf;
use super::left;
use super::wire::{Answer, Question};

/// The longest message a datagram may bring. More than the 512 bytes of RFC 1035 is not asked for.
const MAX_DATAGRAM: usize = 4096;
/// What came without being an answer, before a server is given up.
const MAX_STRAY: usize = 64;
/// How long the second of the two answers is waited for once the first brought addresses: some servers
/// drop questions for IPv6.
const SECOND: Duration = Duration::from_secs(1);

/// What all servers together say of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Addresses(Vec<IpAddr>),
    Nothing,
    Unanswered,
}

/// Asks the servers in their order until one gives an answer.
pub fn ask(conf: &Conf, name: &Name, deadline: Instant) -> Outcome {
    for _ in 0..conf.attempts {
        for server in &conf.servers {
            let Some(left) = left(deadline) else { return Outcome::Unanswered };
            let until = Instant::now() + left.min(conf.timeout);
            match ask_one(*server, name, conf.tcp, until) {
                Ok(Outcome::Unanswered) | Err(_) => {}
                Ok(outcome) => return outcome,
            }
        }
    }
    Outcome::Unanswered
}

/// Asks one server for the addresses of both kinds at once.
fn ask_one(server: SocketAddr, name: &Name, tcp: bool, until: Instant) -> io::Result<Outcome> {
    let question = |kind| Question::new(name, kind).ok_or(io::ErrorKind::InvalidInput);
    let mut asked = [(question(RecordType::A)?, None), (question(RecordType::AAAA)?, None)];
    if tcp {
        asked.iter_mut().for_each(|(_, answer)| *answer = Some(Answer::Truncated));
    } else {
        by_udp(server, &mut asked, until)?;
    }
    for (question, answer) in &mut asked {
        if *answer == Some(Answer::Truncated) {
            *answer = by_tcp(server, question, until).ok().flatten();
        }
    }
    Ok(outcome(asked.map(|(_, answer)| answer)))
}

fn outcome(answers: [Option<Answer>; 2]) -> Outcome {
    let is_whole = answers.iter().all(|answer| *answer == Some(Answer::Nothing));
    let addresses: Vec<IpAddr> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Some(Answer::Addresses(addresses)) => Some(addresses),
            _ => None,
        })
        .flatten()
        .collect();
    match (addresses.is_empty(), is_whole) {
        (false, _) => Outcome::Addresses(addresses),
        (true, true) => Outcome::Nothing,
        (true, false) => Outcome::Unanswered,
    }
}

/// Fills in the answers that come in time. The socket is connected: datagrams from elsewhere never come.
fn by_udp(
    server: SocketAddr,
    asked: &mut [(Question, Option<Answer>)],
    mut until: Instant,
) -> io::Result<()> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    for (question, _) in asked.iter() {
        socket.send(&question.bytes)?;
    }
    let mut buffer = [0; MAX_DATAGRAM];
    for _ in 0..MAX_STRAY {
        let Some(left) = left(until).filter(|_| asked.iter().any(|(_, answer)| answer.is_none())) else {
            break;
        };
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        for (question, answer) in asked.iter_mut().filter(|(_, answer)| answer.is_none()) {
            *answer = question.answer(bytes);
            if matches!(answer, Some(Answer::Addresses(_))) {
                until = until.min(Instant::now() + SECOND);
            }
        }
    }
    Ok(())
}

/// RFC 1035, 4.2.2: each message behind its length in two bytes.
fn by_tcp(server: SocketAddr, question: &Question, until: Instant) -> io::Result<Option<Answer>> {
    let time = || left(until).ok_or(io::ErrorKind::TimedOut);
    let mut stream = TcpStream::connect_timeout(&server, time()?)?;
    let length = u16::try_from(question.bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.set_write_timeout(Some(time()?))?;
    stream.write_all(&[&length.to_be_bytes(), question.bytes.as_slice()].concat())?;
    let mut length = [0; 2];
    read_until(&mut stream, &mut length, until)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    read_until(&mut stream, &mut message, until)?;
    // A truncated answer by TCP is none.
    Ok(question.answer(&message).filter(|answer| *answer != Answer::Truncated))
}

/// Fills the buffer before the time is over, however slowly the bytes trickle in.
fn read_until(stream: &mut TcpStream, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(until).ok_or(io::ErrorKind::TimedOut)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
