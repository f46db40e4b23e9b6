//! One invocation of `hull`, with its input, and what came of it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::net::Namespace;
use crate::{paths, unique};

/// `hull run --rm` in the mode under test, to its end, with nothing on stdin.
pub fn run<const N: usize>(args: [&str; N]) -> Output {
    Hull::run(args).output()
}

/// `hull ARGS...` on the shared store, to its end.
pub fn hull<const N: usize>(args: [&str; N]) -> Output {
    Hull::new(args).output()
}

/// A `hull` about to be started.
pub struct Hull {
    pub(crate) command: Command,
    stdin: Option<Vec<u8>>,
    pub(crate) container: Option<Container>,
}

impl From<Command> for Hull {
    fn from(command: Command) -> Hull {
        Hull { command, stdin: None, container: None }
    }
}

impl Hull {
    /// `hull ARGS...` on the shared store.
    pub fn new<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Hull {
        let mut command = Command::new(paths::binary("hull"));
        command.args(args);
        command.env("HULL_ROOT", paths::shared_root()).env("HULL_RUN", paths::shared_run());
        command.env("HULL_CONFIG", paths::no_config()).env_remove("HULL_ISOLATION");
        Hull { command, stdin: None, container: None }
    }

    /// `hull run --rm --isolation MODE ARGS...`
    pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Hull {
        Hull::keep(["--rm"]).args(args)
    }

    /// `hull run --isolation MODE ARGS...`: the container stays until somebody removes it.
    pub fn keep<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Hull {
        let container = Container { id_file: paths::temporary().join(unique("id")) };
        // What a case has not brought along is not to be looked for outside.
        let mut hull =
            Hull::new(["run", "--isolation", paths::isolation().word(), "--pull", "never", "--cidfile"]);
        hull.command.arg(&container.id_file).args(args);
        hull.container = Some(container);
        hull
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Hull {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Hull {
        self.command.env(name, value);
        self
    }

    /// Runs it in a network namespace, which is the host's to it.
    pub fn inside(mut self, namespace: &Namespace) -> Hull {
        namespace.place(&mut self.command);
        self
    }

    /// Written to stdin, which is then closed.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Hull {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs it to its end. Without [`Hull::stdin`] it has an empty one.
    pub fn output(self) -> Output {
        self.output_within(paths::patience())
    }

    pub fn output_within(mut self, patience: Duration) -> Output {
        let input = self.stdin.take().unwrap_or_default();
        let mut running = self.spawn();
        if let Some(mut stdin) = running.stdin.take() {
            // A thread, as `hull` may write before it has read all; it may also not want any.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        running.finish_within(patience)
    }

    /// For a case that wants other streams.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Starts it, with pipes on all three.
    pub fn spawn(mut self) -> Running {
        let (shown, env) = (shown(&self.command), environment(&self.command));
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}; run `make` first"));
        Running {
            stdin: child.stdin.take(),
            stdout: Stream::new(child.stdout.take().unwrap()),
            stderr: Stream::new(child.stderr.take().unwrap()),
            child,
            shown,
            container: self.container,
            env,
        }
    }
}

/// The container that a `hull run` makes: killing `hull` does not end it.
pub(crate) struct Container {
    id_file: PathBuf,
}

impl Container {
    /// Removes it from the store that `hull` had.
    pub(crate) fn kill(&self, env: &[(OsString, OsString)]) {
        let Ok(id) = std::fs::read_to_string(&self.id_file) else { return };
        let mut command = Command::new(paths::binary("hull"));
        command.args(["rm", "-f", &id]).envs(env.iter().cloned());
        let _ = command.stdin(Stdio::null()).output();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.id_file);
    }
}

/// The variables that a command sets.
pub(crate) fn environment(command: &Command) -> Vec<(OsString, OsString)> {
    command.get_envs().filter_map(|(name, value)| Some((name.into(), value?.into()))).collect()
}

fn shown(command: &Command) -> String {
    let words = command.get_args().map(|word| OsString::from(word).into_string().unwrap_or_default());
    words.fold("hull".to_owned(), |line, word| line + " " + &word)
}

/// A `hull` that runs. Killed when dropped, and its container with it.
pub struct Running {
    pub stdin: Option<ChildStdin>,
    pub stdout: Stream,
    pub stderr: Stream,
    child: Child,
    shown: String,
    container: Option<Container>,
    env: Vec<(OsString, OsString)>,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end. An open stdin stays open meanwhile.
    pub fn finish(self) -> Output {
        self.finish_within(paths::patience())
    }

    pub fn finish_within(mut self, patience: Duration) -> Output {
        let Some(status) = wait_within(&mut self.child, patience) else {
            let printed = self.printed();
            panic!("{}: still runs after {patience:?}\n{printed}", self.shown)
        };
        let ended = self.stdout.wait_for_end(patience) && self.stderr.wait_for_end(patience);
        assert!(ended, "{}: has ended, and somebody still holds its stdout or stderr", self.shown);
        Output {
            code: exit_code(status),
            stdout: std::mem::take(&mut self.stdout.seen),
            stderr: String::from_utf8_lossy(&self.stderr.seen).into_owned(),
            shown: self.shown.clone(),
        }
    }

    fn printed(&mut self) -> String {
        self.stdout.take_what_is_there();
        self.stderr.take_what_is_there();
        describe(&self.stdout.seen, &String::from_utf8_lossy(&self.stderr.seen))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = matches!(self.child.try_wait(), Ok(Some(_)));
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (Some(container), false) = (&self.container, ended) {
            container.kill(&self.env);
        }
    }
}

/// What a process writes, collected by a thread so that it never blocks.
pub struct Stream {
    seen: Vec<u8>,
    chunks: Receiver<Vec<u8>>,
}

impl Stream {
    fn new(mut source: impl Read + Send + 'static) -> Stream {
        let (sender, chunks) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = source.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Stream { seen: Vec::new(), chunks }
    }

    /// Waits until `text` has been written.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + paths::patience();
        while !contains(&self.seen, text.as_bytes()) {
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.seen.extend(chunk),
                Err(e) => {
                    panic!("{text:?} did not come ({e}); got {:?}", String::from_utf8_lossy(&self.seen))
                }
            }
        }
    }

    /// All that has been waited for so far.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    fn take_what_is_there(&mut self) {
        self.seen.extend(self.chunks.try_iter().flatten());
    }

    fn wait_for_end(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.seen.extend(chunk),
                Err(mpsc::RecvTimeoutError::Disconnected) => return true,
                Err(mpsc::RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Waits on a pidfd, so that nothing polls.
pub(crate) fn wait_within(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    // SAFETY: pidfd_open(2) takes no pointers; the child is ours and not yet reaped.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    let fd = i32::try_from(fd).unwrap();
    assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
    // SAFETY: a fresh descriptor that nobody else has.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
    let timeout = PollTimeout::try_from(patience).unwrap();
    let ready = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout).unwrap();
    (ready > 0).then(|| child.wait().unwrap())
}

/// As a shell shows it.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// What an ended `hull` left to look at.
pub struct Output {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
    shown: String,
}

impl Output {
    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Output {
        assert!(self.code == code, "{}", self.report(&format!("exit code {} instead of {code}", self.code)));
        self
    }

    /// Asserts success and yields stdout without the white space at its end.
    #[track_caller]
    pub fn text(self) -> String {
        let output = self.exits(0);
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Asserts that hull itself failed with `code` and said why in one line, which is returned.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        let output = self.exits(code);
        let line = output.stderr.trim_end();
        let one = line.starts_with("hull: ") && !line.contains('\n');
        assert!(one, "{}", output.report("stderr is not one line from hull"));
        line.to_owned()
    }

    pub fn report(&self, what: &str) -> String {
        format!("{}: {what}\n{}", self.shown, describe(&self.stdout, &self.stderr))
    }
}

fn describe(stdout: &[u8], stderr: &str) -> String {
    let mut text = String::new();
    let head = &stdout[..stdout.len().min(2000)];
    let _ = write!(
        text,
        "--- stdout ({} bytes)\n{}\n--- stderr\n{stderr}",
        stdout.len(),
        String::from_utf8_lossy(head)
    );
    text
}
