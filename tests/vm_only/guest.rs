//! The machine that a container sees, and how its end is told.

use std::fs;

use hull_tests::{BUSYBOX, Hull, run};

use crate::alone;

#[test]
fn kernel_is_the_guests_own() {
    let _turn = alone();
    let guest = run([BUSYBOX, "uname", "-r"]).text();
    let host = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_ne!(guest, host.trim());
    println!("guest kernel: {guest}");
}

#[test]
fn two_processors_are_there_and_work() {
    let _turn = alone();
    // Without --cpus a machine has as many as the host, at most two.
    let expected = std::thread::available_parallelism().unwrap().get().min(2);
    assert_eq!(run([BUSYBOX, "nproc"]).text(), expected.to_string());
    let script = "for i in 1 2 3 4; do (head -c 3000000 /dev/zero | md5sum) & done; wait";
    assert_eq!(run([BUSYBOX, "sh", "-c", script]).text().lines().count(), 4);
}

#[test]
fn memory_is_the_limit_and_the_kernels_own_on_top() {
    let _turn = alone();
    let available = |args: &[&str]| {
        let all =
            [args, &[BUSYBOX, "awk", "/^MemAvailable/ {print int($2 / 1024)}", "/proc/meminfo"]].concat();
        Hull::run(all).output().text().parse::<u64>().unwrap()
    };
    // 512 MiB without -m.
    let default = available(&[]);
    assert!((400..512).contains(&default), "{default}");
    let wanted = available(&["-m", "256m"]);
    assert!((256..400).contains(&wanted), "the limit can be used in full: {wanted}");
}

#[test]
fn clock_is_the_hosts_and_random_numbers_flow() {
    let _turn = alone();
    let before = seconds_now();
    let guest: u64 = run([BUSYBOX, "date", "+%s"]).text().parse().unwrap();
    assert!(guest + 1 >= before && guest <= seconds_now() + 1, "{guest} is not around {before}");
    let draw = || run([BUSYBOX, "sh", "-c", "head -c 16 /dev/urandom | md5sum"]).text();
    assert_ne!(draw(), draw());
}

fn seconds_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn no_way_leads_from_the_guest_to_the_agent() {
    let _turn = alone();
    // No vsock loopback: not even a container with all capabilities reaches the agent's port.
    let script = "import socket\n\
                  s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)\n\
                  s.settimeout(5)\n\
                  for cid in (1, 2, 3):\n  \
                  try:\n    s.connect((cid, 1024)); print('connected', cid)\n  \
                  except OSError as e: print('refused')\n  \
                  s.close(); s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); s.settimeout(5)";
    let args = [
        "--cap-add",
        "ALL",
        "--security-opt",
        "seccomp=unconfined",
        hull_tests::PYTHON,
        "python3",
        "-c",
        script,
    ];
    let output = run(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("connected"), "{}", output.report("a container reached the agent"));
}

#[test]
fn kernel_that_is_no_kernel_is_told_from_one_that_dies() {
    let _turn = alone();
    let with_kernel = |path: &str| Hull::run(["--kernel", path, BUSYBOX, "true"]).output();
    let line = with_kernel("/no/such/kernel").fails(125);
    assert!(line.contains("/no/such/kernel"), "{line}");
    let line = with_kernel("/etc/passwd").fails(125);
    assert!(line.contains("/etc/passwd") || line.contains("kernel"), "{line}");
}

#[test]
fn memory_that_the_host_has_not_is_refused() {
    let _turn = alone();
    Hull::run(["-m", "900t", BUSYBOX, "true"]).output().fails(125);
}

#[test]
fn guest_that_ends_itself_is_told_from_a_command_that_ends() {
    let _turn = alone();
    let args = ["--cap-add", "ALL", "--security-opt", "seccomp=unconfined", BUSYBOX, "sh", "-c"];
    // A container with every capability may take its machine down; that is not a command's end.
    let crash = args.iter().copied().chain(["mount -t proc p /mnt 2>/dev/null || { mkdir -p /m; mount -t proc p /m; }; echo c > /m/sysrq-trigger; sleep 60"]);
    let output = Hull::run(crash).output();
    assert!(output.code != 0, "{}", output.report("the guest crashed and hull says all is well"));
}
