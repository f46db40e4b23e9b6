//! User, capabilities, resource limits, and the flags that keep them from coming back.

use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::JailError;
use crate::config::JailConfig;
use crate::files::MAX_OPEN;

/// Behind the last capability that any kernel knows; prctl says EINVAL before.
const CAPABILITIES: libc::c_ulong = 64;

/// What it may still use: descriptors as many as the largest machine has, no core dump (it would hold
/// the machine's secrets).
pub fn limit_resources() -> Result<(), JailError> {
    let failed = |action| move |errno: Errno| JailError::Privilege { action, source: errno.into() };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed("read the descriptor limit"))?;
    let files = hard.min(MAX_OPEN);
    setrlimit(Resource::RLIMIT_NOFILE, files, files).map_err(failed("limit descriptors"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("forbid core dumps"))
}

/// Joins a new session keyring: the one inherited is whoever's who started hull, with all keys in it
/// (session-keyring(7)).
pub fn leave_keyring() -> Result<(), JailError> {
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: keyctl(2): takes the name of a keyring or a null pointer.
    match unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, anonymous) } {
        -1 => match Errno::last() {
            // No keys in this kernel, or a filter (docker's, say) that forbids all use of them for good.
            Errno::ENOSYS | Errno::EPERM => Ok(()),
            errno => {
                let action = "leave the session's keyring";
                Err(JailError::Privilege { action, source: errno.into() })
            }
        },
        _ => Ok(()),
    }
}

/// Becomes the jail's user, without any capability, and unable to gain one by any exec.
pub fn drop(config: &JailConfig) -> Result<(), JailError> {
    let failed = |action| move |errno: Errno| JailError::Privilege { action, source: errno.into() };
    drop_bounding_set()?;
    let (uid, gid) = (Uid::from_raw(config.uid), Gid::from_raw(config.gid));
    match setgroups(&[]) {
        // Inside a user namespace of an ordinary user: denied, and the groups are meaningless there.
        Err(Errno::EPERM) if !Uid::effective().is_root() => {}
        result => result.map_err(failed("drop supplementary groups"))?,
    }
    setresgid(gid, gid, gid).map_err(failed("change the group"))?;
    setresuid(uid, uid, uid).map_err(failed("change the user"))?;
    // In a user namespace the user stays the same, so its capabilities do not go by themselves.
    clear_capabilities()?;
    prctl::set_no_new_privs().map_err(failed("forbid new privileges"))?;
    prctl::set_dumpable(false).map_err(failed("close /proc and ptrace to its user"))
}

/// capabilities(7), "Capability bounding set".
fn drop_bounding_set() -> Result<(), JailError> {
    for capability in 0..CAPABILITIES {
        // SAFETY: takes numbers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            match Errno::last() {
                Errno::EINVAL => break,
                errno => {
                    let action = "empty the capability bounding set";
                    return Err(JailError::Privilege { action, source: errno.into() });
                }
            }
        }
    }
    Ok(())
}

/// capset(2) with three empty sets; the ambient set follows.
fn clear_capabilities() -> Result<(), JailError> {
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let sets = [[0_u32; 3]; 2];
    // SAFETY: the kernel reads a header and, for version 3, two structs of three u32, as given here.
    match unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) } {
        0 => Ok(()),
        _ => Err(JailError::Privilege { action: "drop capabilities", source: io::Error::last_os_error() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The serial number of this thread's session keyring; none where keyctl(2) is denied.
    fn session_keyring() -> Option<libc::c_long> {
        // SAFETY: takes numbers only; 0: make none.
        let id = unsafe {
            libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, libc::KEY_SPEC_SESSION_KEYRING, 0)
        };
        (id > 0).then_some(id)
    }

    #[test]
    fn keyring_is_a_new_one() {
        leave_keyring().unwrap();
        let first = session_keyring();
        leave_keyring().unwrap();
        assert!(first.is_none() || session_keyring() != first);
    }
}
