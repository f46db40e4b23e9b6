//! Neither process outlives the other, the supervisor or the machine; an end that is none is told in words.

use std::fs;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::fixture::guest;
use crate::fuse::{Fields, READ};
use crate::machine::REQUEST;

fn pid(number: i32) -> Pid {
    Pid::from_raw(number).unwrap()
}

#[test]
fn supervisor_that_hangs_up_ends_both() {
    let Some((mut server, _guest, _source)) = guest() else { return };
    let child = server.server_pid();
    server.control = None;
    let (status, words) = server.end();
    assert!(status.success() && words.is_empty(), "{status}: {words}");
    assert!(!Path::new(&format!("/proc/{child}")).exists());
}

#[test]
fn machine_that_hangs_up_ends_both() {
    let Some((server, guest, _source)) = guest() else { return };
    drop(guest);
    let (status, words) = server.end();
    assert!(status.success() && words.is_empty(), "{status}: {words}");
}

#[test]
fn killed_server_is_told_in_words() {
    let Some((server, _guest, _source)) = guest() else { return };
    kill_process(pid(server.server_pid()), Signal::KILL).unwrap();
    let (status, words) = server.end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(words, "hull-fs: The file server was killed by signal 9 (SIGKILL)\n");
}

#[test]
fn server_does_not_outlive_its_parent() {
    let Some((mut server, _guest, _source)) = guest() else { return };
    let child = pidfd_open(pid(server.server_pid()), PidfdFlags::empty()).unwrap();
    server.process.kill().unwrap();
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&patience)).unwrap(), 1);
    server.process.wait().unwrap();
}

#[test]
fn request_that_is_none_ends_the_server_in_words() {
    let Some((server, mut guest, _source)) = guest() else { return };
    guest.machine.offer(&[(REQUEST, 4, 0)]);
    let (status, words) = server.end();
    assert_eq!(status.code(), Some(1));
    let lines: Vec<&str> = words.lines().collect();
    assert!(lines[0].contains("failed to decode fuse message"), "{words}");
    assert_eq!(lines[1], "hull-fs: The file server ended with exit code 1");
}

/// Its reply has no room for even the header.
#[test]
fn request_that_virtiofsd_did_not_think_of_ends_it_too() {
    let Some((server, mut guest, source)) = guest() else { return };
    fs::write(source.join("file"), "").unwrap();
    let file = guest.walk("data/file").unwrap().node;
    let handle = guest.open(file, libc::O_RDONLY).unwrap();
    guest.send(READ, file, &Fields::new().u64(handle).u64(0).u32(1).zeros(20), 8);
    let (status, words) = server.end();
    assert_eq!(status.code(), Some(1));
    assert!(words.lines().next().unwrap().contains("panicked at"), "{words}");
    assert!(words.ends_with("hull-fs: The file server ended with exit code 101\n"), "{words}");
}

#[test]
fn both_have_given_up_what_they_do_not_need() {
    let Some((server, mut guest, _source)) = guest() else { return };
    guest.attributes(1).unwrap();
    let (stager, child) = (server.process.id().cast_signed(), server.server_pid());
    // linux/capability.h: SYS_ADMIN; CHOWN DAC_OVERRIDE FOWNER FSETID SETGID SETUID SETFCAP.
    for (process, capabilities) in [(stager, 1_u64 << 21), (child, 0b1101_1011 | 1 << 31)] {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        for task in tasks {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.trim_matches([':', '\t', ' ']).to_owned()
            };
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), capabilities, "{set} of {process}");
            }
            for set in ["CapInh", "CapAmb"] {
                assert_eq!(field(set), "0000000000000000");
            }
            assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".into(), "2".into()));
        }
        for namespace in ["user", "mnt", "net", "ipc", "uts", "cgroup"] {
            let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).unwrap();
            assert_ne!(of(&process.to_string()), of("self"), "{namespace}");
        }
    }
    assert_ne!(
        fs::read_link(format!("/proc/{child}/ns/pid")).unwrap(),
        fs::read_link("/proc/self/ns/pid").unwrap()
    );
    // The stager's: standard streams, control socket, the writable root and the server's pidfd.
    assert_eq!(fs::read_dir(format!("/proc/{stager}/fd")).unwrap().count(), 6);
}
