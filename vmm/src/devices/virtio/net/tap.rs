//! The host's end of a wire: a tap (Linux Documentation/networking/tuntap.rst), or what stands for one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::utsname::uname;

use super::{F_GUEST_CSUM, F_GUEST_ECN, F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_USO4, F_GUEST_USO6, HEADER};

/// How a tap has to be: frames, with a header in front that tells of checksums and segments. That nothing is in
/// front of the header (IFF_NO_PI) cannot be asked: the bit means something else in the answer
/// (IFF_NOFILTER).
const WANTED: libc::c_int = libc::IFF_TAP | libc::IFF_VNET_HDR;
/// The first Linux whose taps know of segments of UDP.
const UDP_SEGMENTS: (u32, u32) = (6, 2);

/// Why a descriptor cannot be a network device's.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    #[error("The descriptor is not a tap's")]
    NotATap(#[source] io::Error),
    #[error("The tap has flags {0:#06x} instead of IFF_TAP and IFF_VNET_HDR")]
    Flags(u16),
    #[error("Failed to {action} of the tap")]
    Setup { action: &'static str, source: io::Error },
}

/// Carries packets, each with its header, by readv(2) and writev(2), which never wait.
pub(super) trait Wire: AsFd + Send + Sync {
    /// Lets the host leave to the guest what its driver, with these features, can do itself.
    fn offload(&self, features: u64) -> io::Result<()>;
}

pub(super) struct Tap(File);

impl Tap {
    /// Checks that it is one, and makes it ready for a driver that accepts nothing.
    pub fn new(file: File) -> Result<Self, TapError> {
        let flags = interface_flags(&file).map_err(TapError::NotATap)?;
        let wanted = u16::try_from(WANTED).unwrap_or(u16::MAX);
        if flags & wanted != wanted {
            return Err(TapError::Flags(flags));
        }
        let failed = |action| move |source| TapError::Setup { action, source };
        set_nonblocking(&file).map_err(failed("set O_NONBLOCK"))?;
        let tap = Self(file);
        tap.set_header_size().map_err(failed("set the header's size"))?;
        tap.offload(0).map_err(failed("set the offloads"))?;
        Ok(tap)
    }

    fn set_header_size(&self) -> io::Result<()> {
        let size = libc::c_int::try_from(HEADER).unwrap_or(0);
        // SAFETY: TUNSETVNETHDRSZ reads an int, which lives as long as the call.
        done(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) })
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Wire for Tap {
    fn offload(&self, features: u64) -> io::Result<()> {
        let flags = libc::c_ulong::from(offload_flags(features));
        // SAFETY: TUNSETOFFLOAD takes the flags themselves.
        done(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNSETOFFLOAD, flags) })
    }
}

/// What TUNSETOFFLOAD is told for a driver with these features. It refuses segments without checksums,
/// ECN without segments of TCP, and one version of IP without the other for segments of UDP.
pub(super) fn offload_flags(features: u64) -> libc::c_uint {
    let has = |wanted| features & wanted == wanted;
    if !has(F_GUEST_CSUM) {
        return 0;
    }
    let mut flags = libc::TUN_F_CSUM;
    if has(F_GUEST_TSO4) {
        flags |= libc::TUN_F_TSO4;
    }
    if has(F_GUEST_TSO6) {
        flags |= libc::TUN_F_TSO6;
    }
    if flags != libc::TUN_F_CSUM && has(F_GUEST_ECN) {
        flags |= libc::TUN_F_TSO_ECN;
    }
    if has(F_GUEST_USO4 | F_GUEST_USO6) {
        flags |= libc::TUN_F_USO4 | libc::TUN_F_USO6;
    }
    flags
}

/// There is no way to ask but with a tap, and devices are made before there is one.
pub(super) fn host_knows_udp_segments() -> bool {
    uname().is_ok_and(|host| host.release().to_str().is_some_and(is_since_udp_segments))
}

fn is_since_udp_segments(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= UDP_SEGMENTS,
        _ => false,
    }
}

fn interface_flags(file: &File) -> io::Result<u16> {
    // SAFETY: all fields of ifreq may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: TUNGETIFF fills in a struct ifreq, which lives as long as the call.
    done(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    // SAFETY: TUNGETIFF sets this field of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(flags.cast_unsigned())
}

fn set_nonblocking(file: &File) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_are_those_that_the_driver_accepted_and_the_kernel_allows() {
        use libc::{TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6};
        assert_eq!(offload_flags(0), 0);
        assert_eq!(offload_flags(F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_USO4 | F_GUEST_USO6), 0);
        assert_eq!(offload_flags(F_GUEST_CSUM | F_GUEST_ECN | F_GUEST_USO4), TUN_F_CSUM);
        assert_eq!(offload_flags(F_GUEST_CSUM | F_GUEST_TSO6), TUN_F_CSUM | TUN_F_TSO6);
        let all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6;
        assert_eq!(offload_flags(u64::MAX), all);
    }

    #[test]
    fn releases_are_compared_by_number() {
        for release in ["6.2", "6.2.0-rc1", "6.12.48+deb13-amd64", "7.0", "10.1.2"] {
            assert!(is_since_udp_segments(release), "{release}");
        }
        for release in ["6.1.99", "5.15.0-91-generic", "6", "", "x.y", "v6.12"] {
            assert!(!is_since_udp_segments(release), "{release}");
        }
    }

    #[test]
    fn files_that_are_no_tap_are_refused() {
        for path in ["/dev/null", "/proc/self/status", "/dev/zero"] {
            let error = Tap::new(File::open(path).unwrap()).err().unwrap();
            assert!(matches!(error, TapError::NotATap(_)), "{path}: {error}");
        }
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = File::from(std::os::fd::OwnedFd::from(socket));
        assert!(matches!(Tap::new(socket).err().unwrap(), TapError::NotATap(_)));
    }
}
