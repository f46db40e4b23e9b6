//! Runs the tables beside this file through hull, or through docker where `HULL_TEST_ENGINE=docker`
//! (see `against-docker`). README.md says what a row is.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod stories;

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use hull_tests::Hull;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    run: Vec<String>,
    stdin: Option<String>,
    #[serde(default)]
    code: i32,
    stdout: Option<String>,
    stderr: Option<String>,
    says: Option<String>,
    docker: Option<String>,
}

/// Exit code, stdout, stderr.
struct Answer(i32, String, String);

impl Case {
    fn ask_hull(&self) -> Answer {
        let output = Hull::run(&self.run).stdin(self.stdin.clone().unwrap_or_default()).output();
        Answer(output.code, String::from_utf8_lossy(&output.stdout).into_owned(), output.stderr)
    }

    fn ask_docker(&self) -> Answer {
        let mut docker = Command::new("docker");
        docker.args(["run", "--rm"]).args(&self.run);
        docker.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = docker.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let text = self.stdin.clone().unwrap_or_default();
        // It may not want its input; that is not this side's mistake.
        let _ = std::io::Write::write_all(&mut stdin, text.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer(output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// What is wrong with the answer, if anything.
    fn judge(&self, Answer(code, stdout, stderr): &Answer, hull: bool) -> Option<String> {
        if *code != self.code {
            return Some(format!("exit code {code} instead of {}", self.code));
        }
        if let Some(expected) = &self.stdout
            && stdout.trim_end() != expected.trim()
        {
            return Some(format!("stdout is not\n{expected}"));
        }
        if let Some(part) = &self.stderr
            && !stderr.to_lowercase().contains(&part.to_lowercase())
        {
            return Some(format!("stderr lacks {part:?}"));
        }
        let line = stderr.trim_end();
        if hull && matches!(self.code, 125..=127) && (!line.starts_with("hull: ") || line.contains('\n')) {
            return Some("stderr is not one line from hull".to_owned());
        }
        match &self.says {
            Some(part) if hull && !line.contains(part.as_str()) => {
                Some(format!("hull does not say {part:?}"))
            }
            _ => None,
        }
    }
}

fn check(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(table);
    let text = std::fs::read_to_string(path).unwrap();
    let Table { case: cases } = toml::from_str(&text).unwrap();
    let hull = std::env::var("HULL_TEST_ENGINE").as_deref() != Ok("docker");
    let mut wrong = Vec::new();
    // In an emulated machine each row is seconds; what differs between the modes is the e2e suite's to find.
    let emulated = std::env::var_os("HULL_KVM_HOST").is_some_and(|value| !value.is_empty());
    let stride = if emulated { 4 } else { 1 };
    for case in cases.iter().filter(|case| hull || case.docker.is_none()).step_by(stride) {
        let answer = if hull { case.ask_hull() } else { case.ask_docker() };
        if let Some(fault) = case.judge(&answer, hull) {
            let Answer(_, stdout, stderr) = answer;
            wrong.push(format!("run {:?}: {fault}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", case.run));
        }
    }
    let (wrong_count, count) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{wrong_count} of {count} rows of {table}:\n\n{}", wrong.join("\n"));
}

#[test]
fn commands_exit_and_stream_as_with_docker() {
    check("commands.toml");
}

#[test]
fn users_and_working_directories_are_as_with_docker() {
    check("users.toml");
}

#[test]
fn environment_and_names_are_as_with_docker() {
    check("environment.toml");
}

#[test]
fn limits_are_taken_and_refused_as_with_docker() {
    check("limits.toml");
}

#[test]
fn privileges_are_as_with_docker() {
    check("privileges.toml");
}

#[test]
fn file_systems_look_as_with_docker() {
    check("filesystem.toml");
}

#[test]
fn containers_live_as_with_docker() {
    stories::check("life.txt");
}

#[test]
fn networks_are_as_with_docker() {
    stories::check("network.txt");
}
