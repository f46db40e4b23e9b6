//! A container in the background, for as long as the case has it.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hull_engine::store::{self, ContainerRow, ContainerState};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{Hull, Output};
use crate::{Store, Terminal, paths, unique};

/// Removed when dropped, however it is by then.
pub struct Background {
    pub id: String,
    pub name: String,
    root: PathBuf,
    run: PathBuf,
}

impl Background {
    /// `hull run -d ARGS...`
    pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Background {
        Background::made(&paths::shared_root(), &paths::shared_run(), &["run", "-d"], args)
    }

    /// The same on a store of the case's own.
    pub fn run_in<S: AsRef<OsStr>>(store: &Store, args: impl IntoIterator<Item = S>) -> Background {
        Background::made(&store.root, &store.run, &["run", "-d"], args)
    }

    /// `hull create ARGS...`
    pub fn create<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Background {
        Background::made(&paths::shared_root(), &paths::shared_run(), &["create"], args)
    }

    fn made<S: AsRef<OsStr>>(
        root: &Path,
        run: &Path,
        words: &[&str],
        args: impl IntoIterator<Item = S>,
    ) -> Background {
        let name = unique("life");
        let hull =
            Hull::new(words).args(["--isolation", paths::isolation().word(), "--name", &name]).args(args);
        let id = hull.env("HULL_ROOT", root).env("HULL_RUN", run).output().text();
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?} is not an id");
        Background { id, name, root: root.to_owned(), run: run.to_owned() }
    }

    /// `hull WORDS... NAME`
    pub fn hull<const N: usize>(&self, words: [&str; N]) -> Output {
        self.command(words).output()
    }

    /// The same, not started yet.
    pub fn command<const N: usize>(&self, words: [&str; N]) -> Hull {
        let hull = Hull::new(words).args([&self.name]);
        hull.env("HULL_ROOT", &self.root).env("HULL_RUN", &self.run)
    }

    /// The same, on a terminal.
    pub fn terminal<const N: usize>(&self, words: [&str; N]) -> Terminal {
        Terminal::start(self.command(words), 80, 24)
    }

    /// What the database says of it; none, if it is gone.
    pub fn row(&self) -> Option<ContainerRow> {
        let store = store::Store::open(&self.root, &self.run).unwrap();
        store.db().container(&self.id).ok()
    }

    #[track_caller]
    pub fn expect_state(&self, state: ContainerState) -> ContainerRow {
        eventually(&format!("{} is {state}", self.name), || self.row().filter(|row| row.state == state))
    }

    #[track_caller]
    pub fn expect_exit(&self, code: i32) -> ContainerRow {
        let row = self.expect_state(ContainerState::Exited);
        assert_eq!(row.exit_code, code, "{row:?}");
        row
    }

    #[track_caller]
    pub fn expect_gone(&self) {
        eventually(&format!("{} is gone", self.name), || self.row().is_none().then_some(()));
    }

    /// Its log's live file, as JSON lines.
    pub fn log(&self) -> String {
        let folder = self.root.join("containers").join(&self.id);
        fs::read_to_string(folder.join(format!("{}-json.log", self.id))).unwrap_or_default()
    }

    #[track_caller]
    pub fn expect_log(&self, text: &str) {
        eventually(&format!("the log has {text:?}"), || self.log().contains(text).then_some(()));
    }

    /// Its supervisor.
    #[track_caller]
    pub fn supervisor(&self) -> Pid {
        let words = ["hull", "supervise", &self.id].join("\0");
        self.process("supervisor", |proc| {
            fs::read(proc.join("cmdline")).is_ok_and(|line| line.starts_with(words.as_bytes()))
        })
    }

    /// Its sandbox's VMM, or the agent on the host.
    #[track_caller]
    pub fn agent(&self) -> Pid {
        let group = format!("/hull/{}/supervised", self.id);
        self.process("VMM or agent", |proc| {
            fs::read_to_string(proc.join("cgroup")).is_ok_and(|groups| groups.contains(&group))
        })
    }

    #[track_caller]
    fn process(&self, what: &str, is: impl Fn(&Path) -> bool) -> Pid {
        eventually(&format!("{} has a {what}", self.name), || {
            let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
            let numbered = processes.filter_map(|path| {
                path.file_name()?.to_str()?.parse().ok().map(|pid: i32| (Pid::from_raw(pid), path))
            });
            numbered.filter(|(_, path)| is(path)).map(|(pid, _)| pid).next()
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.command(["rm", "-f"]).spawn().finish();
    }
}

/// SIGKILL, and until there is nothing of the process but a zombie.
pub fn kill_process(pid: Pid) {
    let process = hull_engine::sandbox::cgroup::pidfd(pid.as_raw()).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    // Its memory goes before its descriptors, which a lock may hang on; a pidfd tells of the whole end.
    let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ended, PollTimeout::NONE), Ok(1));
}

/// Waits for what nothing announces.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + paths::patience();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {:?}: {what}", paths::patience());
        std::thread::sleep(Duration::from_millis(20));
    }
}
