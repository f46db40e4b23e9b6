//! Credential helpers: programs that keep logins, `docker-credential-NAME` on PATH.
//!
//! One run, one action: its name is the argument, the question goes to stdin, the answer comes from stdout,
//! and with exit code 1 it is an error's text. Helpers may ask the user for something on the terminal.
//! <https://github.com/docker/docker-credential-helpers#development>

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::credentials::{Credentials, Secret};
use super::error::{Error, Result};
use crate::sandbox::cgroup::pidfd;
use crate::text::escape;

/// A user may have to unlock something.
const PATIENCE: Duration = Duration::from_secs(300);
const MAX_ANSWER: usize = 1 << 20;
/// Less than what a pipe holds, so that writing never waits for the helper.
const MAX_QUESTION: usize = 32 << 10;
/// How much of an error's text is shown.
const MAX_SAID: usize = 500;
/// The user's name where the secret is an identity token.
const TOKEN_USER: &str = "<token>";
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Debug)]
pub struct Helper {
    program: String,
    patience: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Login {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper {
    /// The helper of a name from `config.json`. `None` for what can be no program's name.
    pub fn named(name: &str) -> Option<Self> {
        let valid = !name.is_empty() && !name.contains(['/', '\0']);
        valid.then(|| Self { program: format!("docker-credential-{name}"), patience: PATIENCE })
    }

    /// The login that it keeps under a key.
    pub fn get(&self, key: &str) -> Result<Option<Credentials>> {
        let Some(answer) = self.ask("get", key.as_bytes())? else { return Ok(None) };
        let login: Login =
            serde_json::from_slice(&answer).map_err(|_| self.problem("get", "gave no login"))?;
        let secret = Secret::new(login.secret);
        Ok(match login.username.as_str() {
            "" if secret.is_empty() => None,
            TOKEN_USER => Some(Credentials::Identity { user: String::new(), token: secret }),
            _ => Some(Credentials::Password { user: login.username, password: secret }),
        })
    }

    pub fn store(&self, key: &str, login: &Credentials) -> Result<()> {
        let (username, secret) = match login {
            Credentials::Password { user, password } => (user.as_str(), password),
            Credentials::Identity { token, .. } | Credentials::Registry(token) => (TOKEN_USER, token),
        };
        let login = Login { server: key.into(), username: username.into(), secret: secret.reveal().into() };
        let question = serde_json::to_vec(&login).map_err(|_| self.problem("store", "cannot keep that"))?;
        self.ask("store", &question).map(drop)
    }

    pub fn erase(&self, key: &str) -> Result<()> {
        self.ask("erase", key.as_bytes()).map(drop)
    }

    /// The keys of all logins that it keeps, and their users.
    pub fn list(&self) -> Result<BTreeMap<String, String>> {
        let answer = self.ask("list", b"")?.unwrap_or_default();
        // Some have nothing to say where there is nothing; Go's nil map is null.
        let listed: Option<BTreeMap<String, String>> = match answer.trim_ascii().is_empty() {
            true => None,
            false => serde_json::from_slice(&answer).map_err(|_| self.problem("list", "gave no list"))?,
        };
        Ok(listed.unwrap_or_default())
    }

    /// The answer; `None` where it has no such login.
    fn ask(&self, action: &'static str, question: &[u8]) -> Result<Option<Vec<u8>>> {
        if question.len() > MAX_QUESTION {
            return Err(self.problem(action, "is not asked for more than 32 KiB"));
        }
        let failed = |source| Error::Helper { program: self.shown(), source };
        let mut child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let ended = self.converse(&mut child, question);
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let (status, answer) = match ended {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return Err(self.problem(action, "did not come to an end in time"));
            }
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Err(self.problem(action, "answered with more than 1 MiB"));
            }
            other => other.map_err(failed)?,
        };
        if status.success() {
            return Ok(Some(answer));
        }
        let said = answer.trim_ascii();
        if said == NOT_FOUND.as_bytes() {
            return Ok(None);
        }
        let said = escape(said.get(..MAX_SAID).unwrap_or(said));
        Err(self.problem(action, &format!("failed ({status}): {said}")))
    }

    fn converse(&self, child: &mut Child, question: &[u8]) -> io::Result<(ExitStatus, Vec<u8>)> {
        let deadline = Instant::now() + self.patience;
        let stdin = child.stdin.take().map(|mut stdin| stdin.write_all(question));
        // A helper need not read what it does not need.
        match stdin.unwrap_or(Ok(())) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
        let mut answer = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            let mut chunk = [0; 4096];
            loop {
                wait(stdout.as_fd(), deadline)?;
                let count = stdout.read(&mut chunk)?;
                answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
                if count == 0 {
                    break;
                }
                if answer.len() > MAX_ANSWER {
                    return Err(ErrorKind::FileTooLarge.into());
                }
            }
        }
        // It may have closed stdout and stayed.
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        if let Some(end) = pidfd(pid) {
            wait(end.as_fd(), deadline)?;
        }
        Ok((child.wait()?, answer))
    }

    fn problem(&self, action: &'static str, problem: &str) -> Error {
        Error::HelperAnswer { program: self.shown(), action, problem: problem.to_owned() }
    }

    fn shown(&self) -> String {
        escape(&self.program).to_string()
    }
}

/// Until a descriptor can be read, or its other end is closed.
fn wait(fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
#[path = "helper_tests.rs"]
mod tests;
