//! Which ids a user may use, by subuid(5) and subgid(5), and which a namespace has.
//!
//! The files are read, and no name service is asked: its modules cannot be loaded into a static program.

use std::fs;
use std::path::Path;

/// What a full map has: docker's images use ids up to `nobody`, 65534.
pub const USUAL: u32 = 65536;
/// Ids kept for machines' processes, at the map's end but for [`LAST`].
const MACHINES: u32 = 4096;
/// `nobody` and what comes behind it are somebody's in images.
const LAST: u32 = 65534;
/// The kernel takes no more lines (user_namespaces(7)), one of which is the user's own.
const MAX_RANGES: usize = 339;

/// Ids of a namespace from `inside` on, and what they are outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMap(pub Vec<Range>);

impl IdMap {
    /// The user's own id as root, and what the file gives as the ids from 1 on. `name` is that of passwd(5).
    pub fn wanted(own: u32, user: u32, name: Option<&str>, file: &Path) -> IdMap {
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut map = IdMap(vec![Range { inside: 0, outside: own, count: 1 }]);
        for (outside, count) in text.lines().filter_map(|line| subordinate(line, user, name)).take(MAX_RANGES)
        {
            let inside = map.end();
            // Ids end at 2^32, and what does not fit is left out.
            let count = count.min(u32::MAX - inside);
            map.0.push(Range { inside, outside, count });
        }
        map
    }

    /// That of the calling process' users. Every map begins at 0 as hull makes them.
    pub fn of_users() -> IdMap {
        IdMap::parse(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default())
    }

    /// /proc/PID/uid_map: three numbers a line, the third how many.
    pub fn parse(text: &str) -> IdMap {
        let range = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
            Some(Range { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
        };
        IdMap(text.lines().filter_map(range).collect())
    }

    /// The machine's own namespace has them all. One that cannot be read is taken for that.
    pub fn is_everything(&self) -> bool {
        self.0.first().is_none_or(|range| (range.inside, range.outside, range.count) == (0, 0, u32::MAX))
    }

    /// Only the user's own.
    pub fn is_single(&self) -> bool {
        matches!(self.0.as_slice(), [Range { count: 1, .. }])
    }

    pub fn has(&self, id: u32) -> bool {
        self.0.iter().any(|range| id.checked_sub(range.inside).is_some_and(|at| at < range.count))
    }

    /// Behind the last id there is, where they are without gaps.
    fn end(&self) -> u32 {
        self.0.last().map_or(0, |range| range.inside.saturating_add(range.count))
    }

    /// A range for machines' processes: first and count. None: there are not enough to spare.
    pub fn for_machines(&self) -> Option<(u32, u32)> {
        let end = self.end().min(LAST);
        let first = end.checked_sub(MACHINES)?;
        (first >= USUAL / 2).then_some((first, MACHINES))
    }

    /// As newuidmap(1) wants them.
    pub fn words(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|range| [range.inside, range.outside, range.count].map(|id| id.to_string()))
    }
}

/// `name or uid:first:count`.
fn subordinate(line: &str, user: u32, name: Option<&str>) -> Option<(u32, u32)> {
    let mut fields = line.trim().split(':');
    let whose = fields.next()?;
    if Some(whose) != name && whose.parse() != Ok(user) {
        return None;
    }
    let (first, count) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
    (count > 0 && first.checked_add(count).is_some()).then_some((first, count))
}

/// A user's name by passwd(5).
pub fn name_of(user: u32, passwd: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(passwd).ok()?).into_owned();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    };
    text.lines().find_map(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn subordinate_ids_come_behind_the_users_own_by_name_and_by_number() {
        let subuid = file("ann:100000:65536\nbob:1:1\n1000:300000:5\nann:x:1\nann:5:0\nann:4294967295:2\n");
        let map = IdMap::wanted(1000, 1000, Some("ann"), subuid.path());
        assert_eq!(map.words().collect::<Vec<_>>().join(" "), "0 1000 1 1 100000 65536 65537 300000 5");
        assert!(!map.is_single() && map.has(65541) && !map.has(65542));
        let other = IdMap::wanted(7, 7, None, subuid.path());
        assert!(other.is_single() && other.has(0) && !other.has(1));
        assert!(IdMap::wanted(7, 7, None, Path::new("/nonexistent")).is_single());
    }

    #[test]
    fn only_the_machines_own_namespace_has_every_id() {
        assert!(IdMap::parse("         0          0 4294967295\n").is_everything());
        assert!(!IdMap::parse("0 1000 1\n1 100000 65536\n").is_everything());
    }

    #[test]
    fn machines_have_ids_that_images_hardly_use_where_there_are_enough() {
        let map = IdMap::parse("0 1000 1\n1 100000 65536\n");
        let (first, count) = map.for_machines().unwrap();
        assert!(first > 60000 && map.has(first) && map.has(first + count - 1) && first + count <= LAST);
        assert_eq!(IdMap::parse("0 1000 1\n").for_machines(), None);
        assert_eq!(IdMap::parse("0 1000 1\n1 100000 1000\n").for_machines(), None);
    }

    #[test]
    fn names_are_found_in_passwd() {
        let passwd = file("root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n");
        assert_eq!(name_of(1000, passwd.path()).as_deref(), Some("ann"));
        assert_eq!(name_of(7, passwd.path()), None);
    }
}
