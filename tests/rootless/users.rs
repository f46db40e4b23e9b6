//! Whose files and processes they are, inside and outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use hull_tests::{BUSYBOX, DEBIAN, User};

#[test]
fn a_container_has_all_the_users_of_its_image() {
    let user = User::new();
    user.load("debian.tar");
    let script = "id; stat -c '%u %g %a %n' /etc/shadow /usr/bin/passwd; touch /f; chown 33:34 /f";
    let said = user.run([DEBIAN, "sh", "-c", script]).text();
    assert_eq!(
        said,
        "uid=0(root) gid=0(root) groups=0(root)\n0 42 640 /etc/shadow\n0 0 4755 /usr/bin/passwd"
    );
    let said = user.run(["-u", "www-data", DEBIAN, "sh", "-c", "id -un; touch /tmp/a; stat -c %u /tmp/a"]);
    assert_eq!(said.text(), "www-data\n33");
    let said = user.run([DEBIAN, "su", "-s", "/bin/sh", "nobody", "-c", "id -u"]).text();
    assert_eq!(said, "65534");
}

#[test]
fn files_are_the_users_own_and_their_subordinates_outside() {
    let user = User::new();
    user.load("busybox.tar");
    let script = "echo x > /roots; echo x > /others; chown 7 /others";
    user.hull(["run", "--name", "owners", "--isolation", "namespace", BUSYBOX, "sh", "-c", script])
        .output()
        .exits(0);
    let containers = fs::read_dir(user.root().join("containers")).unwrap();
    let upper = containers.flatten().next().unwrap().path().join("upper");
    assert_eq!(upper.join("roots").metadata().unwrap().uid(), user.uid);
    // The user's own id comes first, so 7 is the seventh of the others.
    assert_eq!(upper.join("others").metadata().unwrap().uid(), user.first.unwrap() + 6);
    user.hull(["rm", "owners"]).output().exits(0);
    assert_eq!(fs::read_dir(user.root().join("containers")).unwrap().count(), 0);
}

#[test]
fn a_user_without_further_ids_runs_containers_as_root_and_is_told() {
    let user = User::single();
    user.load("debian.tar");
    let output = user.run([DEBIAN, "sh", "-c", "id -u; stat -c '%u %g' /etc/shadow"]).exits(0);
    assert_eq!(output.stdout, b"0\n0 0\n");
    assert!(output.stderr.contains("no user but root"), "{}", output.stderr);
    let refused = user.run(["-u", "www-data", DEBIAN, "true"]).exits(125).stderr;
    assert!(refused.contains("33:33") && refused.contains("hull's user has (/etc/subuid"), "{refused}");
}

#[test]
fn everything_lies_in_the_folders_that_a_user_has_for_it() {
    let user = User::new();
    user.load("busybox.tar");
    let info = user.hull(["info", "--format", "{{.RootDir}} {{.RunDir}} {{.Rootless}}"]).output().text();
    assert_eq!(info, format!("{} {} true", user.root().display(), user.run_folder().display()));
    assert_eq!(user.run_folder().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // Without a runtime folder there is one in /tmp, if nobody else has made it.
    let fallback = format!("/tmp/hull-{}", user.uid);
    user.hull(["ps"]).env("XDG_RUNTIME_DIR", "").output().exits(0);
    assert_eq!(fs::metadata(&fallback).unwrap().uid(), user.uid);
    user.expect_no_processes();
    fs::remove_dir_all(&fallback).unwrap();
    fs::create_dir(&fallback).unwrap();
    let refused = user.hull(["ps"]).env("XDG_RUNTIME_DIR", "").output().fails(1);
    fs::remove_dir(&fallback).unwrap();
    assert!(refused.contains(&fallback) && refused.contains("XDG_RUNTIME_DIR"), "{refused}");
}

#[test]
fn an_images_unpacked_files_go_with_it() {
    let user = User::new();
    user.load("busybox.tar");
    user.run([BUSYBOX, "true"]).exits(0);
    let unpacked = user.root().join("unpacked/v1/sha256");
    assert_eq!(fs::read_dir(&unpacked).unwrap().count(), 1);
    user.hull(["rmi", BUSYBOX]).output().exits(0);
    assert_eq!(fs::read_dir(&unpacked).unwrap().count(), 0);
}
