//! The files of one log: names, rotation, and how a reader finds them while they are renamed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::LogError;

/// Rotations that come faster than this many looks, one after the other, outrun any reader.
const MAX_PASSES: u32 = 1000;

pub(super) fn live_name(id: &str) -> OsString {
    OsString::from(format!("{id}-json.log"))
}

/// The live file for 0, the youngest rotated one for 1, and so on.
pub(super) fn nth(live: &Path, index: u32) -> PathBuf {
    if index == 0 {
        return live.to_owned();
    }
    suffixed(live, &format!(".{index}"))
}

fn suffixed(live: &Path, suffix: &str) -> PathBuf {
    let mut path = live.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Opens the live file for appending, made if missing.
pub(super) fn open_live(live: &Path) -> Result<File, LogError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options.open(live).map_err(|source| LogError::io("open the log file", live, source))
}

/// Moves the live file away; the next [`open_live`] makes a new one. Safe to repeat after it failed
/// halfway: files move only as far as the first free name.
pub(super) fn rotate(live: &Path, max_file: u32) -> Result<(), LogError> {
    if max_file <= 1 {
        // In place of the old file at once: a reader always finds one of the two.
        let fresh = suffixed(live, ".new");
        File::create(&fresh).map_err(|source| LogError::io("create the log file", &fresh, source))?;
        return rename(&fresh, live);
    }
    let last = max_file - 1;
    let free = (1..last).find(|&index| !nth(live, index).exists()).unwrap_or(last);
    for index in (0..free).rev() {
        rename(&nth(live, index), &nth(live, index + 1))?;
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), LogError> {
    fs::rename(from, to).map_err(|source| LogError::io("rotate the log file", from, source))
}

/// Removes rotated files beyond `max_file`, left from when it was greater.
pub(super) fn prune(live: &Path, max_file: u32) -> Result<(), LogError> {
    for index in max_file.max(1).. {
        let path = nth(live, index);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(source) => return Err(LogError::io("remove the old log file", &path, source)),
        }
    }
    Ok(())
}

/// Tells files apart whatever their names are; unambiguous while both are open.
pub(super) type FileId = (u64, u64);

/// A file of the log, open for reading.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    pub(super) id: FileId,
    /// When it was opened.
    pub(super) size: u64,
    pub(super) path: PathBuf,
}

/// What [`scan`] came upon.
pub(super) struct Scan {
    /// Oldest first.
    pub(super) files: Vec<LogFile>,
    /// Whether the known file is still there.
    pub(super) met: bool,
}

/// Opens the files that are newer than the `known` one, or all.
///
/// Looked for again if the log was rotated meanwhile: a file that came then is found among older ones, and nothing
/// tells it from them.
pub(super) fn scan(live: &Path, known: Option<FileId>) -> Result<Scan, LogError> {
    // What was the newest, at each look.
    let mut earlier: Vec<LogFile> = Vec::new();
    for _ in 0..MAX_PASSES {
        let mut found = pass(live, known)?;
        let newest = found.files.first().map(|file| file.id).or(known.filter(|_| found.met));
        if newest != newest_of(live)? {
            earlier.extend(found.files.into_iter().next());
            continue;
        }
        found.files.reverse();
        if found.met {
            return Ok(found);
        }
        // Of what has gone since, older than all that is there, these can still be read.
        earlier.dedup_by_key(|file| file.id);
        earlier.retain(|file| found.files.iter().all(|other| other.id != file.id));
        earlier.append(&mut found.files);
        return Ok(Scan { files: earlier, met: false });
    }
    Err(LogError::Overtaken)
}

/// From the newest file to the oldest, and so told: a rotation in between then shows a file twice, which is noticed, and
/// never hides one. A rotation leaves one name free at a time, so two free names are the end.
fn pass(live: &Path, known: Option<FileId>) -> Result<Scan, LogError> {
    let mut files: Vec<LogFile> = Vec::new();
    let mut free = 0;
    for index in 0.. {
        let path = nth(live, index);
        let failed = |source| LogError::io("open the log file", &path, source);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                free += 1;
                if free == 2 {
                    break;
                }
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        free = 0;
        let found = file.metadata().map_err(failed)?;
        let id = (found.dev(), found.ino());
        if known == Some(id) {
            return Ok(Scan { files, met: true });
        }
        if files.iter().all(|file| file.id != id) {
            files.push(LogFile { file, id, size: found.len(), path });
        }
    }
    Ok(Scan { files, met: false })
}

/// The live file, or where there is none for a moment the youngest rotated one.
fn newest_of(live: &Path) -> Result<Option<FileId>, LogError> {
    for path in [live.to_owned(), nth(live, 1)] {
        match fs::metadata(&path) {
            Ok(found) => return Ok(Some((found.dev(), found.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(LogError::io("look at the log file", &path, source)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(live: &Path) -> Vec<Option<String>> {
        (0..4).map(|index| fs::read_to_string(nth(live, index)).ok()).collect()
    }

    #[test]
    fn rotation_drops_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join(live_name("c"));
        for text in ["1", "2", "3", "4"] {
            fs::write(&live, text).unwrap();
            rotate(&live, 3).unwrap();
        }
        assert_eq!(contents(&live), [None, Some("4".into()), Some("3".into()), None]);
    }

    #[test]
    fn a_rotation_that_stopped_halfway_is_finished_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join(live_name("c"));
        fs::write(&live, "3").unwrap();
        fs::write(nth(&live, 2), "2").unwrap();
        rotate(&live, 4).unwrap();
        assert_eq!(contents(&live), [None, Some("3".into()), Some("2".into()), None]);
    }

    #[test]
    fn with_one_file_the_old_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join(live_name("c"));
        fs::write(&live, "1").unwrap();
        rotate(&live, 1).unwrap();
        assert_eq!(contents(&live), [Some(String::new()), None, None, None]);
    }

    #[test]
    fn a_scan_that_rotations_overtake_gives_files_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join(live_name("c"));
        fs::write(&live, "0").unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..2000 {
                    rotate(&live, 8).unwrap();
                    // Never empty, not either for a moment.
                    let fresh = suffixed(&live, ".fresh");
                    fs::write(&fresh, number.to_string()).unwrap();
                    fs::rename(&fresh, &live).unwrap();
                }
                over.store(true, std::sync::atomic::Ordering::Release);
            });
            while !over.load(std::sync::atomic::Ordering::Acquire) {
                let found = scan(&live, None).unwrap().files;
                let read = |file: &LogFile| io::read_to_string(&file.file).unwrap().parse().unwrap();
                let numbers: Vec<u32> = found.iter().map(read).collect();
                assert!(numbers.is_sorted(), "{numbers:?}");
            }
        });
    }

    #[test]
    fn a_scan_gives_what_is_newer_and_bears_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join(live_name("c"));
        for (index, text) in [(0, "4"), (1, "3"), (3, "1")] {
            fs::write(nth(&live, index), text).unwrap();
        }
        let all = scan(&live, None).unwrap();
        assert_eq!(all.files.len(), 3);
        let newer = scan(&live, Some(all.files[1].id)).unwrap();
        assert!(newer.met);
        assert_eq!(newer.files.iter().map(|file| file.id).collect::<Vec<_>>(), [all.files[2].id]);
    }

    #[test]
    fn files_beyond_the_limit_are_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join(live_name("c"));
        (0..4).for_each(|index| fs::write(nth(&live, index), "x").unwrap());
        prune(&live, 2).unwrap();
        assert_eq!(contents(&live), [Some("x".into()), Some("x".into()), None, None]);
    }
}
