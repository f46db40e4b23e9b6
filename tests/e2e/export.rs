//! `export`, of containers that run and of those that do not, and back by `import`.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

use hull_tests::pod::{ends_by, murder, supervisor};
use hull_tests::{Output, Store, unique};

/// What a container leaves that is not like its image.
const WORK: &str = "echo hi >/etc/new; ln /etc/new /etc/hard; ln -s /nowhere /sym; rm /bin/vi; mkfifo /f; \
     mkdir -p /deep/er; chmod 1700 /deep; chown 1000:1001 /deep/er; touch -d @1000 /old; \
     mkdir /tmp/mine; echo on-the-tmpfs >/fs/file";

/// What shows it from inside of another.
const LOOK: &str = "cat /etc/new; stat -c '%h %a' /etc/hard; readlink /sym; ls /bin/vi /fs 2>&1; \
     stat -c '%F %a %u %g' /f /deep /deep/er; stat -c %Y /old; ls /tmp";

const SEEN: &str = "hi\n2 644\n/nowhere\nls: /bin/vi: No such file or directory\n/fs:\nfifo 644 0 0\n\
     directory 1700 0 0\ndirectory 755 1000 1001\n1000\nmine";

fn exported(store: &Store, name: &str, path: &Path) -> Output {
    store.hull(["export", "-o", path.to_str().unwrap(), name]).output()
}

fn seen_in_import(store: &Store, archive: &Path) -> String {
    let image = unique("imported");
    store.hull(["import", archive.to_str().unwrap(), &image]).output().exits(0);
    let seen = store.run([image.as_str(), "sh", "-c", LOOK]).output().text();
    store.hull(["rmi", &image]).output().exits(0);
    seen
}

#[test]
fn a_container_comes_back_as_an_image_whether_it_runs_or_not() {
    let store = Store::with_busybox();
    let (running, stopped) = (store.scratch.join("running.tar"), store.scratch.join("stopped.tar"));
    let words = ["-d", "--name", "ex", "--tmpfs", "/fs", "busybox", "sleep", "1000"];
    store.keep(words).output().exits(0);
    store.hull(["exec", "ex", "sh", "-c", WORK]).output().exits(0);

    exported(&store, "ex", &running).exits(0);
    assert_eq!(seen_in_import(&store, &running), SEEN);
    store.hull(["pause", "ex"]).output().exits(0);
    exported(&store, "ex", &stopped).exits(0);
    assert!(fs::read(&running).unwrap() == fs::read(&stopped).unwrap(), "paused, it is the same");
    store.hull(["unpause", "ex"]).output().exits(0);
    store.hull(["stop", "-t", "0", "ex"]).output().exits(0);

    exported(&store, "ex", &stopped).exits(0);
    assert_eq!(seen_in_import(&store, &stopped), SEEN);
    let piped = store.hull(["export", "ex"]).output().exits(0).stdout;
    assert!(fs::read(&stopped).unwrap() == piped);
    // It is as it was, and starts at once.
    let state = store.hull(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ex"]).output().text();
    assert_eq!(state, "exited 137");
    store.hull(["start", "ex"]).output().exits(0);
    store.hull(["rm", "-f", "ex"]).output().exits(0);
}

#[test]
fn what_was_only_created_has_the_images_files() {
    let store = Store::with_busybox();
    let words = ["create", "--isolation", hull_tests::isolation().word(), "--rm", "--name", "new", "busybox"];
    store.hull(words.iter().chain(&["false"])).output().exits(0);
    let archive = store.scratch.join("created.tar");
    exported(&store, "new", &archive).exits(0);
    let image = unique("imported");
    store.hull(["import", archive.to_str().unwrap(), &image]).output().exits(0);
    assert_eq!(store.run([image.as_str(), "busybox", "echo", "same"]).output().text(), "same");
    let state = store.hull(["inspect", "-f", "{{.State.Status}}", "new"]).output().text();
    assert_eq!(state, "created", "nothing of it has run, and --rm has not come to it");
    store.hull(["rm", "new"]).output().exits(0);
}

/// An export that has begun, and that nobody reads on.
fn stalled(store: &Store, name: &str) -> Child {
    let mut command = store.hull(["export", name]).into_command();
    let mut export = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    export.stdout.as_mut().unwrap().read_exact(&mut [0; 512]).unwrap();
    export
}

fn end(mut export: Child) {
    export.kill().unwrap();
    export.wait().unwrap();
}

#[test]
fn whatever_ends_an_export_the_container_stays() {
    let store = Store::with_busybox();
    let words = ["create", "--isolation", hull_tests::isolation().word(), "--rm", "--name", "new", "busybox"];
    let id = store.hull(words.iter().chain(&["true"])).output().text();
    let state = || store.hull(["inspect", "-f", "{{.State.Status}}", "new"]).output().text();
    let export = stalled(&store, "new");
    ends_by(supervisor(&id).unwrap(), || end(export));
    assert_eq!(state(), "created", "its client has gone");

    let export = stalled(&store, "new");
    murder(supervisor(&id).unwrap());
    end(export);
    store.hull(["ps", "-a"]).output().exits(0);
    assert_eq!(state(), "created", "its supervisor has gone");

    let export = stalled(&store, "new");
    murder(supervisor(&id).unwrap());
    end(export);
    exported(&store, "new", &store.scratch.join("again.tar")).exits(0);

    let export = stalled(&store, "new");
    store.hull(["rm", "new"]).output().exits(0);
    end(export);
}

#[test]
fn what_cannot_be_exported_leaves_no_file() {
    let store = Store::with_busybox();
    let target = store.scratch.join("out.tar");
    let line = exported(&store, "nothing", &target).fails(1);
    assert!(line.contains("No such container: nothing"), "{line}");
    let mut left = fs::read_dir(&store.scratch).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.all(|name| !name.to_string_lossy().contains("out.tar")));
}
