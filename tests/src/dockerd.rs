//! Debian's dockerd, for as long as a case has it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::net::Namespace;
use crate::registry::Lines;
use crate::{paths, unique};

/// A daemon with a folder and a network namespace of its own, so that the machine's firewall and daemons stay as
/// they are.
pub struct Dockerd {
    folder: PathBuf,
    child: Child,
}

impl Dockerd {
    /// In a network namespace of its own and without a bridge: for images only.
    pub fn start() -> Dockerd {
        let mut command = Command::new("unshare");
        command.args(["--net", "dockerd", "--bridge=none", "--iptables=false", "--ip-forward=false"]);
        Dockerd::started(command)
    }

    /// With its bridge and its rules, in a network namespace that is the host's.
    pub fn start_on(host: &Namespace) -> Dockerd {
        let mut command = Command::new("dockerd");
        host.place(&mut command);
        Dockerd::started(command)
    }

    fn started(mut command: Command) -> Dockerd {
        let folder = paths::temporary().join(unique("dockerd"));
        fs::create_dir_all(&folder).unwrap();
        command.args(["--storage-driver", "vfs", "--data-root"]).arg(folder.join("data"));
        command.arg("--exec-root").arg(folder.join("exec")).arg("-p").arg(folder.join("pid"));
        command.arg("-H").arg(format!("unix://{}", folder.join("docker.sock").display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("dockerd: {e}; use tests/run registry"));
        let lines = Arc::new(Lines::default());
        Lines::read(&lines, child.stderr.take().unwrap());
        lines.wait_for("API listen on");
        Dockerd { folder, child }
    }

    /// `docker WORDS...`, which must succeed; what it wrote.
    pub fn told(&self, words: &[&str]) -> String {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.folder.join("docker.sock").display())).args(words);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same for words that it may refuse: exit code, stdout, stderr.
    pub fn asked(&self, words: &[String]) -> (i32, String, String) {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.folder.join("docker.sock").display())).args(words);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // Asked, it ends its containerd and unmounts what it mounted.
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
