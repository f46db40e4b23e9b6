//! Threads that read what a guest or a container's agent says give their privileges up first.

use std::io;

/// `_LINUX_CAPABILITY_VERSION_3`, capget(2).
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Takes every capability from the calling thread, for good: capabilities and no_new_privs belong to a
/// thread (capabilities(7)), and with the latter no exec gives root its powers back.
pub fn give_up() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [Data { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: capset(2) reads a header and, in version 3, two sets, which live through the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_has_no_capability_and_gains_none_and_others_keep_theirs() {
        let status = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = |status: &str, name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_string()
        };
        let before = line(&status(), "CapEff");
        let dropped = std::thread::spawn(move || {
            give_up().unwrap();
            status()
        });
        let dropped = dropped.join().unwrap();
        assert_eq!(line(&dropped, "CapEff"), "0000000000000000");
        assert_eq!(line(&dropped, "CapPrm"), "0000000000000000");
        assert_eq!(line(&dropped, "NoNewPrivs"), "1");
        assert_eq!(line(&status(), "CapEff"), before);
    }
}
