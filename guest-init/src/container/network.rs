//! What a container's network devices have carried.

use rustix::process::Pid;

use crate::protocol::NetworkStats;

/// Of the network namespace that `process` is in, without the loopback device. Nothing if it is gone.
pub fn stats(process: Pid) -> Vec<NetworkStats> {
    let path = format!("/proc/{}/net/dev", process.as_raw_nonzero());
    parse(&std::fs::read_to_string(path).unwrap_or_default())
}

/// Two lines of heading, then `NAME: received..., sent...` with eight numbers each, proc_pid_net(5).
fn parse(text: &str) -> Vec<NetworkStats> {
    text.lines().skip(2).filter_map(parse_line).filter(|device| device.name != "lo").collect()
}

fn parse_line(line: &str) -> Option<NetworkStats> {
    let (name, numbers) = line.rsplit_once(':')?;
    let numbers: Vec<u64> = numbers.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
    Some(NetworkStats {
        name: name.trim().to_owned(),
        rx_bytes: at(0),
        rx_packets: at(1),
        rx_errors: at(2),
        rx_dropped: at(3),
        tx_bytes: at(8),
        tx_packets: at(9),
        tx_errors: at(10),
        tx_dropped: at(11),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_the_loopback_is_left_out() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes ...|bytes ...\n\
            lo:  10 1 0 0 0 0 0 0 10 1 0 0 0 0 0 0\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n";
        let wanted = NetworkStats {
            name: "eth0".into(),
            rx_bytes: 1,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 5,
            tx_packets: 6,
            tx_errors: 7,
            tx_dropped: 8,
        };
        assert_eq!(parse(text), [wanted]);
    }
}
