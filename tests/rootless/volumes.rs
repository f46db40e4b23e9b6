//! Binds and volumes of an ordinary user: with that user's rights and no others.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use hull_tests::{BUSYBOX, User};

/// In either mode.
pub fn shared_as_the_users_own() {
    let user = User::new();
    user.load("busybox.tar");
    let folder = user.home.join("shared");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("before"), "mine\n").unwrap();
    for path in [folder.clone(), folder.join("before")] {
        chown(path, Some(user.uid), Some(user.uid)).unwrap();
    }
    let bind = format!("{}:/data", folder.display());
    let script = "cat /data/before; stat -c %u:%g /data/before; for d in data named; do echo x > /$d/roots; echo y > /$d/others; \
                  chown 7:8 /$d/others; done; mknod /data/null c 1 3 2>/dev/null || echo no devices";
    let said = user
        .run(["--network", "none", "-v", &bind, "-v", "named:/named", BUSYBOX, "sh", "-ec", script])
        .text();
    assert_eq!(said, "mine\n0:0\nno devices");
    let volume = user.hull(["volume", "inspect", "-f", "{{.Mountpoint}}", "named"]).output().text();
    for place in [folder.as_path(), volume.as_ref()] {
        assert_eq!(place.join("roots").metadata().unwrap().uid(), user.uid);
        // The user's own id comes first, so 7 is the seventh of the others.
        let others = place.join("others").metadata().unwrap();
        assert_eq!((others.uid(), others.gid()), (user.first.unwrap() + 6, user.first.unwrap() + 7));
    }
    let said = user.run([
        "--network",
        "none",
        "-v",
        "named:/n:ro",
        BUSYBOX,
        "sh",
        "-c",
        "cat /n/roots; stat -c %u:%g /n/others; rm /n/roots 2>/dev/null || echo refused",
    ]);
    assert_eq!(said.text(), "x\n7:8\nrefused");
    // What is root's is not to be had this way.
    let said = user
        .run([
            "--network",
            "none",
            "-v",
            "/etc:/host",
            BUSYBOX,
            "sh",
            "-c",
            "cat /host/shadow; echo x > /host/hull-was-here",
        ])
        .exits(1);
    assert_eq!(said.stdout, b"");
    assert!(said.stderr.matches("Permission denied").count() == 2, "{}", said.stderr);
    let refused =
        user.run(["--network", "none", "-v", "/root/none/such:/x", BUSYBOX, "true"]).exits(125).stderr;
    assert!(refused.contains("/root/none"), "{refused}");
    user.hull(["volume", "rm", "named"]).output().exits(0);
    assert!(!volume.is_empty() && !fs::exists(&volume).unwrap());
    user.expect_no_processes();
}

#[test]
fn what_is_shared_has_its_users_owners_and_rights() {
    shared_as_the_users_own();
}
