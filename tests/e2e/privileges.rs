//! What setuid, capabilities and seccomp do. Their values are in the conformance tables.

use hull_tests::{DEBIAN, PYTHON, run};

/// Runs a setuid copy of `id` as nobody and prints its effective user.
const SETUID_ID: &str = "cp /usr/bin/id /root/id && chmod 4755 /root/id && chmod 755 /root && \
                         setpriv --reuid=65534 --clear-groups /root/id -u";

#[test]
fn setuid_works_and_no_new_privileges_stops_it() {
    assert_eq!(run([DEBIAN, "sh", "-c", SETUID_ID]).text(), "0");
    assert_eq!(run(["--security-opt", "no-new-privileges", DEBIAN, "sh", "-c", SETUID_ID]).text(), "65534");
}

#[test]
fn seccomp_denies_what_dockers_list_denies() {
    // keyctl, add_key, bpf, userfaultfd, perf_event_open, init_module, kexec_load, mount, setns, ptrace's kin.
    let calls = [250, 248, 321, 323, 298, 175, 246, 165, 308];
    let script = format!(
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n\
         for n in {calls:?}:\n    r = libc.syscall(n, 0, 0, 0, 0, 0)\n    \
         print(n, r, errno.errorcode.get(ctypes.get_errno()))"
    );
    let text = run([PYTHON, "python3", "-c", &script]).text();
    let expected: Vec<String> = calls.iter().map(|n| format!("{n} -1 EPERM")).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn new_user_namespace_by_clone3_is_not_there() {
    // docker answers ENOSYS, so that C libraries fall back to clone, whose flags can be seen.
    let script = "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n\
                  print(libc.syscall(435, 0, 0), errno.errorcode[ctypes.get_errno()])";
    assert_eq!(run([PYTHON, "python3", "-c", script]).text(), "-1 ENOSYS");
}

#[test]
fn dropped_capability_is_missed() {
    let script = "touch /tmp/f; chown 1:1 /tmp/f";
    run([DEBIAN, "sh", "-c", script]).exits(0);
    let output = run(["--cap-drop", "CHOWN", DEBIAN, "sh", "-c", script]).exits(1);
    assert!(output.stderr.contains("not permitted"), "{}", output.stderr);
}

#[test]
fn added_capability_is_of_use_even_where_seccomp_watches_it() {
    run(["--cap-add", "SYS_ADMIN", DEBIAN, "sh", "-c", "mkdir /m && mount -t tmpfs t /m && touch /m/x"])
        .exits(0);
}
