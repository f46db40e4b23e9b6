//! An ordinary user of the machine, who runs `hull` with nothing but what any user has.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::Pid;

use crate::command::{Hull, Output};
use crate::{eventually, paths, unique};

/// Devices that a distribution opens to users, and this machine perhaps to root alone: each as a node with
/// its mode, seen in place of the machine's by the user's processes only.
const DEVICES: [(&str, &str); 2] = [("/dev/net/tun", "10 200"), ("/dev/kvm", "10 232")];

/// Makes the mounts given as pairs, then becomes the user.
const BECOME: &str = r#"
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 97; shift 2; done
shift; user=$1; shift
exec setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
"#;

pub struct User {
    pub name: String,
    pub uid: u32,
    pub home: PathBuf,
    /// First of 65536 ids in /etc/subuid.
    pub first: Option<u32>,
    /// What the user's processes see in place of the machine's.
    shown: Vec<(PathBuf, &'static str)>,
    cgroup: Option<PathBuf>,
}

/// passwd(5) and subuid(5) are locked by one program at a time, which waits for nobody.
fn users_files() -> MutexGuard<'static, ()> {
    static FILES: Mutex<()> = Mutex::new(());
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl User {
    /// With ids of its own in /etc/subuid and /etc/subgid.
    pub fn new() -> User {
        User::make(true)
    }

    /// With no id but its own.
    pub fn single() -> User {
        User::make(false)
    }

    fn make(subordinate: bool) -> User {
        let name = unique("hull").replace('-', "");
        let home = Path::new("/tmp").join(&name);
        let files = users_files();
        let mut add = Command::new("useradd");
        succeed(add.args(["--no-create-home", "--user-group", "--home-dir"]).arg(&home).arg(&name));
        let uid: u32 = succeed(Command::new("id").args(["-u", &name])).trim().parse().unwrap();
        if !subordinate {
            for file in ["/etc/subuid", "/etc/subgid"] {
                let text = fs::read_to_string(file).unwrap();
                let others = text.lines().filter(|line| !line.starts_with(&format!("{name}:")));
                fs::write(file, others.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
            }
        }
        drop(files);
        let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
        let first = subuid.lines().find_map(|line| {
            let rest = line.strip_prefix(&name)?.strip_prefix(':')?;
            rest.split(':').next()?.parse().ok()
        });
        assert_eq!(first.is_some(), subordinate, "{subuid}");
        for folder in ["", "bin", "run", "dev"] {
            fs::create_dir(home.join(folder)).unwrap();
        }
        fs::set_permissions(home.join("run"), Permissions::from_mode(0o700)).unwrap();
        for folder in ["", "run"] {
            chown(home.join(folder), Some(uid), Some(uid)).unwrap();
        }
        for part in ["hull", "hull-fs", "hull-init", "hull-vmm", "vmlinux"] {
            if paths::binary(part).exists() {
                fs::copy(paths::binary(part), home.join("bin").join(part)).unwrap();
            }
        }
        let mut user = User { name, uid, home, first, shown: Vec::new(), cgroup: None };
        user.open_devices();
        user
    }

    fn open_devices(&mut self) {
        for (path, number) in DEVICES.into_iter().filter(|(path, _)| Path::new(path).exists()) {
            let node = self.home.join("dev").join(Path::new(path).file_name().unwrap());
            succeed(Command::new("mknod").args(["-m", "666"]).arg(&node).arg("c").args(number.split(' ')));
            self.shown.push((node, path));
        }
    }

    /// Gives the user a cgroup, as systemd gives each user one, and puts what it starts into one below. None:
    /// there is no cgroup v2 here.
    pub fn give_cgroup(&mut self) -> Option<PathBuf> {
        let unified = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let unified = unified.into_iter().find(|path| path.join("cgroup.procs").exists())?;
        let given = unified.join(&self.name);
        fs::create_dir_all(given.join("session")).unwrap();
        for name in ["", "cgroup.procs", "cgroup.subtree_control", "session", "session/cgroup.procs"] {
            chown(given.join(name), Some(self.uid), Some(self.uid)).unwrap();
        }
        self.cgroup = Some(given.clone());
        Some(given)
    }

    /// Has the user ask this resolver.
    pub fn resolver(&mut self, address: &str) {
        let file = self.home.join("resolv.conf");
        fs::write(&file, format!("nameserver {address}\n")).unwrap();
        self.shown.push((file, "/etc/resolv.conf"));
    }

    /// A program that the user runs, with an environment of theirs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", BECOME, "sh"]);
        for (node, path) in &self.shown {
            command.arg(node).arg(path);
        }
        command.arg("--").arg(self.uid.to_string()).arg(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.home).env("XDG_RUNTIME_DIR", self.home.join("run")).current_dir("/");
        if let Some(given) = &self.cgroup {
            let file = given.join("session/cgroup.procs");
            let file = std::ffi::CString::new(file.into_os_string().into_encoded_bytes()).unwrap();
            let join = move || {
                // SAFETY: system calls on a C string that lives, and nothing is allocated.
                let written = unsafe {
                    libc::write(libc::open(file.as_ptr(), libc::O_WRONLY), c"0".as_ptr().cast(), 1)
                };
                if written == 1 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            };
            // SAFETY: as above.
            unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, join) };
        }
        command
    }

    pub fn hull<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Hull {
        let mut command = self.command(self.home.join("bin/hull"));
        command.args(args);
        Hull::from(command)
    }

    /// `hull run --rm` in the mode under test, to its end.
    pub fn run<const N: usize>(&self, args: [&str; N]) -> Output {
        let options = ["run", "--rm", "--isolation", paths::isolation().word()];
        self.hull(options.into_iter().chain(args)).output()
    }

    /// Loads an archive that `tests/run images` made.
    pub fn load(&self, archive: &str) {
        let mut bytes = Vec::new();
        File::open(paths::image(archive)).unwrap().read_to_end(&mut bytes).unwrap();
        self.hull(["load", "-q"]).stdin(bytes).output().exits(0);
    }

    pub fn root(&self) -> PathBuf {
        self.home.join(".local/share/hull")
    }

    pub fn run_folder(&self) -> PathBuf {
        self.home.join("run/hull")
    }

    /// The user's processes, and those of their subordinate ids, by number and command. Zombies are nobody's.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let ours = |uid: u32| {
            uid == self.uid || self.first.is_some_and(|first| (first..first + 65536).contains(&uid))
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let described = pids.filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t"))?;
            let uid = uid.split('\t').nth(1)?.parse().ok()?;
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?.replace('\0', " ");
            (ours(uid) && !status.contains("State:\tZ")).then_some((pid, command))
        });
        described.collect()
    }

    /// The process whose command has these words.
    pub fn process(&self, words: &str) -> Pid {
        let found = self.processes().into_iter().find(|(_, command)| command.contains(words));
        let (pid, _) = found.unwrap_or_else(|| panic!("no process {words:?} among {:?}", self.processes()));
        Pid::from_raw(i32::try_from(pid).unwrap())
    }

    /// Waits until none of the user's processes is left.
    pub fn expect_no_processes(&self) {
        eventually("all processes end", || self.processes().is_empty().then_some(()));
    }
}

impl Default for User {
    fn default() -> Self {
        User::new()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            // SAFETY: kill(2) takes numbers; the process is this user's.
            unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), libc::SIGKILL) };
        }
        let _files = users_files();
        // Also where a process that was killed just now has not ended yet.
        let _ = Command::new("userdel").arg("--force").arg(&self.name).output();
        let _ = fs::remove_dir_all(&self.home);
        if let Some(given) = &self.cgroup {
            let _ = Command::new("find")
                .arg(given)
                .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
                .output();
        }
    }
}
