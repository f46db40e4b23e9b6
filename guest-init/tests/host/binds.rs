//! Folders and files of the host in a container.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_guest::protocol::*;

use crate::exec;
use crate::fixture::{Agent, args, read_all, receive};

pub fn bind(source: &Path, target: &str) -> Bind {
    Bind {
        source: BindSource::Path { path: source.as_os_str().into() },
        subpath: None,
        target: target.into(),
        readonly: false,
        recursive: true,
        propagation: Propagation::Private,
        copy_image: false,
    }
}

fn readonly(source: &Path, target: &str) -> Bind {
    Bind { readonly: true, ..bind(source, target) }
}

/// A folder beside the containers' with a file and a folder in it.
pub fn folder(agent: &Agent) -> PathBuf {
    let folder = agent.folder.path().join("shared");
    fs::create_dir_all(folder.join("inner")).unwrap();
    fs::write(folder.join("file"), "from the host\n").unwrap();
    folder
}

impl Agent {
    /// What a shell prints with these mounts.
    pub fn shell_with(&self, binds: Vec<Bind>, script: &str) -> String {
        self.shell_as(script, |spec| spec.mounts = binds.into_iter().map(Mount::Bind).collect())
    }

    /// Why a container with this mount cannot be.
    fn refusal(&self, bind: Bind) -> String {
        let mut spec = self.spec(&["true"]);
        spec.mounts = vec![Mount::Bind(bind)];
        self.create(&spec).unwrap_err().message
    }
}

/// A mount of the host's for as long as this lives.
struct HostMount<'a>(&'a Path);

impl<'a> HostMount<'a> {
    fn tmpfs(at: &'a Path, propagation: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "none", at.to_str().unwrap()]);
        mount(&[propagation, at.to_str().unwrap()]);
        HostMount(at)
    }
}

impl Drop for HostMount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-R", "-l"]).arg(self.0).status();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mount(args: &[&str]) {
    assert!(Command::new("mount").args(args).status().unwrap().success(), "{args:?}");
}

#[test]
fn folders_and_files_are_shared_both_ways() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let binds = vec![bind(&shared, "/data/deep"), bind(&shared.join("file"), "/etc/one")];
    let told = agent.shell_with(
        binds,
        "cat /data/deep/file /etc/one; echo made > /data/deep/new; echo more >> /etc/one; stat -c '%a %F' /data; touch /data/beside && ls /data/deep",
    );
    assert_eq!(told, "from the host\nfrom the host\n755 directory\nfile\ninner\nnew\n");
    assert_eq!(fs::read_to_string(shared.join("new")).unwrap(), "made\n");
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "from the host\nmore\n");
}

#[test]
fn readonly_binds_are_so_with_all_below_them() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let inner = shared.join("inner");
    let _mounted = HostMount::tmpfs(&inner, "--make-private");
    let told = agent.shell_with(
        vec![readonly(&shared, "/data"), readonly(&shared.join("file"), "/one")],
        "touch /data/x /data/inner/x /data/file; echo x >> /one; mount -o remount,rw,bind /data",
    );
    assert_eq!(told.matches("Read-only file system").count(), 4, "{told}");
    let told = agent.shell_as("touch /data/inner/x /tmp/y /z", |spec| {
        spec.root.readonly = true;
        spec.mounts = vec![Mount::Bind(bind(&shared, "/data"))];
    });
    assert_eq!(told.matches("Read-only file system").count(), 2, "the root is, the bind is not: {told}");
    assert!(inner.join("x").exists());
}

#[test]
fn bind_that_is_not_recursive_leaves_out_what_is_mounted_below() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let inner = shared.join("inner");
    let _mounted = HostMount::tmpfs(&inner, "--make-private");
    fs::write(inner.join("above"), "").unwrap();
    let flat = Bind { recursive: false, ..bind(&shared, "/flat") };
    let told = agent.shell_with(vec![flat, bind(&shared, "/all")], "ls /flat/inner /all/inner");
    assert_eq!(told, "/all/inner:\nabove\n\n/flat/inner:\n");
}

#[test]
fn exec_sees_binds_and_an_export_does_not() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let spec = exec::idle_as(&agent, |spec| spec.mounts = vec![Mount::Bind(bind(&shared, "/data"))]);
    assert_eq!(exec::shell(&agent, &spec, "cat /data/file"), "from the host\n");
    let mut export = agent.send(&Request::Archive(args(&spec.id)));
    assert!(receive(&mut export).is_ok());
    let archive = read_all(&mut export);
    assert!(archive.contains("data/") && !archive.contains("from the host"));
    agent.delete(&spec.id);
}

#[test]
fn missing_source_is_told_in_one_line() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let told = agent.refusal(bind(&shared.join("nothing"), "/data"));
    assert_eq!(told, format!("bind source path does not exist: {}/nothing", shared.display()));
    let below = |path: &str| Bind { subpath: Some(path.into()), ..bind(&shared, "/data") };
    let told = agent.refusal(below("nothing"));
    let path = shared.display();
    assert_eq!(told, format!("cannot access path {path}/nothing: No such file or directory"));
    symlink("/etc", shared.join("out")).unwrap();
    symlink("inner", shared.join("in")).unwrap();
    let told = agent.refusal(below("out/passwd"));
    assert_eq!(told, format!("cannot access path {path}/out/passwd: it leads out of the volume"));
    fs::write(shared.join("inner/found"), "").unwrap();
    assert_eq!(agent.shell_with(vec![below("in")], "ls /data"), "found\n");
    assert_eq!(agent.shell_with(vec![below("file")], "cat /data"), "from the host\n");
}

#[test]
fn folder_on_a_file_and_file_on_a_folder_are_refused_in_dockers_words() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    for (source, target) in [(shared.clone(), "/etc/passwd"), (shared.join("file"), "/tmp")] {
        let told = agent.refusal(bind(&source, target));
        let begin =
            format!("error mounting \"{}\" to rootfs at \"{target}\": not a directory: ", source.display());
        assert!(told.starts_with(&begin) && told.contains("onto a file (or vice-versa)"), "{told}");
    }
    let words = "not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the \
                 specified host path exists and is the expected type";
    let told = agent.refusal(bind(&shared, "/etc/passwd/below"));
    let begin = format!("error mounting \"{}\" to rootfs at \"/etc/passwd/below\": ", shared.display());
    assert_eq!(told, begin + words);
    let mut spec = agent.spec(&["true"]);
    let target = "/etc/passwd".into();
    spec.mounts = vec![Mount::Tmpfs { target, size: None, mode: 0o755, options: vec![] }];
    let told = agent.create(&spec).unwrap_err().message;
    assert_eq!(told, format!("error mounting \"tmpfs\" to rootfs at \"/etc/passwd\": {words}"));
}

#[test]
fn links_of_the_image_lead_a_bind_nowhere_else() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    // "/escape" leads to "/tmp/../../../..".
    let told = agent.shell_with(
        vec![bind(&shared, "/escape/mnt"), bind(&shared.join("file"), "/escape/etc/hosts")],
        "cat /mnt/file /etc/hosts",
    );
    assert_eq!(told, "from the host\nfrom the host\n");
    assert!(!Path::new("/mnt/file").exists());
    assert_eq!(agent.refusal(bind(&shared, "/escape")), "invalid specification: destination can't be '/'");
    // What leads to nothing is made, inside.
    let told = agent.shell_with(
        vec![bind(&shared, "/dangling/below"), bind(&shared.join("file"), "/dangling-file")],
        "ls /nowhere-in-the-image/below; cat /nowhere-in-the-image-either",
    );
    assert_eq!(told, "file\ninner\nfrom the host\n");
    assert!(!Path::new("/nowhere-in-the-image").exists());
    for target in ["/to-proc/self", "/to-proc/sys/kernel", "/to-proc/1/root/tmp"] {
        let told = agent.refusal(bind(&shared, target));
        assert!(told.contains("inside /proc") || told.starts_with("Failed to open"), "{target}: {told}");
    }
    let told = agent.refusal(bind(&shared, "/to-proc"));
    assert_eq!(told, "\"/proc\" cannot be mounted because it is not of type proc");
    let told = agent.refusal(bind(&shared, "/loop"));
    assert!(told.ends_with("Too many levels of symbolic links"), "{told}");
}

#[test]
fn proc_of_the_host_can_be_bound_at_its_own_place() {
    let Some(agent) = Agent::start() else { return };
    let told = agent.shell_with(
        vec![bind(Path::new("/proc"), "/proc")],
        "test $(readlink /proc/self) -gt 20 && echo hosts; cat /proc/kcore | wc -c; echo 1 > /proc/sys/vm/drop_caches",
    );
    assert!(told.starts_with("hosts\n0\n") && told.contains("Read-only file system"), "{told}");
}

#[test]
fn dev_of_the_host_can_take_the_place_of_the_containers() {
    let Some(agent) = Agent::start() else { return };
    let script = "stat -c %a /dev/console; test -t 0 && echo x > $(tty) && test -c /dev/full; \
                  grep -c ' /dev/console ' /proc/self/mountinfo; cat /dev/shm/$0";
    let name = format!("hull-test-{}", std::process::id());
    let mut spec = agent.spec(&["sh", "-c", script, &name]);
    spec.mounts =
        vec![Mount::Bind(bind(&folder(&agent), "/dev/mine")), Mount::Bind(bind(Path::new("/dev"), "/dev/"))];
    spec.mounts.reverse();
    spec.process.terminal = Some(TerminalSize { columns: 80, rows: 24 });
    let shm = Path::new("/dev/shm").join(name);
    fs::write(&shm, "of the host\n").unwrap();
    let ran = agent.run(&spec);
    fs::remove_file(shm).unwrap();
    assert_eq!(ran.out, "600\r\nx\r\n1\r\nof the host\r\n", "{ran:?}");
}

#[test]
fn link_in_place_of_the_null_device_masks_nothing_and_is_nobodys_input() {
    let Some(agent) = Agent::start() else { return };
    let forged = folder(&agent);
    symlink("/proc/sys/kernel/core_pattern", forged.join("null")).unwrap();
    for target in ["/dev", "/to-dev"] {
        let told = agent.refusal(bind(&forged, target));
        assert!(told.starts_with("Failed to open /dev/null: "), "{target}: {told}");
    }
    fs::remove_file(forged.join("null")).unwrap();
    fs::write(forged.join("null"), "").unwrap();
    assert!(agent.refusal(bind(&forged, "/dev")).contains("not the null device"));
}

#[test]
fn mounts_are_made_in_the_order_given() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let tmpfs = |target: &str, options: &[&str]| Mount::Tmpfs {
        target: target.into(),
        size: Some(64 << 10),
        mode: 0o750,
        options: options.iter().map(|&word| word.into()).collect(),
    };
    let told = agent.shell_as(
        "ls /a; ls /a/inner; stat -c '%a %u:%g' /a/inner; touch /a/inner/1; dd if=/dev/zero of=/a/inner/big bs=1k count=100 2>&1 | grep -c 'No space'",
        |spec| {
            spec.mounts = vec![
                tmpfs("/a", &[]),
                Mount::Bind(bind(&shared, "/a")),
                tmpfs("/a/inner", &["uid=7", "gid=8"]),
            ];
        },
    );
    assert_eq!(told, "file\ninner\n750 7:8\n1\n");
    assert_eq!(fs::read_dir(shared.join("inner")).unwrap().count(), 0);
}

#[test]
fn mounts_of_the_host_show_as_the_propagation_says() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let _mounted = HostMount::tmpfs(&shared, "--make-shared");
    for name in ["host", "container"] {
        fs::create_dir(shared.join(name)).unwrap();
    }
    let cases = [
        (Propagation::Private, "", false),
        (Propagation::Slave, "seen\n", false),
        (Propagation::Shared, "seen\n", true),
    ];
    for (propagation, told, shows) in cases {
        for recursive in [true, false] {
            let mut spec = agent.spec(&[
                "sh",
                "-c",
                "ls /data/host; mount -t tmpfs none /data/container; touch /data/container/made; read x",
            ]);
            spec.mounts = vec![Mount::Bind(Bind { propagation, recursive, ..bind(&shared, "/data") })];
            spec.process.capabilities.push("CAP_SYS_ADMIN".into());
            spec.process.stdin = true;
            agent.create(&spec).unwrap();
            let host = shared.join("host");
            let mounted = HostMount::tmpfs(&host, "--make-private");
            fs::write(host.join("seen"), "").unwrap();
            let stdin = agent.attach(&spec.id, Stream::Stdin);
            let mut stdout = agent.attach(&spec.id, Stream::Stdout);
            agent.start_container(&spec.id).unwrap();
            drop(stdin);
            assert_eq!(read_all(&mut stdout), told, "{propagation:?} {recursive}");
            agent.wait(&spec.id);
            agent.delete(&spec.id);
            drop(mounted);
            let made = shared.join("container/made").exists();
            assert_eq!(made, shows, "{propagation:?} {recursive}");
            if made {
                drop(HostMount(&shared.join("container")));
            }
        }
    }
}

#[test]
fn propagation_that_a_source_has_not_is_refused_in_dockers_words() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let _mounted = HostMount::tmpfs(&shared, "--make-private");
    let path = shared.display();
    for (propagation, lacks) in [(Propagation::Shared, "shared"), (Propagation::Slave, "shared or slave")] {
        let told = agent.refusal(Bind { propagation, ..bind(&shared, "/data") });
        assert_eq!(told, format!("path {path} is mounted on {path} but it is not a {lacks} mount"));
    }
}

#[test]
fn what_the_host_mounts_after_the_agent_began_can_be_bound() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    // Said by an answer: the agent has a mount namespace of its own by now.
    assert!(agent.call(&Request::List).is_ok());
    let _mounted = HostMount::tmpfs(&shared, "--make-private");
    fs::write(shared.join("later"), "").unwrap();
    assert_eq!(agent.shell_with(vec![bind(&shared, "/data")], "ls /data"), "later\n");
}

#[test]
fn sockets_and_devices_of_the_host_are_bound_as_files() {
    let Some(agent) = Agent::start() else { return };
    let shared = folder(&agent);
    let socket = shared.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let binds = vec![bind(&socket, "/run/some.sock"), bind(Path::new("/dev/null"), "/tmp/null")];
    assert_eq!(
        agent.shell_with(binds, "stat -c %F /run/some.sock /tmp/null"),
        "socket\ncharacter special file\n"
    );
    let made = fs::metadata(&socket).unwrap();
    assert_eq!((made.uid(), made.permissions().mode() & 0o777), (0, 0o755));
}

#[test]
fn binds_work_in_a_user_namespace_but_cannot_uncover_what_is_mounted_upon() {
    let outside = tempfile::TempDir::new().unwrap();
    let _mounted = is_root().then(|| HostMount::tmpfs(outside.path(), "--make-shared"));
    let Some(agent) = Agent::start_unprivileged() else { return };
    let shared = folder(&agent);
    fs::write(outside.path().join("file"), "of a shared mount\n").unwrap();
    let binds = vec![
        readonly(&shared, "/data"),
        Bind { recursive: false, ..bind(&shared, "/flat") },
        Bind { propagation: Propagation::Slave, ..bind(outside.path(), "/slave") },
    ];
    let told = agent.shell_with(
        binds,
        "cat /data/file /slave/file; touch /data/x; touch /flat/made && grep -c ' /host/' /proc/self/mountinfo",
    );
    assert!(told.starts_with("from the host\nof a shared mount\n0\n"), "{told}");
    assert_eq!(told.matches("Read-only file system").count(), 1, "{told}");
    assert!(shared.join("made").exists());
    let told = agent.shell_with(
        vec![readonly(Path::new("/"), "/host")],
        "ls -d /host/proc/1 /host/dev/null; touch /host/tmp/x",
    );
    assert!(told.starts_with("/host/dev/null\n/host/proc/1\n") && told.contains("Read-only"), "{told}");
    let told = agent.refusal(Bind { propagation: Propagation::Shared, ..bind(outside.path(), "/a") });
    assert!(told.ends_with("but it is not a shared mount"), "{told}");
    let mut spec = agent.spec(&["true"]);
    let target = "/run/secrets/a".into();
    spec.files =
        vec![OverlaidFile { target, content: "".into(), mode: 0o400, uid: 7, gid: 8, readonly: true }];
    let told = agent.create(&spec).unwrap_err().message;
    assert!(told.starts_with("There is no 7:8 among the ids that hull's user has"), "{told}");
    let told = agent.refusal(Bind { recursive: false, ..bind(Path::new("/"), "/host") });
    let wanted =
        "Failed to bind / without what is mounted below it: a user without root may not see what that hides";
    assert_eq!(told, wanted);
}

#[test]
fn whole_host_can_be_bound_readonly() {
    let Some(agent) = Agent::start() else { return };
    let told = agent.shell_with(
        vec![readonly(Path::new("/"), "/host")],
        "ls -d /host/proc/1; touch /host/tmp/hull-was-here /host/dev/shm/hull-was-here; echo 1 > /host/proc/sys/vm/drop_caches; ls /escape/host/secret",
    );
    assert_eq!(told.matches("Read-only file system").count(), 3, "{told}");
    assert!(told.contains("/host/proc/1\n") && told.contains("/escape/host/secret: No such"), "{told}");
}
