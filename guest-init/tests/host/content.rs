//! What the image and the host put where something is mounted: first uses of volumes, files, secrets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hull_guest::protocol::*;

use crate::binds::{bind, folder};
use crate::fixture::Agent;

#[test]
fn binds_go_below_dev_and_take_the_place_of_overlaid_files() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    fs::write(shared.join("hosts"), "users\n").unwrap();
    let told =
        agent.shell_as("ls /dev/shm /dev/mine; cat /etc/hosts /etc/hostname; cat /proc/uptime", |spec| {
            let binds = [
                bind(&shared.join("inner"), "/dev/shm"),
                bind(&shared, "/dev/mine"),
                bind(&shared.join("hosts"), "//etc/./hosts"),
                bind(&shared.join("file"), "/proc/uptime"),
            ];
            spec.mounts = binds.map(Mount::Bind).into();
            spec.files = [("/etc/hosts", "agents\n"), ("/etc/hostname", "box\n")]
                .map(|(target, content)| OverlaidFile::new(target, content, 0o644))
                .into();
        });
    assert_eq!(told, "/dev/mine:\nfile\nhosts\ninner\n\n/dev/shm:\nusers\nbox\nfrom the host\n");
}

#[test]
fn secrets_have_an_owner_and_cannot_be_changed() {
    let Some(agent) = Agent::start() else { return };
    let secret = |target: &str, mode| OverlaidFile {
        target: target.into(),
        content: format!("secret of {target}\n").into(),
        mode,
        uid: 1000,
        gid: 1001,
        readonly: true,
    };
    let script = "cd /run/secrets; stat -c '%a %u:%g %n' .. . *; cat one; chmod 777 one; echo x >> two; rm one; \
                  grep -c 'run/secrets/.* ro,nosuid,nodev,noexec,' /proc/self/mountinfo; ./two; cat /etc/hosts";
    let told = agent.shell_as(script, |spec| {
        spec.files = vec![
            secret("/run/secrets/one", 0o400),
            OverlaidFile { readonly: false, uid: 0, gid: 0, ..secret("/etc/hosts", 0o644) },
            secret("/run/secrets/two", 0o755),
        ];
        spec.process.capabilities.push("CAP_SYS_ADMIN".into());
    });
    let attributes =
        "755 0:0 ..\n755 0:0 .\n400 1000:1001 one\n755 1000:1001 two\nsecret of /run/secrets/one\n2\n";
    assert!(told.starts_with(&format!("{attributes}secret of /etc/hosts\n")), "{told}");
    assert_eq!(told.matches("Read-only file system").count(), 2, "{told}");
    assert!(told.contains("busy") && told.contains("./two: Permission denied"), "{told}");
    let mut spec = agent.spec(&["true"]);
    spec.files = vec![secret("/etc", 0o400)];
    let refused = agent.create(&spec).unwrap_err().message;
    assert_eq!(refused, "Failed to mount a file at /etc: it is a folder in the container");
}

#[test]
fn content_of_the_image_is_copied_before_anything_is_in_front_of_it() {
    let Some(agent) = Agent::start() else { return };
    let (etc, inner) = (agent.folder.path().join("etc"), agent.folder.path().join("inner"));
    for folder in [&etc, &inner] {
        fs::create_dir(folder).unwrap();
    }
    let copied = |source: &Path, target: &str| Bind { copy_image: true, ..bind(source, target) };
    let nothing = agent.folder.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let told = agent.shell_with(
        vec![
            Bind { readonly: true, ..copied(&etc, "/image/data") },
            copied(&inner, "/image/data/inner"),
            copied(&nothing, "/absent"),
        ],
        "cat /image/data/file /image/data/inner/deep; touch /image/data/x; stat -c '%a %u' /image/data; ls /absent",
    );
    assert_eq!(told.matches("Read-only file system").count(), 1, "{told}");
    assert!(told.contains("in the image\ndeep in the image\n") && told.contains("2750 7\n"), "{told}");
    let made = fs::metadata(&etc).unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (0o2750, 7, 8));
    assert_eq!(fs::read_to_string(inner.join("deep")).unwrap(), "deep in the image\n");
    assert_eq!(fs::read_link(etc.join("link")).unwrap(), Path::new("/etc/shadow"));
    assert_eq!(fs::read_dir(&nothing).unwrap().count(), 0);
}

#[test]
fn links_of_the_image_lead_a_copy_nowhere_else() {
    let Some(agent) = Agent::start() else { return };
    let source = agent.folder.path().join("copied");
    for target in ["/proc", "/to-proc/self", "/loop", "/etc/passwd"] {
        fs::create_dir_all(&source).unwrap();
        let mut spec = agent.spec(&["true"]);
        spec.mounts = vec![Mount::Bind(Bind { copy_image: true, ..bind(&source, target) })];
        assert!(agent.create(&spec).is_err(), "{target}");
        assert_eq!(fs::read_dir(&source).unwrap().count(), 0, "{target}");
    }
    let told = agent
        .shell_with(vec![Bind { copy_image: true, ..bind(&source, "/escape/image/data") }], "ls /image/data");
    assert_eq!(told, "file\ninner\nlink\n");
    assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "in the image\n");
}
