//! What the container cannot see or do.

use hull_guest::protocol::*;

use crate::fixture::{Agent, CAPABILITIES};

#[test]
fn root_shows_the_image_and_nothing_of_the_host() {
    let Some(agent) = Agent::start() else { return };
    assert_eq!(
        agent.shell(
            "cat /secret/file; hostname; cat /proc/sys/kernel/domainname; echo $$; ls /escape/proc/1/exe"
        ),
        "hiddenbox\nexample\n1\n/escape/proc/1/exe\n"
    );
    let mounts = agent.shell("cat /proc/self/mountinfo");
    assert!(!mounts.contains(&agent.folder.path().display().to_string()), "{mounts}");
    let processes = agent.shell("ls /proc | grep -c '^[0-9]*$'");
    assert!(processes.trim().parse::<u32>().unwrap() <= 3, "the shell, ls and grep: {processes}");
    let links = agent.shell("ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1");
    assert_eq!(links, "1\n1\n");
}

#[test]
fn climbing_above_the_root_leads_nowhere() {
    let Some(agent) = Agent::start() else { return };
    // `..` at "/" shows what is mounted on it: once, that was the host's root.
    let told = agent.shell("ls -d /../secret /escape/secret; ls /.. | grep -c -x secret");
    assert_eq!(told, "/../secret\n/escape/secret\n1\n");
    let mounts = agent.shell("cat /proc/self/mountinfo");
    let at_root = mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
    assert_eq!(at_root, 1, "{mounts}");
    let below = ["/proc", "/dev", "/sys"];
    let strange = mounts.lines().filter(|line| {
        let point = line.split(' ').nth(4).unwrap();
        point != "/" && !below.iter().any(|folder| point.starts_with(folder))
    });
    assert_eq!(strange.count(), 0, "{mounts}");
}

#[test]
fn devices_are_dockers_default_ones() {
    let Some(agent) = Agent::start() else { return };
    let listed = agent.shell("ls /dev | while read n; do echo $n; done");
    let wanted =
        "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert_eq!(listed, wanted);
    assert_eq!(agent.shell("echo x > /dev/null; dd if=/dev/zero bs=3 count=1 2>/dev/null | wc -c"), "3\n");
}

#[test]
fn capabilities_are_bounded_to_the_list() {
    let Some(agent) = Agent::start() else { return };
    let held = |change: fn(&mut ContainerSpec)| agent.shell_as("grep Cap /proc/self/status", change);
    let root = held(|_| ());
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(root.contains(&format!("{set}:\t00000000a80425fb")), "{root}");
    }
    assert!(
        root.contains("CapInh:\t0000000000000000") && root.contains("CapAmb:\t0000000000000000"),
        "{root}"
    );
    let user = held(|spec| spec.process.user = "app".into());
    assert!(
        user.contains("CapEff:\t0000000000000000") && user.contains("CapBnd:\t00000000a80425fb"),
        "{user}"
    );
    let none = held(|spec| spec.process.capabilities.clear());
    assert!(
        none.contains("CapEff:\t0000000000000000") && none.contains("CapBnd:\t0000000000000000"),
        "{none}"
    );
    let with_user_and_none = held(|spec| {
        spec.process.capabilities.clear();
        spec.process.user = "app".into();
        spec.process.no_new_privileges = true;
    });
    assert!(with_user_and_none.contains("CapBnd:\t0000000000000000"), "{with_user_and_none}");
}

#[test]
fn seccomp_denies_namespaces_and_mounts() {
    let Some(agent) = Agent::start() else { return };
    let script =
        "unshare -U true; mount -t tmpfs none /tmp; grep -e Seccomp: -e NoNewPrivs /proc/self/status";
    for no_new_privileges in [false, true] {
        let told = agent.shell_as(script, |spec| {
            spec.process.no_new_privileges = no_new_privileges;
            spec.process.capabilities.push("CAP_SYS_CHROOT".into());
        });
        assert!(told.contains("unshare") && told.contains("Operation not permitted"), "{told}");
        assert!(told.contains("Seccomp:\t2"), "{told}");
        assert!(told.contains(&format!("NoNewPrivs:\t{}", u8::from(no_new_privileges))), "{told}");
    }
    let open = agent.shell_as("unshare -U true; grep Seccomp: /proc/self/status", |spec| {
        spec.process.seccomp = Seccomp::Unconfined;
    });
    assert!(open.contains("Seccomp:\t0"), "{open}");
}

#[test]
fn device_nodes_can_be_made_and_not_opened() {
    let Some(agent) = Agent::start() else { return };
    let told = agent.shell("mknod /tmp/kmsg c 1 11 && echo made; cat /tmp/kmsg; mknod /tmp/null c 1 3 && echo x > /tmp/null && echo usable");
    assert!(told.contains("made\n") && told.contains("usable\n"), "{told}");
    assert!(told.contains("/tmp/kmsg': Operation not permitted"), "{told}");
}

#[test]
fn paths_are_masked_and_readonly() {
    let Some(agent) = Agent::start() else { return };
    let told = agent.shell("cat /proc/kcore | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/hostname; touch /sys/x; touch /fine && echo writable");
    assert!(told.starts_with("0\n0\nwritable\n"), "{told}");
    assert_eq!(told.matches("Read-only file system").count(), 2, "{told}");
    let told = agent.shell_as("touch /x; touch /tmp/y && touch /dev/shm/z && echo ok", |spec| {
        spec.root.readonly = true;
        spec.process.cwd = "/made".into();
        spec.mounts = vec![Mount::Tmpfs {
            target: "/tmp".into(),
            size: Some(1 << 20),
            mode: 0o1777,
            options: vec!["noexec".into()],
        }];
    });
    assert!(told.contains("/x: Read-only file system") && told.contains("ok\n"), "{told}");
}

#[test]
fn overlaid_files_and_tmpfs_stay_inside_the_root() {
    let Some(agent) = Agent::start() else { return };
    let told = agent.shell_as("cat /etc/hosts /tmp/deep/f; stat -c %a /etc/hosts /escape/mnt; echo more >> /etc/hosts && cat /etc/hosts | wc -l", |spec| {
        let file = |target: &str, content: &str| OverlaidFile::new(target, content, 0o644);
        spec.files = vec![file("/etc/hosts", "127.0.0.1 localhost\n"), file("/escape/tmp/deep/f", "deep\n")];
        spec.mounts = vec![Mount::Tmpfs { target: "/escape/mnt".into(), size: None, mode: 0o700, options: vec![] }];
    });
    assert_eq!(told, "127.0.0.1 localhost\ndeep\n644\n700\n2\n");
    assert!(!std::path::Path::new("/tmp/deep").exists());
}

#[test]
fn cgroup_limits_hold_and_an_oom_kill_is_told() {
    let Some(agent) = Agent::start() else { return };
    let mut spec = agent.spec(&["sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; dd if=/dev/zero of=/dev/shm/x bs=1M count=40"]);
    spec.resources = Resources {
        memory_bytes: Some(16 << 20),
        cpu_millis: Some(500),
        pids: Some(20),
        ..Resources::default()
    };
    let ran = agent.run(&spec);
    assert_eq!(ran.out, "16777216\n");
    assert!(ran.status.oom_killed, "{ran:?}");
    let mut bomb = agent.spec(&["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"]);
    bomb.resources.pids = Some(4);
    let ran = agent.run(&bomb);
    assert!(ran.err.contains("can't fork"), "{ran:?}");
    assert!(!ran.status.oom_killed);
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn unknown_words_in_a_spec_are_refused() {
    let Some(agent) = Agent::start() else { return };
    let mut spec = agent.spec(&["true"]);
    spec.process.capabilities = [CAPABILITIES[0], "CAP_FLY"].map(String::from).into();
    let error = agent.create(&spec).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("CAP_FLY"), "{error}");
}
