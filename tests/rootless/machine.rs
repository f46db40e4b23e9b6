//! Virtual machines of an ordinary user. In an emulated host, so these are few.

use std::fs;

use hull_tests::{BUSYBOX, User};

#[test]
fn a_machines_process_is_jailed_as_a_user_that_is_nobody_else() {
    for user in [User::new(), User::single()] {
        user.load("busybox.tar");
        let options = ["run", "-d", "--name", "vm", "--isolation", "vm"];
        user.hull(options.into_iter().chain([BUSYBOX, "sleep", "1000"])).output().exits(0);
        let pid = user.process("hull-vmm --config-fd");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        let uid: u32 = field("Uid:").parse().unwrap();
        match user.first {
            Some(first) => assert!((first + 60000..first + 65536).contains(&uid), "{uid}"),
            None => assert_eq!(uid, user.uid),
        }
        assert_eq!((field("CapEff:"), field("NoNewPrivs:")), ("0".repeat(16), "1".to_owned()));
        let said = user.hull(["exec", "vm", "sh", "-c", "id -u; stat -c %u /bin/busybox"]).output().text();
        assert_eq!(said, "0\n0");
        user.hull(["rm", "-f", "vm"]).output().exits(0);
        user.expect_no_processes();
    }
}

#[test]
fn a_machine_has_its_users_binds_and_volumes() {
    crate::volumes::shared_as_the_users_own();
}
