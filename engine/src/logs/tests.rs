//! Writer and reader against each other.

use std::fs::{self, OpenOptions};
use std::io::{PipeReader, pipe};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use proptest::prelude::*;

use super::*;

const ID: &str = "c";

fn config(max_size: u64, max_file: u32) -> LogConfig {
    LogConfig { max_size: Some(max_size), max_file, ..LogConfig::default() }
}

fn open(dir: &Path, config: &LogConfig) -> Writer {
    Writer::open(dir, ID, config, &Attrs::new()).unwrap()
}

/// Everything a reading gives: the two streams, and the notes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    notes: Vec<Note>,
}

impl Seen {
    fn take(&mut self, item: &Item<'_>) {
        match item {
            Item::Entry(entry) => match entry.stream {
                Stream::Stdout => self.stdout.extend_from_slice(entry.bytes),
                Stream::Stderr => self.stderr.extend_from_slice(entry.bytes),
            },
            Item::Note(note) => self.notes.push(*note),
            Item::CaughtUp => {}
        }
    }
}

fn read(dir: &Path, options: &Options<'_>) -> Seen {
    let mut seen = Seen::default();
    let mut each = |item: Item<'_>| {
        seen.take(&item);
        ControlFlow::Continue(())
    };
    Reader::new(dir, ID).read(options, &mut each).unwrap();
    seen
}

fn stdout(dir: &Path, options: &Options<'_>) -> String {
    String::from_utf8(read(dir, options).stdout).unwrap()
}

fn live(dir: &Path) -> std::path::PathBuf {
    dir.join(files::live_name(ID))
}

/// Text of random pieces: letters, newlines, things to escape, characters of several bytes.
fn text() -> impl Strategy<Value = String> {
    let long = (0..40_000_usize).prop_map(|length| "é".repeat(length / 2));
    let piece = prop_oneof![8 => "[a-z\n\"\\\\<\t€😀\u{2028}]{0,80}", 1 => long];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_in_whatever_chunks_reads_back(
        out in text(), err in text(), sizes in prop::collection::vec(1..5000_usize, 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let writer = open(dir.path(), &config(2000, 512));
        let (mut to_out, mut to_err) = (Partial::default(), Partial::default());
        let (mut out_rest, mut err_rest) = (out.as_bytes(), err.as_bytes());
        for size in sizes.iter().cycle() {
            let (chunk, rest) = out_rest.split_at((*size).min(out_rest.len()));
            writer.write(Stream::Stdout, chunk, &mut to_out);
            out_rest = rest;
            let (chunk, rest) = err_rest.split_at((*size / 2 + 1).min(err_rest.len()));
            writer.write(Stream::Stderr, chunk, &mut to_err);
            err_rest = rest;
            if out_rest.is_empty() && err_rest.is_empty() {
                break;
            }
        }
        writer.finish(Stream::Stdout, &mut to_out);
        writer.finish(Stream::Stderr, &mut to_err);
        let seen = read(dir.path(), &Options::default());
        prop_assert_eq!(seen, Seen { stdout: out.into(), stderr: err.into(), notes: vec![] });
        prop_assert!(writer.take_error().is_none());
    }

    #[test]
    fn a_log_cut_off_anywhere_reads_to_its_last_line_and_goes_on(cut in 0..400_u64) {
        let dir = tempfile::tempdir().unwrap();
        let before = "one\ntwo\nthree\nfour\n";
        let writer = open(dir.path(), &LogConfig::default());
        writer.write(Stream::Stdout, before.as_bytes(), &mut Partial::default());
        let cut = cut.min(fs::metadata(live(dir.path())).unwrap().len());
        OpenOptions::new().write(true).open(live(dir.path())).unwrap().set_len(cut).unwrap();

        let left = read(dir.path(), &Options::default());
        let left_text = String::from_utf8(left.stdout).unwrap();
        prop_assert!(before.starts_with(&left_text));
        prop_assert_eq!(left.notes, vec![]);

        let writer = open(dir.path(), &LogConfig::default());
        writer.write(Stream::Stdout, b"five\n", &mut Partial::default());
        let whole = stdout(dir.path(), &Options::default());
        let kept = whole.strip_suffix("five\n").unwrap();
        // A line that lacked no more than its newline has it now.
        prop_assert!(before.starts_with(kept) && kept.starts_with(&left_text), "{}", whole);
    }

    #[test]
    fn the_tail_is_the_end_of_the_whole(lines in 0..60_usize, tail in 0..70_u64, max_size in 100..3000_u64) {
        let dir = tempfile::tempdir().unwrap();
        let writer = open(dir.path(), &config(max_size, 512));
        for line in 0..lines {
            writer.write(Stream::Stdout, format!("{line}\n").as_bytes(), &mut Partial::default());
        }
        let first = lines.saturating_sub(usize::try_from(tail).unwrap());
        let expected: String = (first..lines).map(|line| format!("{line}\n")).collect();
        prop_assert_eq!(stdout(dir.path(), &Options { tail: Some(tail), ..Options::default() }), expected);
    }
}

#[test]
fn lines_look_as_dockers_do() {
    let dir = tempfile::tempdir().unwrap();
    let attrs = Attrs::from([("k".into(), "v\"".into())]);
    let writer = Writer::open(dir.path(), "abc", &LogConfig::default(), &attrs).unwrap();
    writer.write(Stream::Stderr, b"x<\n", &mut Partial::default());
    let line = fs::read_to_string(dir.path().join("abc-json.log")).unwrap();
    let time = line.split('"').rev().nth(1).unwrap();
    assert!(crate::time::parse_rfc3339(time).is_some());
    let expected = r#"{"log":"x\u003c\n","stream":"stderr","attrs":{"k":"v\""},"time":"T"}"#;
    assert_eq!(line, format!("{}\n", expected.replace('T', time)));
}

#[test]
fn a_chunk_is_split_over_files_where_docker_would() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path(), &config(1000, 3));
    let mut partial = Partial::default();
    // Some 70 bytes a line as JSON, in one chunk.
    writer.write(Stream::Stdout, "0123456789\n".repeat(1000).as_bytes(), &mut partial);
    let sizes: Vec<_> =
        (0..3).map(|i| fs::metadata(files::nth(&live(dir.path()), i)).unwrap().size()).collect();
    assert!(
        sizes[0] < 1100 && (1000..1100).contains(&sizes[1]) && (1000..1100).contains(&sizes[2]),
        "{sizes:?}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    assert!(writer.take_error().is_none());
}

#[test]
fn without_a_driver_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let none: [&str; 0] = [];
    let writer = open(dir.path(), &LogConfig::from_words(Some("none"), &none).unwrap());
    let mut partial = Partial::default();
    writer.write(Stream::Stdout, b"x\ny", &mut partial);
    writer.finish(Stream::Stdout, &mut partial);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(read(dir.path(), &Options::default()), Seen::default());
}

#[test]
fn an_error_is_told_once_and_writing_goes_on_when_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path(), &config(1, 2));
    let mut partial = Partial::default();
    writer.write(Stream::Stdout, b"one\n", &mut partial);
    // A folder in the rotated file's place: the rotation fails.
    let rotated = files::nth(&live(dir.path()), 1);
    fs::create_dir(&rotated).unwrap();
    writer.write(Stream::Stdout, b"two\n", &mut partial);
    writer.write(Stream::Stdout, b"three\n", &mut partial);
    assert!(matches!(writer.take_error(), Some(LogError::Io { .. })));
    assert!(writer.take_error().is_none());
    fs::remove_dir(&rotated).unwrap();
    writer.write(Stream::Stdout, b"four\n", &mut partial);
    assert!(writer.take_error().is_none());
    assert_eq!(stdout(dir.path(), &Options::default()), "one\nfour\n");
}

#[test]
fn a_full_disk_tears_one_line_at_most() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{SigHandler, Signal, signal};

    // A limit on file sizes stands for the full disk. It is the process's, hence one of its own.
    if std::env::var_os("HULL_LOGS_LIMITED").is_none() {
        let test = "logs::tests::a_full_disk_tears_one_line_at_most";
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact"])
            .env("HULL_LOGS_LIMITED", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path(), &LogConfig::default());
    let mut partial = Partial::default();
    setrlimit(Resource::RLIMIT_FSIZE, 1000, hard).unwrap();
    (0..100).for_each(|line| writer.write(Stream::Stdout, format!("{line}\n").as_bytes(), &mut partial));
    assert!(writer.take_error().is_some());
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    writer.write(Stream::Stdout, b"again\n", &mut partial);
    let seen = read(dir.path(), &Options::default());
    assert_eq!(seen.notes, [Note::Damaged]);
    let text = String::from_utf8(seen.stdout).unwrap();
    assert!(text.starts_with("0\n1\n") && text.ends_with("\nagain\n"), "{text}");
}

#[test]
fn damaged_lines_are_left_out_with_one_note() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path(), &LogConfig::default());
    (0..9).for_each(|_| writer.write(Stream::Stdout, b"line\n", &mut Partial::default()));
    let file = OpenOptions::new().write(true).open(live(dir.path())).unwrap();
    file.write_all_at(&[0; 100], 50).unwrap();
    file.write_all_at(&[0xff; 3], 300).unwrap();
    let seen = read(dir.path(), &Options::default());
    assert_eq!(seen.notes, [Note::Damaged]);
    assert!(seen.stdout.starts_with(b"line\nline\n"));
}

#[test]
fn since_and_until_choose_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let lines = (1..=5).map(|second| {
        format!(
            "{{\"log\":\"{second}\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:0{second}Z\"}}\n"
        )
    });
    fs::write(live(dir.path()), lines.collect::<String>()).unwrap();
    let second = |count: i64| Some(count * 1_000_000_000);
    let chosen = |options: Options<'_>| stdout(dir.path(), &options);
    assert_eq!(chosen(Options { since: second(2), until: second(4), ..Options::default() }), "2\n3\n4\n");
    // The tail first, as docker has it.
    assert_eq!(chosen(Options { tail: Some(2), until: second(4), ..Options::default() }), "4\n");
}

#[test]
fn a_reader_stops_when_told() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), &LogConfig::default()).write(Stream::Stdout, b"a\nb\n", &mut Partial::default());
    let mut count = 0;
    let mut each = |_: Item<'_>| {
        count += 1;
        ControlFlow::Break(())
    };
    Reader::new(dir.path(), ID).read(&Options::default(), &mut each).unwrap();
    assert_eq!(count, 1);
}

/// Follows in a thread, and sends each entry's text.
fn follow(
    dir: &Path,
    stop: PipeReader,
    tail: Option<u64>,
) -> (mpsc::Receiver<String>, thread::JoinHandle<Seen>) {
    let (sender, receiver) = mpsc::channel();
    let dir = dir.to_owned();
    let thread = thread::spawn(move || {
        let mut seen = Seen::default();
        let mut each = |item: Item<'_>| {
            seen.take(&item);
            if let Item::Entry(entry) = item {
                let _ = sender.send(String::from_utf8(entry.bytes.to_vec()).unwrap());
            }
            ControlFlow::Continue(())
        };
        let options = Options { tail, follow_until: Some(stop.as_fd()), ..Options::default() };
        Reader::new(&dir, ID).read(&options, &mut each).unwrap();
        seen
    });
    (receiver, thread)
}

#[test]
fn a_follower_sees_lines_as_they_come_and_the_last_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (stop, keep) = pipe().unwrap();
    let (lines, thread) = follow(dir.path(), stop, None);
    let writer = open(dir.path(), &LogConfig::default());
    for line in ["one\n", "two\n"] {
        writer.write(Stream::Stdout, line.as_bytes(), &mut Partial::default());
        assert_eq!(lines.recv().unwrap(), line);
    }
    writer.write(Stream::Stdout, b"last\n", &mut Partial::default());
    drop(keep);
    assert_eq!(thread.join().unwrap().stdout, b"one\ntwo\nlast\n");
}

#[test]
fn a_follower_goes_over_rotations_without_loss_or_repetition() {
    // In step with the follower, even files that are gone at once are not missed.
    for max_file in [1, 2, 4] {
        let dir = tempfile::tempdir().unwrap();
        let writer = open(dir.path(), &config(500, max_file));
        writer.write(Stream::Stdout, b"old\n", &mut Partial::default());
        let (stop, keep) = pipe().unwrap();
        let (lines, thread) = follow(dir.path(), stop, Some(1));
        assert_eq!(lines.recv().unwrap(), "old\n");
        let mut expected = b"old\n".to_vec();
        for number in 0..200 {
            let line = format!("{number}\n");
            writer.write(Stream::Stdout, line.as_bytes(), &mut Partial::default());
            assert_eq!(lines.recv().unwrap(), line);
            expected.extend_from_slice(line.as_bytes());
        }
        drop(keep);
        assert_eq!(thread.join().unwrap(), Seen { stdout: expected, ..Seen::default() });
    }
}

#[test]
fn a_follower_of_a_fast_writer_loses_nothing_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path(), &config(3000, 512));
    let (stop, keep) = pipe().unwrap();
    let (_lines, thread) = follow(dir.path(), stop, None);
    let text: String = (0..3000).map(|number| format!("{number}\n")).collect();
    let mut partial = Partial::default();
    text.as_bytes().chunks(700).for_each(|chunk| writer.write(Stream::Stdout, chunk, &mut partial));
    drop(keep);
    assert_eq!(String::from_utf8(thread.join().unwrap().stdout).unwrap(), text);
}

#[test]
fn a_follower_that_was_left_behind_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path(), &config(1, 2));
    let mut partial = Partial::default();
    writer.write(Stream::Stdout, b"first\n", &mut partial);
    let (stop, keep) = pipe().unwrap();
    let mut keep = Some(keep);
    let mut seen = Seen::default();
    let mut each = |item: Item<'_>| {
        // While the first entry is being handled, more come than are kept.
        if keep.take().is_some() {
            (0..5)
                .for_each(|line| writer.write(Stream::Stdout, format!("{line}\n").as_bytes(), &mut partial));
        }
        seen.take(&item);
        ControlFlow::Continue(())
    };
    let options = Options { follow_until: Some(stop.as_fd()), ..Options::default() };
    Reader::new(dir.path(), ID).read(&options, &mut each).unwrap();
    assert_eq!(
        seen,
        Seen { stdout: b"first\n3\n4\n".to_vec(), notes: vec![Note::Missed], ..Seen::default() }
    );
}

#[test]
fn following_ends_at_the_time_wanted() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), &LogConfig::default()).write(Stream::Stdout, b"a\n", &mut Partial::default());
    let (stop, _keep) = pipe().unwrap();
    let until = crate::time::now_ns() + 50_000_000;
    let options = Options { until: Some(until), follow_until: Some(stop.as_fd()), ..Options::default() };
    assert_eq!(stdout(dir.path(), &options), "a\n");
    assert!(crate::time::now_ns() > until);
}
