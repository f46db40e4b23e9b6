//! What was committed is there after the power was cut, wherever that was.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_tests::logged_disk::{Entry, LoggedDisk, Replay};
use hull_tests::{Hull, Isolation, PYTHON, hull, isolation, paths, unique};
use rusqlite::{Connection, OpenFlags};

/// Commits a row at a time, with what it holds derived from its number, and says so after each.
const LOAD: &str = r#"
import hashlib, sqlite3, sys
rows = int(sys.argv[1])
db = sqlite3.connect("/data/rows.db", isolation_level=None)
# With the directory of the journal, whose removal is the commit.
db.execute("PRAGMA synchronous=EXTRA")
db.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, content BLOB)")
for number in range(rows):
    content = b"".join(hashlib.sha256(b"%d %d" % (number, part)).digest() for part in range(64))
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO rows VALUES (?, ?)", (number, content))
    # Pages that are written again and again, and some that are given back.
    if number % 5 == 4:
        db.execute("DELETE FROM rows WHERE number = ?", (number - 3,))
    db.execute("COMMIT")
    print("committed", number, flush=True)
"#;

/// A block volume and what its disk was asked to write.
struct Volume {
    name: String,
    disk: Option<LoggedDisk>,
    scratch: PathBuf,
}

impl Volume {
    fn new() -> Volume {
        let name = unique("cut");
        hull(["volume", "create", "--opt", "kind=block", "--opt", "size=64m", &name]).exits(0);
        let scratch = paths::temporary().join(&name);
        fs::create_dir(&scratch).unwrap();
        let path = paths::shared_root().join("volumes").join(&name).join("disk.ext4");
        let disk = Some(LoggedDisk::cover(&path, &scratch.join("served")));
        Volume { name, disk, scratch }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.disk.take();
        hull(["volume", "rm", "-f", &self.name]);
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

#[test]
fn no_committed_row_is_lost_wherever_the_power_is_cut() {
    // An emulated machine takes its time for each.
    let (rows, cuts) = match isolation() {
        Isolation::Namespace => (40, 60),
        Isolation::Vm => (12, 12),
    };
    let mut volume = Volume::new();
    let mount = format!("{}:/data", volume.name);
    let mut running = Hull::run(["-v", &mount, PYTHON, "python3", "-c", LOAD, &rows.to_string()]).spawn();
    // The log's length when the row was known to be safe: it is in each disk of a later cut.
    let mut safe = Vec::new();
    for number in 0..rows {
        running.stdout.expect(&format!("committed {number}\n"));
        safe.push(volume.disk.as_ref().unwrap().position());
    }
    running.finish().exits(0);
    let replay = volume.disk.take().unwrap().finish();
    let flushes: Vec<_> =
        (0..replay.log.len()).filter(|at| matches!(replay.log[*at], Entry::Flush)).collect();
    assert!(flushes.len() > rows, "{} flushes for {rows} commits", flushes.len());

    let step = flushes.len().div_ceil(cuts);
    for (round, flush) in flushes.iter().enumerate().step_by(step) {
        let next = flushes.get(round + 1).copied().unwrap_or(replay.log.len());
        look(&volume.scratch, &replay, *flush, next, round, &safe);
    }
}

/// What is on the disk when all before a flush has reached it, and of what came before the next flush every other
/// write: a disk keeps no order among those.
fn look(scratch: &Path, replay: &Replay, flush: usize, next: usize, round: usize, safe: &[usize]) {
    let (disk, place) = (scratch.join("disk"), scratch.join("mnt"));
    replay.write(&disk, |at| at <= flush || (at < next && (at + round).is_multiple_of(2)));
    let _ = fs::create_dir(&place);
    let mounted = Mounted::new(&disk, &place);
    let rows = read(&place.join("data/rows.db"));
    drop(mounted);
    for (number, at) in safe.iter().enumerate().filter(|(_, at)| **at <= flush) {
        // Gone by the transaction of a later row, which may or may not be there.
        let given_up = number % 5 == 1 && rows.contains(&(number + 3));
        assert!(
            rows.contains(&number) || given_up,
            "row {number}, safe at entry {at}, is not there after a cut at entry {flush}: {rows:?}"
        );
    }
    let _ = fs::remove_file(disk);
}

/// The rows of a whole database; none of one that is not there yet.
fn read(path: &Path) -> BTreeSet<usize> {
    if !path.exists() {
        return BTreeSet::new();
    }
    // To be written: a journal that is there is rolled back first.
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let Ok(mut statement) = db.prepare("SELECT number FROM rows") else { return BTreeSet::new() };
    let rows = statement.query_map([], |row| row.get::<_, u32>(0)).unwrap();
    rows.map(|row| row.unwrap() as usize).collect()
}

/// A disk's ext4, its journal replayed.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn new<'a>(disk: &Path, place: &'a Path) -> Mounted<'a> {
        let status = Command::new("mount").args(["-t", "ext4", "-o", "loop"]).args([disk, place]).status();
        assert!(status.unwrap().success(), "the file system of {disk:?} cannot be mounted");
        Mounted(place)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0).status();
        assert!(status.unwrap().success(), "{:?} cannot be unmounted", self.0);
    }
}
