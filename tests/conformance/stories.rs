//! Sequences of commands with what they answer, as a terminal shows them: README.md says how they read.

use std::path::Path;
use std::process::{Command, Stdio};

use hull_tests::{Hull, unique};

/// What is under test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Hull,
    Docker,
}

/// A command, and what is expected of it.
struct Step {
    line: String,
    stdout: Vec<String>,
    stderr: Vec<String>,
    code: i32,
}

struct Story {
    title: String,
    steps: Vec<Step>,
}

fn parse(text: &str) -> Vec<Story> {
    let mut stories: Vec<Story> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("# ") {
            stories.push(Story { title: title.to_owned(), steps: Vec::new() });
            continue;
        }
        let steps = &mut stories.last_mut().expect("a story begins with its title").steps;
        if let Some(line) = line.strip_prefix("$ ") {
            steps.push(Step { line: line.to_owned(), stdout: Vec::new(), stderr: Vec::new(), code: 0 });
            continue;
        }
        let step = steps.last_mut().expect("answers follow a command");
        if let Some(part) = line.strip_prefix("! ") {
            step.stderr.push(part.to_owned());
        } else if let Some(code) = line.strip_prefix("= ") {
            step.code = code.parse().unwrap();
        } else {
            step.stdout.push(line.to_owned());
        }
    }
    stories.retain(|story| !story.steps.is_empty());
    stories
}

/// Words as a shell has them, of which two kinds of quotes are enough here.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Names of this run in place of `N1`, `N2` ...
struct Names(Vec<(String, String)>);

impl Names {
    fn new() -> Names {
        let stem = unique("story");
        Names((1..4).map(|n| (format!("N{n}"), format!("{stem}-{n}"))).collect())
    }

    fn real(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, real)| text.replace(name, real))
    }

    /// What a program printed, without what differs from run to run.
    fn normal(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, (name, real)| text.replace(real, name));
        let lines = text.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            without_times(&words.iter().map(|word| if is_id(word) { "ID" } else { word }).collect::<Vec<_>>())
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn is_id(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `5 seconds` and `Less than a second` are `TIME`.
fn without_times(words: &[&str]) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut rest = words;
    while let Some((first, behind)) = rest.split_first() {
        let unit =
            behind.first().is_some_and(|word| word.starts_with("second") || word.starts_with("minute"));
        rest = match (first.parse::<u32>(), rest) {
            (Ok(_), _) if unit => {
                out.push("TIME");
                &behind[1..]
            }
            (_, ["Less", "than", "a", "second", behind @ ..]) => {
                out.push("TIME");
                behind
            }
            _ => {
                out.push(first);
                behind
            }
        };
    }
    out.join(" ")
}

impl Engine {
    fn ask(self, words: &[String]) -> (i32, String, String) {
        if self == Engine::Hull {
            let (command, rest) = words.split_first().unwrap();
            let makes = ["run", "create"].contains(&command.as_str());
            let mode = ["--isolation", hull_tests::isolation().word()];
            let hull = Hull::new([command]).args(mode.iter().filter(|_| makes)).args(rest);
            let output = hull.output();
            return (output.code, String::from_utf8_lossy(&output.stdout).into_owned(), output.stderr);
        }
        let output = Command::new("docker").args(words).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

impl Step {
    /// What is wrong with the answer, if anything.
    fn judge(&self, code: i32, stdout: &str, stderr: &str) -> Option<String> {
        if code != self.code {
            return Some(format!("exit code {code} instead of {}", self.code));
        }
        let expected = self.stdout.join("\n");
        if stdout.trim_end() != expected.trim_end() {
            return Some(format!("stdout is not\n{expected}"));
        }
        let said = stderr.to_lowercase();
        if let Some(part) = self.stderr.iter().find(|part| !said.contains(&part.to_lowercase())) {
            return Some(format!("stderr lacks {part:?}"));
        }
        (code == 0 && self.stderr.is_empty() && !stderr.is_empty()).then(|| "stderr is not empty".to_owned())
    }
}

/// The faults of a story; what it leaves is removed.
fn tell(story: &Story, engine: Engine) -> Vec<String> {
    let names = Names::new();
    let mut faults = Vec::new();
    for step in &story.steps {
        let (code, stdout, stderr) = engine.ask(&words(&names.real(&step.line)));
        let (stdout, stderr) = (names.normal(&stdout), names.normal(&stderr));
        if let Some(fault) = step.judge(code, &stdout, &stderr) {
            let (title, line) = (&story.title, &step.line);
            faults.push(format!("{title}: $ {line}\n{fault}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"));
        }
    }
    for (_, real) in names.0 {
        engine.ask(&["rm", "-f", &real].map(str::to_owned));
        engine.ask(&["network", "rm", &real].map(str::to_owned));
    }
    faults
}

pub fn check(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let docker = std::env::var("HULL_TEST_ENGINE").as_deref() == Ok("docker");
    let engine = if docker { Engine::Docker } else { Engine::Hull };
    let faults: Vec<String> = parse(&text).iter().flat_map(|story| tell(story, engine)).collect();
    assert!(faults.is_empty(), "{} faults in {file}:\n\n{}", faults.len(), faults.join("\n\n"));
}
