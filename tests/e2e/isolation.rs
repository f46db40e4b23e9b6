//! Which mode a container gets, and what it is told.

use std::fs;

use hull_tests::{BUSYBOX, Hull, Isolation, hull, isolation, paths, unique};

fn config(text: &str) -> std::path::PathBuf {
    fs::create_dir_all(paths::temporary()).unwrap();
    let path = paths::temporary().join(unique("config") + ".toml");
    fs::write(&path, text).unwrap();
    path
}

fn kvm_works() -> bool {
    hull(["info"]).text().lines().any(|line| line.starts_with("KVM") && !line.contains("not"))
}

#[test]
fn auto_takes_a_vm_or_warns_once_with_the_reason() {
    for hull in [
        Hull::new(["run", "--rm", BUSYBOX, "uname", "-r"]),
        Hull::new(["run", "--rm", "--isolation", "auto", BUSYBOX, "uname", "-r"]),
    ] {
        let output = hull.output().exits(0);
        if kvm_works() {
            assert_eq!(output.stderr, "");
        } else {
            assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
            assert!(output.stderr.starts_with("hull: warning: "), "{}", output.stderr);
            assert!(output.stderr.contains("namespace"), "{}", output.stderr);
        }
    }
}

#[test]
fn mode_asked_for_by_name_brings_no_warning() {
    assert_eq!(Hull::run([BUSYBOX, "true"]).output().exits(0).stderr, "");
}

#[test]
fn vm_asked_for_by_name_is_refused_where_kvm_does_not_work() {
    let output = Hull::new(["run", "--rm", "--isolation", "vm", BUSYBOX, "echo", "ran"]).output();
    if kvm_works() {
        assert_eq!(output.text(), "ran");
    } else {
        let line = output.fails(125);
        assert!(line.contains("KVM"), "{line}");
    }
}

#[test]
fn require_vm_forbids_namespaces_however_they_are_asked_for() {
    let file = config("require_vm = true\n");
    let run = |mode: &str| {
        Hull::new(["run", "--rm", "--isolation", mode, BUSYBOX, "echo", "ran"])
            .env("HULL_CONFIG", &file)
            .output()
    };
    let line = run("namespace").fails(125);
    assert!(line.contains("require_vm"), "{line}");
    match isolation() {
        Isolation::Vm => assert_eq!(run("auto").text(), "ran"),
        Isolation::Namespace if kvm_works() => assert_eq!(run("vm").text(), "ran"),
        Isolation::Namespace => drop(run("auto").fails(125)),
    }
    let text = Hull::new(["info"]).env("HULL_CONFIG", &file).output().text();
    assert!(text.lines().any(|line| line.starts_with("Require VM") && line.ends_with("yes")), "{text}");
}

#[test]
fn config_file_chooses_the_mode_and_the_option_wins() {
    let file = config(&format!("isolation = \"{}\"\n", isolation().word()));
    let output =
        Hull::new(["run", "--rm", BUSYBOX, "echo", "ran"]).env("HULL_CONFIG", &file).output().exits(0);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (b"ran\n".as_slice(), ""));
    Hull::run([BUSYBOX, "true"]).env("HULL_CONFIG", &file).output().exits(0);
}

#[test]
fn config_file_that_is_missing_or_wrong_is_refused() {
    let line = Hull::run([BUSYBOX, "true"]).env("HULL_CONFIG", "/no/such.toml").output().fails(125);
    assert!(line.contains("/no/such.toml"), "{line}");
    let file = config("requirevm = true\n");
    let line = Hull::run([BUSYBOX, "true"]).env("HULL_CONFIG", &file).output().fails(125);
    assert!(line.contains("requirevm"), "{line}");
}

#[test]
fn kernel_that_is_not_there_is_refused() {
    let line = Hull::new([
        "run",
        "--rm",
        "--isolation",
        isolation().word(),
        "--kernel",
        "/no/such/vmlinux",
        BUSYBOX,
        "true",
    ])
    .output()
    .fails(125);
    assert!(line.contains("/no/such/vmlinux") || line.contains("--kernel"), "{line}");
}

#[test]
fn mode_of_a_container_is_stored() {
    let name = unique("mode");
    Hull::keep(["--name", &name, BUSYBOX, "true"]).output().exits(0);
    let table = hull(["ps", "-a"]).text();
    assert!(table.lines().any(|line| line.contains(&name) && line.contains(isolation().word())), "{table}");
    hull(["rm", &name]).exits(0);
}
