//! An agent on a socket of its own, an image, and a client that speaks the protocol.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hull_guest::protocol::*;
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "cat", "dd", "echo", "false", "hostname", "id", "ip", "kill", "ls", "mkdir", "mknod", "mount", "ps",
    "pwd", "rm", "sh", "sleep", "stty", "sync", "test", "true", "touch", "tty", "umount", "unshare", "wc",
    "yes", "env", "grep", "stat", "readlink", "nslookup", "ping",
];

/// Docker's default capabilities.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The image, made once a test run; None where that is not possible, with the reason printed.
pub fn image() -> Option<&'static Path> {
    static IMAGE: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let made = IMAGE.get_or_init(|| match make_image() {
        Ok(image) => Some(image),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    });
    made.as_ref().map(|(_, path)| path.as_path())
}

fn make_image() -> Result<(TempDir, PathBuf), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("containers in namespaces need root".into());
    }
    if !Path::new(BUSYBOX).exists() {
        return Err(format!("{BUSYBOX} is missing (package busybox-static)"));
    }
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    for name in ["bin", "etc", "tmp", "proc", "secret"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")
        .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\napp:x:1001:\nvideo:x:44:app\n").unwrap();
    fs::write(root.join("etc/not-executable"), "x").unwrap();
    fs::write(root.join("bin/no-interpreter"), "#!/nowhere/sh\n").unwrap();
    fs::set_permissions(root.join("bin/no-interpreter"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("secret/file"), "hidden").unwrap();
    let data = root.join("image/data");
    fs::create_dir_all(data.join("inner")).unwrap();
    fs::write(data.join("file"), "in the image\n").unwrap();
    fs::write(data.join("inner/deep"), "deep in the image\n").unwrap();
    symlink("/etc/shadow", data.join("link")).unwrap();
    chown(&data, Some(7), Some(8)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o2750)).unwrap();
    let links = [
        ("/tmp/../../../..", "escape"),
        ("/proc", "to-proc"),
        ("/dev", "to-dev"),
        ("/nowhere-in-the-image", "dangling"),
        ("tmp/../nowhere-in-the-image-either", "dangling-file"),
        ("loop", "loop"),
    ];
    for (target, name) in links {
        symlink(target, root.join(name)).unwrap();
    }
    let image = folder.path().join("image.erofs");
    let made = Command::new("mkfs.erofs").arg(&image).arg(&root).output();
    match made {
        Ok(output) if output.status.success() => Ok((folder, image)),
        Ok(output) => Err(format!("mkfs.erofs failed: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("mkfs.erofs: {error} (package erofs-utils)")),
    }
}

/// A running `hull-init --host`.
pub struct Agent {
    pub folder: TempDir,
    pub process: Child,
    pub life: Option<UnixStream>,
    /// Below each hierarchy's root.
    pub cgroup: String,
    image: &'static Path,
    /// It is in a user namespace that has a root and no other id.
    unprivileged: bool,
}

impl Agent {
    /// None, with a reason printed, where tests like these cannot run.
    pub fn start() -> Option<Agent> {
        Self::start_with(None)
    }

    /// With a network namespace handed over.
    pub fn start_with(network: Option<OwnedFd>) -> Option<Agent> {
        Self::start_as(network, false)
    }

    /// In a user namespace.
    pub fn start_unprivileged() -> Option<Agent> {
        let possible = Command::new("unshare").args(["-r", "-m", "true"]).status();
        if !possible.is_ok_and(|status| status.success()) {
            eprintln!("skipped: needs unshare and user namespaces");
            return None;
        }
        Self::start_as(None, true)
    }

    fn start_as(network: Option<OwnedFd>, unprivileged: bool) -> Option<Agent> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let image = image()?;
        let folder = TempDir::new().unwrap();
        let listener = UnixListener::bind(folder.path().join("agent.sock")).unwrap();
        let (life, agents_life) = UnixStream::pair().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("hull/guest-test-{}-{number}", std::process::id());
        let handed = vec![listener.into(), agents_life.into()].into_iter().chain(network).collect();
        let process = spawn(handed, unprivileged);
        Some(Agent { folder, process, life: Some(life), cgroup, image, unprivileged })
    }

    pub fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("agent.sock")).unwrap()
    }

    /// Sends a request on a connection of its own.
    pub fn send(&self, request: &Request) -> UnixStream {
        let mut connection = self.connect();
        write_frame(&mut connection, request).unwrap();
        connection
    }

    pub fn call(&self, request: &Request) -> Result<Outcome, CallError> {
        receive(&mut self.send(request))
    }

    /// A container of docker's defaults that runs `args`, with folders of its own.
    pub fn spec(&self, args: &[&str]) -> ContainerSpec {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let id = format!("{:064x}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder.path().join(&id);
        for name in ["upper", "work"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        ContainerSpec {
            hostname: "box".into(),
            domainname: "example".into(),
            root: Root {
                source: if self.unprivileged {
                    RootSource::Folder {
                        lower: self.image.with_file_name("root").as_os_str().into(),
                        upper: folder.join("upper").as_os_str().into(),
                        work: folder.join("work").as_os_str().into(),
                    }
                } else {
                    RootSource::Files {
                        metadata: self.image.as_os_str().into(),
                        layers: vec![],
                        upper: folder.join("upper").as_os_str().into(),
                        work: folder.join("work").as_os_str().into(),
                    }
                },
                readonly: false,
            },
            process: Process {
                args: args.iter().map(|&arg| arg.into()).collect(),
                env: vec!["PATH=/usr/bin:/bin".into()],
                cwd: "/".into(),
                user: "".into(),
                terminal: None,
                stdin: false,
                capabilities: CAPABILITIES.iter().map(|&name| name.to_owned()).collect(),
                no_new_privileges: false,
                seccomp: Seccomp::Default,
                rlimits: vec![],
                init: false,
            },
            mounts: vec![],
            files: vec![],
            masked_paths: ["/proc/kcore", "/proc/keys", "/proc/nowhere", "/sys/firmware"]
                .map(String::from)
                .into(),
            readonly_paths: ["/proc/sys", "/proc/bus"].map(String::from).into(),
            resources: Resources::default(),
            cgroup: (!self.unprivileged).then(|| format!("{}/{id}", self.cgroup)),
            share: Share::default(),
            id,
        }
    }

    /// `args` in a running container, with what that has.
    pub fn exec(&self, container: &ContainerSpec, args: &[&str]) -> ExecSpec {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        ExecSpec {
            container: container.id.clone(),
            exec_id: format!("e{:063x}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            process: Process {
                args: args.iter().map(|&arg| arg.into()).collect(),
                stdin: false,
                init: false,
                ..container.process.clone()
            },
            place: ExecPlace::Container,
        }
    }

    pub fn create_exec(&self, exec: &ExecSpec) -> Result<Outcome, CallError> {
        self.call(&Request::Exec(Box::new(exec.clone())))
    }

    pub fn attach(&self, container: &str, stream: Stream) -> UnixStream {
        let request = Request::Attach(AttachArgs { container: container.into(), stream });
        let mut connection = self.send(&request);
        assert!(matches!(receive(&mut connection), Ok(Outcome::Done)));
        connection
    }

    pub fn create(&self, spec: &ContainerSpec) -> Result<Outcome, CallError> {
        self.call(&Request::CreateContainer(Box::new(spec.clone())))
    }

    pub fn start_container(&self, id: &str) -> Result<Outcome, CallError> {
        self.call(&Request::Start(args(id)))
    }

    pub fn wait(&self, id: &str) -> ExitStatus {
        match self.call(&Request::Wait(args(id))) {
            Ok(Outcome::Exited(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    pub fn delete(&self, id: &str) {
        assert!(matches!(self.call(&Request::Delete(args(id))), Ok(Outcome::Done)));
    }

    /// The whole life of a container without input.
    pub fn run(&self, spec: &ContainerSpec) -> Ran {
        self.create(spec).unwrap();
        let mut stdout = self.attach(&spec.id, Stream::Stdout);
        let stderr = spec.process.terminal.is_none().then(|| self.attach(&spec.id, Stream::Stderr));
        let started = self.start_container(&spec.id);
        let out = read_all(&mut stdout);
        let err = stderr.map(|mut stderr| read_all(&mut stderr)).unwrap_or_default();
        let status = self.wait(&spec.id);
        self.delete(&spec.id);
        Ran { started: started.err(), out, err, status }
    }

    /// What a shell command prints, with its errors.
    pub fn shell(&self, script: &str) -> String {
        self.shell_as(script, |_| ())
    }

    pub fn shell_as(&self, script: &str, change: impl FnOnce(&mut ContainerSpec)) -> String {
        let mut spec = self.spec(&["sh", "-c", script]);
        change(&mut spec);
        let ran = self.run(&spec);
        assert!(ran.started.is_none(), "{:?}", ran.started);
        ran.out + &ran.err
    }

    /// Every folder of its cgroup that is left in any hierarchy.
    pub fn cgroups_left(&self) -> Vec<PathBuf> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mountinfo.lines().filter(|line| line.contains(" - cgroup"));
        let points = mounts.filter_map(|line| line.split(' ').nth(4));
        points.map(|point| Path::new(point).join(&self.cgroup)).filter(|path| path.exists()).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.life = None;
        let _ = self.process.wait();
    }
}

/// What became of a container.
#[derive(Debug)]
pub struct Ran {
    pub started: Option<CallError>,
    pub out: String,
    pub err: String,
    pub status: ExitStatus,
}

pub fn args(container: &str) -> ContainerArgs {
    ContainerArgs { container: container.into() }
}

pub fn receive(connection: &mut UnixStream) -> Result<Outcome, CallError> {
    match read_frame(connection).unwrap() {
        Reply::Ok(outcome) => Ok(outcome),
        Reply::Error(error) => Err(error),
    }
}

pub fn read_all(connection: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `wanted` has come.
pub fn read_until(connection: &mut UnixStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    while !text.contains(wanted) {
        let len = connection.read(&mut chunk).unwrap();
        assert!(len > 0, "ended after {text:?}");
        text += &String::from_utf8_lossy(&chunk[..len]);
    }
    text
}

pub fn write_text(connection: &mut UnixStream, text: &str) {
    connection.write_all(text.as_bytes()).unwrap();
}

/// With these as descriptors 3, 4 and, if there are as many, 5.
fn spawn(handed: Vec<OwnedFd>, unprivileged: bool) -> Child {
    let program = env!("CARGO_BIN_EXE_hull-init");
    let mut command = Command::new(if unprivileged { "unshare" } else { program });
    if unprivileged {
        command.args(["-r", "-m", "--propagation", "slave", program]);
    }
    command.args(["--host", "--listen-fd", "3", "--life-fd", "4"]);
    if handed.len() > 2 {
        command.args(["--net-fd", "5"]);
    }
    command.stdin(Stdio::null());
    let numbers: Vec<_> = handed.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: only async-signal-safe calls between fork and exec, none of which allocates. The numbers are first
    // copied out of the way, so that no dup2 closes another's source.
    unsafe {
        command.pre_exec(move || {
            let mut copies = [0; 3];
            for (copy, number) in copies.iter_mut().zip(&numbers) {
                *copy = libc::fcntl(*number, libc::F_DUPFD_CLOEXEC, 10);
            }
            for (number, copy) in (3..).zip(&copies[..numbers.len()]) {
                if *copy < 0 || libc::dup2(*copy, number) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    command.spawn().unwrap()
}
