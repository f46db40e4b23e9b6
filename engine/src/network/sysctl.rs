//! Switches of the kernel's network that bridges need: `/proc/sys/net`, which shows the namespace of the
//! thread that opens it.

use std::io;
use std::path::{Path, PathBuf};

use super::place::Place;

#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    #[error("cannot set {} to {value}", path.display())]
    Write {
        path: PathBuf,
        value: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot keep in {} what was switched", path.display())]
    State {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot enter the network namespace of the bridges")]
    Place(#[source] io::Error),
}

type Result<T> = std::result::Result<T, SysctlError>;

const NET: &str = "/proc/sys/net";

/// In the calling thread's namespace.
///
/// The host answers for no address but the bridge's own, takes no router's word, and tells nobody of a
/// shorter way. A network without IPv6 gets no link-local addresses either; one with it has its own at once, to
/// look for neighbours with.
pub(super) fn of_bridge(name: &str, ipv6: bool) -> Result<()> {
    write(&format!("ipv4/conf/{name}/arp_ignore"), "1")?;
    write(&format!("ipv4/conf/{name}/send_redirects"), "0")?;
    write(&format!("ipv4/conf/{name}/route_localnet"), "0")?;
    write_ipv6(&format!("ipv6/conf/{name}/disable_ipv6"), if ipv6 { "0" } else { "1" })?;
    write_ipv6(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
    write_ipv6(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
    write_ipv6(&format!("ipv6/conf/{name}/accept_redirects"), "0")
}

/// In the calling thread's namespace. A port has no addresses.
pub(super) fn of_port(name: &str) -> Result<()> {
    write_ipv6(&format!("ipv6/conf/{name}/disable_ipv6"), "1")
}

/// A kernel without IPv6 has none of its switches.
fn write_ipv6(name: &str, value: &str) -> Result<()> {
    match write(name, value) {
        Err(SysctlError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn write(name: &str, value: &str) -> Result<()> {
    let path = Path::new(NET).join(name);
    std::fs::write(&path, value).map_err(|source| SysctlError::Write {
        path,
        value: value.to_owned(),
        source,
    })
}

fn read(name: &str) -> Result<Option<String>> {
    let path = Path::new(NET).join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SysctlError::Read { path, source }),
    }
}

const FORWARD4: &str = "ipv4/ip_forward";
const FORWARD6: &str = "ipv6/conf/all/forwarding";

/// What was switched on for hull, so that it can be switched back: a file of lines `name old new`, which
/// lives as long as this boot.
#[derive(Debug)]
pub struct Forwarding {
    state: PathBuf,
    place: Place,
}

impl Forwarding {
    pub fn of(place: &Place, run: &Path) -> Forwarding {
        Forwarding { state: run.join("network-sysctl"), place: place.clone() }
    }

    /// Makes the host route packets, where it did not.
    pub fn enable(&self, ipv6: bool) -> Result<()> {
        self.place
            .enter(|| {
                self.switch(FORWARD4, "0", "1")?;
                if ipv6 && read(FORWARD6)?.as_deref() == Some("0") {
                    // A router takes no other router's word, unless told to.
                    for name in devices_that_listen()? {
                        self.switch(&name, "1", "2")?;
                    }
                    self.switch(FORWARD6, "0", "1")?;
                }
                Ok(())
            })
            .map_err(SysctlError::Place)?
    }

    /// Switches back what was switched, as far as nobody else has touched it since.
    pub fn restore(&self) -> Result<()> {
        let text = match std::fs::read_to_string(&self.state) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(self.state_failed(source)),
        };
        self.place
            .enter(|| {
                // Forwarding first: setting it sets what hangs on it.
                for line in text.lines().rev() {
                    let mut words = line.split(' ');
                    let (Some(name), Some(old), Some(new)) = (words.next(), words.next(), words.next())
                    else {
                        continue;
                    };
                    if read(name)?.as_deref() == Some(new) {
                        write(name, old)?;
                    }
                }
                Ok(())
            })
            .map_err(SysctlError::Place)??;
        std::fs::remove_file(&self.state).map_err(|source| self.state_failed(source))
    }

    /// Written down before it is done: whoever cleans up after a crash finds it.
    fn switch(&self, name: &str, old: &str, new: &str) -> Result<()> {
        use std::io::Write;
        if read(name)?.as_deref() != Some(old) {
            return Ok(());
        }
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.state)
            .and_then(|mut file| file.write_all(format!("{name} {old} {new}\n").as_bytes()))
            .map_err(|source| self.state_failed(source))?;
        write(name, new)
    }

    fn state_failed(&self, source: io::Error) -> SysctlError {
        SysctlError::State { path: self.state.clone(), source }
    }
}

/// The switches of devices that configure themselves by router advertisements as long as the host is no
/// router.
fn devices_that_listen() -> Result<Vec<String>> {
    let path = Path::new(NET).join("ipv6/conf");
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(source) => return Err(SysctlError::Read { path, source }),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(device) = name.to_str().filter(|name| !matches!(*name, "all" | "default" | "lo")) else {
            continue;
        };
        let switch = format!("ipv6/conf/{device}/accept_ra");
        if read(&switch)?.as_deref() == Some("1") {
            found.push(switch);
        }
    }
    Ok(found)
}
