//! A container on a [`Host`].

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::Value;

use crate::command::{Output, Running};
use crate::net::Host;
use crate::paths;

/// How long an answer that should not come is waited for.
const UNANSWERED: Duration = Duration::from_secs(5);

/// It goes with its host, or when it is removed.
pub struct Guest<'a> {
    pub(crate) host: &'a Host,
    pub name: String,
}

impl Guest<'_> {
    /// `hull exec NAME WORDS...`
    pub fn exec<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Output {
        self.host.command(["exec", &self.name]).args(words).output()
    }

    /// `hull exec NAME sh -c SCRIPT`
    pub fn sh(&self, script: &str) -> Output {
        self.exec(["sh", "-c", script])
    }

    /// Waits until it listens at a TCP port.
    #[track_caller]
    pub fn await_port(&self, port: u16) {
        let script =
            format!("until nc -w 1 127.0.0.1 {port} </dev/null >/dev/null 2>&1; do usleep 10000; done");
        self.exec(["busybox", "sh", "-c", &script]).exits(0);
    }

    /// What `GET /` at an address or name answers, asked for by the container.
    #[track_caller]
    pub fn get(&self, at: &str) -> String {
        self.fetch(at, paths::answered_within()).text()
    }

    /// Whether anything answers there, when most likely nothing does.
    pub fn reaches(&self, at: &str) -> bool {
        self.fetch(at, UNANSWERED).code == 0
    }

    fn fetch(&self, at: &str, patience: Duration) -> Output {
        self.sh(&format!("busybox timeout {} busybox wget -qO- 'http://{at}/'", patience.as_secs()))
    }

    /// That another answers to a ping from it.
    #[track_caller]
    pub fn ping(&self, address: &str) {
        let patience = format!("-W{}", paths::answered_within().as_secs());
        self.exec(["ping", "-c1", &patience, address]).exits(0);
    }

    /// Whether another does, when most likely it does not.
    pub fn pings(&self, address: &str) -> bool {
        self.exec(["ping", "-c1", "-W2", address]).code == 0
    }

    /// The addresses of a name, as the container's resolver finds them.
    pub fn lookup(&self, name: &str) -> Vec<String> {
        let output = self.exec(["busybox", "nslookup", name]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // The server's own line has a tab in it.
        let mut found: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("Address: ")).map(str::to_owned).collect();
        found.sort();
        found
    }

    /// The name of an address.
    pub fn reverse(&self, address: &str) -> Option<String> {
        let output = self.exec(["busybox", "nslookup", address]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find_map(|line| line.split_once("name = ")).map(|(_, name)| name.to_owned())
    }

    pub fn inspect(&self) -> Value {
        self.host.document(&format!("inspect {}", self.name))
    }

    /// Its endpoint on a network, as `inspect` shows it.
    #[track_caller]
    pub fn endpoint(&self, network: &str) -> Value {
        let document = self.inspect();
        let endpoint = &document["NetworkSettings"]["Networks"][network];
        assert!(endpoint.is_object(), "{} is not on {network}: {}", self.name, document["NetworkSettings"]);
        endpoint.clone()
    }

    #[track_caller]
    pub fn address(&self, network: &str) -> Ipv4Addr {
        let endpoint = self.endpoint(network);
        endpoint["IPAddress"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{endpoint}"))
    }

    #[track_caller]
    pub fn address_6(&self, network: &str) -> IpAddr {
        let endpoint = self.endpoint(network);
        let text = endpoint["GlobalIPv6Address"].as_str();
        text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{endpoint}"))
    }

    pub fn mac(&self, network: &str) -> [u8; 6] {
        super::frames::mac(self.endpoint(network)["MacAddress"].as_str().unwrap())
    }

    /// Brings the program that sends frames into the container.
    pub fn bring_frames(&self) {
        let program = std::fs::read(paths::frames_program()).unwrap();
        let words = ["exec", "-i", &self.name, "sh", "-c", "cat >/frames && chmod 755 /frames"];
        self.host.command(words).stdin(program).output().exits(0);
    }

    /// What the kernel says to frames sent from a device of its: `sent 3`, or errors.
    #[track_caller]
    pub fn send(&self, device: &str, frames: &[Vec<u8>]) -> String {
        let frames: Vec<String> = frames.iter().map(|frame| super::frames::hex(frame)).collect();
        let words = ["/frames", "send", device].into_iter().chain(frames.iter().map(String::as_str));
        self.exec(words).text()
    }

    /// Prints the frames that arrive at a device of its, one a line, until its stdin is closed.
    #[track_caller]
    pub fn listen(&self, device: &str) -> Running {
        let mut running = self.host.command(["exec", "-i", &self.name, "/frames", "listen", device]).spawn();
        running.stdout.expect("listening\n");
        running
    }

    pub fn remove(self) {
        self.host.hull(["rm", "-f", &self.name]).exits(0);
    }
}
