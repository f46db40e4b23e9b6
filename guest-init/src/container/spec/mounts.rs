//! The mounts of a spec.

use rustix::mount::MountAttrFlags;

use super::{Place, SpecError, check_mode, check_path};
use crate::container::targets;
use crate::protocol::{Bind, BindSource, Mount, Propagation, Text};

/// Bytes of a share's name.
const MAX_SHARE_NAME: usize = 64;

pub enum ValidMount {
    Tmpfs(Tmpfs),
    Bind(Bind),
}

pub struct Tmpfs {
    pub target: Text,
    pub size: Option<u64>,
    pub mode: u32,
    pub attributes: MountAttrFlags,
    /// Further options of tmpfs(5): `uid`, `gid`, `nr_inodes`.
    pub settings: Vec<(&'static str, u32)>,
}

impl ValidMount {
    pub fn target(&self) -> &[u8] {
        match self {
            ValidMount::Tmpfs(tmpfs) => tmpfs.target.as_bytes(),
            ValidMount::Bind(bind) => bind.target.as_bytes(),
        }
    }
}

pub fn validate(mount: Mount, place: Place) -> Result<ValidMount, SpecError> {
    match mount {
        Mount::Tmpfs { target, size, mode, options } => {
            check_target(&target, false)?;
            check_mode("mounts", mode)?;
            let mut tmpfs =
                Tmpfs { target, size, mode, attributes: MountAttrFlags::empty(), settings: Vec::new() };
            options.into_iter().try_for_each(|word| tmpfs.apply(word))?;
            Ok(ValidMount::Tmpfs(tmpfs))
        }
        Mount::Bind(bind) => {
            check_bind(&bind, place)?;
            Ok(ValidMount::Bind(bind))
        }
    }
}

impl Tmpfs {
    fn apply(&mut self, word: String) -> Result<(), SpecError> {
        if let Some((flag, on)) = attribute(&word) {
            // How access times are kept is one number, of which each word but `diratime` is a value.
            if MountAttrFlags::MOUNT_ATTR__ATIME.contains(flag) && on {
                self.attributes.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
            }
            self.attributes.set(flag, on);
            return Ok(());
        }
        let setting = word.split_once('=').and_then(|(key, value)| {
            let key = ["uid", "gid", "nr_inodes"].into_iter().find(|known| *known == key)?;
            Some((key, value.parse().ok()?))
        });
        self.settings.push(setting.ok_or(SpecError::Word { field: "mounts", word })?);
        Ok(())
    }
}

fn attribute(word: &str) -> Option<(MountAttrFlags, bool)> {
    Some(match word {
        "ro" => (MountAttrFlags::MOUNT_ATTR_RDONLY, true),
        "rw" => (MountAttrFlags::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, true),
        "suid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, false),
        "nodev" => (MountAttrFlags::MOUNT_ATTR_NODEV, true),
        "dev" => (MountAttrFlags::MOUNT_ATTR_NODEV, false),
        "noexec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, true),
        "exec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, false),
        "noatime" => (MountAttrFlags::MOUNT_ATTR_NOATIME, true),
        "relatime" => (MountAttrFlags::MOUNT_ATTR_RELATIME, true),
        "strictatime" => (MountAttrFlags::MOUNT_ATTR_STRICTATIME, true),
        "nodiratime" => (MountAttrFlags::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (MountAttrFlags::MOUNT_ATTR_NODIRATIME, false),
        _ => return None,
    })
}

fn check_bind(bind: &Bind, place: Place) -> Result<(), SpecError> {
    match (&bind.source, place) {
        (BindSource::Path { path }, Place::Host) => check_path("mounts", path)?,
        (BindSource::Path { .. }, Place::Guest) => {
            return Err(SpecError::Bind("a host's path exists on a host only"));
        }
        (BindSource::Share { .. } | BindSource::Disk { .. }, Place::Host) => {
            return Err(SpecError::Bind("shares and disks exist in a guest only"));
        }
        (BindSource::Share { name }, Place::Guest) => check_share(name)?,
        (BindSource::Disk { .. }, Place::Guest) => (),
    }
    if place == Place::Guest && bind.propagation != Propagation::Private {
        return Err(SpecError::Bind("a guest's mounts are its own: propagation must be private"));
    }
    if let Some(subpath) = &bind.subpath {
        check_subpath(subpath)?;
    }
    // Only the kernel can tell what is at a path.
    check_target(&bind.target, matches!(bind.source, BindSource::Path { .. }))
}

/// As good as it can be told without looking: links of the image may lead elsewhere.
fn check_target(target: &Text, may_be_proc: bool) -> Result<(), SpecError> {
    check_path("mounts", target)?;
    Ok(targets::check_path(&targets::clean(target.as_bytes()), may_be_proc)?)
}

fn check_share(name: &str) -> Result<(), SpecError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_SHARE_NAME).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(SpecError::Bind("the name of a share must be 1 to 64 of a-z, 0-9 and -"))
    }
}

/// Docker's rule.
fn check_subpath(path: &Text) -> Result<(), SpecError> {
    let bytes = path.as_bytes();
    let climbs = bytes.split(|&byte| byte == b'/').any(|name| name == b"..");
    if bytes.is_empty() || bytes.first() == Some(&b'/') || climbs || bytes.contains(&0) {
        return Err(SpecError::Bind("subpath must be a relative path within the volume"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Disk;

    fn tmpfs(options: &[&str]) -> Result<Tmpfs, String> {
        let options = options.iter().map(|&word| word.into()).collect();
        let mount = Mount::Tmpfs { target: "/tmp".into(), size: None, mode: 0o1777, options };
        match validate(mount, Place::Host) {
            Ok(ValidMount::Tmpfs(tmpfs)) => Ok(tmpfs),
            Ok(ValidMount::Bind(_)) => unreachable!(),
            Err(error) => Err(error.to_string()),
        }
    }

    fn bind(source: BindSource, change: impl FnOnce(&mut Bind), place: Place) -> String {
        let mut bind = Bind {
            source,
            subpath: None,
            target: "/data".into(),
            readonly: false,
            recursive: true,
            propagation: Propagation::Private,
            copy_image: false,
        };
        change(&mut bind);
        validate(Mount::Bind(bind), place).map_or_else(|error| error.to_string(), |_| String::new())
    }

    fn share(name: &str) -> BindSource {
        BindSource::Share { name: name.into() }
    }

    #[test]
    fn last_word_of_a_tmpfs_counts() {
        let nosuid = MountAttrFlags::MOUNT_ATTR_NOSUID;
        assert_eq!(tmpfs(&["ro", "nosuid", "noexec", "exec", "rw"]).unwrap().attributes, nosuid);
        let attributes = tmpfs(&["noatime", "nodiratime", "strictatime"]).unwrap().attributes;
        let wanted = MountAttrFlags::MOUNT_ATTR_STRICTATIME | MountAttrFlags::MOUNT_ATTR_NODIRATIME;
        assert_eq!(attributes, wanted);
        assert_eq!(tmpfs(&["uid=7", "nr_inodes=100"]).unwrap().settings, [("uid", 7), ("nr_inodes", 100)]);
        for word in ["huge=always", "uid=", "uid=-1", "mpol=local", "rshared", ""] {
            assert_eq!(tmpfs(&[word]).err(), Some(format!("mounts: unknown word {word:?}")));
        }
    }

    #[test]
    fn binds_come_from_where_the_agent_lives() {
        let path = || BindSource::Path { path: "/srv".into() };
        let disk = || BindSource::Disk { disk: Disk { index: 2, sectors: 8 } };
        assert_eq!(bind(path(), |_| (), Place::Host), "");
        assert_eq!(bind(path(), |_| (), Place::Guest), "mounts: a host's path exists on a host only");
        for source in [share("a-1"), disk()] {
            assert_eq!(bind(source.clone(), |_| (), Place::Guest), "");
            let told = bind(source, |_| (), Place::Host);
            assert_eq!(told, "mounts: shares and disks exist in a guest only");
        }
        let told = bind(disk(), |bind| bind.propagation = Propagation::Slave, Place::Guest);
        assert_eq!(told, "mounts: a guest's mounts are its own: propagation must be private");
    }

    #[test]
    fn names_and_paths_that_could_lead_elsewhere_are_refused() {
        for name in ["", "..", "a/b", "A", "a.b", &"a".repeat(65)] {
            let told = bind(share(name), |_| (), Place::Guest);
            assert_eq!(told, "mounts: the name of a share must be 1 to 64 of a-z, 0-9 and -");
        }
        for path in ["", "/a", "a/../..", "..", "a\0"] {
            let told = bind(share("a"), |bind| bind.subpath = Some(path.into()), Place::Guest);
            assert_eq!(told, "mounts: subpath must be a relative path within the volume", "{path:?}");
        }
        for target in ["/", "//./", "/proc/", "/proc/./self", "/a/..", "relative"] {
            let told = bind(share("a"), |bind| bind.target = target.into(), Place::Guest);
            assert!(!told.is_empty(), "{target}");
        }
    }
}
