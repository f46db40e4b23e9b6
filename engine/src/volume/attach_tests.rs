use std::cell::RefCell;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use hull_guest::protocol::{Disk, Propagation};

use super::*;
use crate::volume::{VolumeRow, VolumeSettings};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
    (folder, store)
}

fn mount(kind: Kind, target: &str) -> MountPoint {
    MountPoint {
        kind,
        target: target.to_string(),
        readonly: false,
        propagation: Propagation::Private,
        recursive: true,
        subpath: None,
        mode: String::new(),
    }
}

fn bind(source: &Path, create: bool) -> Kind {
    Kind::Bind { source: source.to_path_buf(), create }
}

fn volume(name: &str) -> Kind {
    Kind::Volume { name: name.to_string(), anonymous: false, copy: true }
}

/// A machine with one disk, that shares so many mounts.
#[derive(Default)]
struct Fake {
    shared: RefCell<u32>,
    most: u32,
    sealed: RefCell<Vec<String>>,
    /// What its guest has open for writing.
    written: Option<&'static str>,
}

impl Machine for Fake {
    fn share(&self, _: BorrowedFd<'_>) -> Result<String, ShareError> {
        let mut shared = self.shared.borrow_mut();
        if *shared == self.most {
            return Err(ShareError::Ending);
        }
        *shared += 1;
        Ok(format!("s{shared}"))
    }

    fn seal(&self, name: &str) -> Result<(), ShareError> {
        if self.written == Some(name) {
            return Err(ShareError::Ending);
        }
        self.sealed.borrow_mut().push(name.to_string());
        Ok(())
    }

    fn disk(&self, volume: &str) -> Option<Disk> {
        (volume == "database").then_some(Disk { index: 2, sectors: 8 })
    }
}

fn told(places: Vec<Place>, most: u32) -> (Result<(), AttachError>, Attached) {
    let known = &mut HashMap::new();
    let of = |place| {
        let point = point(Isolation::Namespace, &mount(bind(Path::new("/"), false), "/a"), known).unwrap();
        Point { place, ..point }
    };
    let points = places.into_iter().map(of).collect();
    let mut attached = Attached::default();
    let machine = Fake { most, ..Fake::default() };
    let outcome = Prepared { points, populations: Vec::new() }.told(&machine, &mut attached);
    (outcome, attached)
}

fn tree() -> Place {
    share(false)
}

fn share(fills: bool) -> Place {
    Place::Tree { mount: File::open("/").unwrap().into(), fills }
}

fn sources(attached: &Attached) -> Vec<String> {
    let name = |mount: &Mount| match mount {
        Mount::Bind(Bind { source: BindSource::Path { .. }, .. }) => "path".to_string(),
        Mount::Bind(Bind { source: BindSource::Share { name }, .. }) => name.clone(),
        Mount::Bind(Bind { source: BindSource::Disk { disk }, .. }) => format!("disk {}", disk.index),
        Mount::Tmpfs { .. } => "tmpfs".to_string(),
    };
    attached.mounts.iter().map(name).collect()
}

#[test]
fn each_source_becomes_what_the_sandbox_has_for_it() {
    let places = vec![Place::Told, tree(), Place::Disk("database".into()), tree()];
    let (outcome, attached) = told(places, 9);
    outcome.unwrap();
    assert_eq!(sources(&attached), ["path", "s1", "disk 2", "s2"]);
    assert_eq!(attached.shares, ["s1", "s2"]);
}

#[test]
fn what_was_shared_before_a_failure_is_known() {
    let (outcome, attached) = told(vec![tree(), tree()], 1);
    assert!(matches!(outcome, Err(AttachError::Share { .. })));
    assert_eq!(attached.shares, ["s1"]);
    let (outcome, _) = told(vec![Place::Disk("other".into())], 0);
    assert!(matches!(outcome, Err(AttachError::NoDisk(name)) if name == "other"));
}

#[test]
fn what_is_filled_to_be_read_is_sealed_and_counts_as_writable_until_then() {
    let (outcome, mut attached) = told(vec![share(true), tree(), share(true)], 9);
    outcome.unwrap();
    let holding = Fake { written: Some("s1"), ..Fake::default() };
    for _ in 0..2 {
        let refused = attached.unsealed.seal(&holding).unwrap_err();
        assert!(matches!(refused, AttachError::Seal { target, .. } if target == "/a"));
        assert_eq!(*holding.sealed.borrow(), ["s3"]);
    }
    let machine = Fake::default();
    attached.unsealed.seal(&machine).unwrap();
    attached.unsealed.seal(&machine).unwrap();
    assert_eq!(*machine.sealed.borrow(), ["s1"]);
    // What was shared before a failure is not left writable either.
    let (outcome, mut attached) = told(vec![share(true), tree()], 1);
    assert!(outcome.is_err());
    let machine = Fake::default();
    attached.unsealed.seal(&machine).unwrap();
    assert_eq!(*machine.sealed.borrow(), ["s1"]);
}

#[test]
fn outer_mounts_come_first_and_of_one_place_the_later_lies_above() {
    let tmpfs = |target: &str, size| Mount::Tmpfs {
        target: target.into(),
        size: Some(size),
        mode: 0o700,
        options: Vec::new(),
    };
    let mounts = [("/a/b/c", 1), ("/d", 2), ("/a/b", 3), ("/d/", 4), ("/", 5)];
    let sorted = in_order(mounts.iter().map(|(target, size)| tmpfs(target, *size)).collect());
    let sizes = sorted.iter().map(|mount| match mount {
        Mount::Tmpfs { size, .. } => size.unwrap(),
        Mount::Bind(_) => 0,
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [5, 2, 4, 3, 1]);
}

#[test]
fn a_machine_has_a_device_only_for_what_is_asked_for() {
    let (_folder, store) = store();
    for (name, block_bytes) in [("plain", None), ("database", Some(1 << 30))] {
        let settings = VolumeSettings { block_bytes, ..VolumeSettings::default() };
        let row = VolumeRow { name: name.into(), driver: "local".into(), created: 1, settings };
        store.db().add_volume(&row).unwrap();
    }
    let needs = |mode, kinds: &[Kind]| {
        let volumes: Vec<_> = kinds.iter().map(|kind| mount(kind.clone(), "/a")).collect();
        Needs::of(&store, mode, &volumes).unwrap()
    };
    let database = vec!["database".to_string()];
    assert_eq!(needs(Isolation::Vm, &[]), Needs::default());
    assert_eq!(needs(Isolation::Namespace, &[bind(Path::new("/"), false)]), Needs::default());
    assert!(needs(Isolation::Vm, &[bind(Path::new("/"), false)]).shares);
    assert!(needs(Isolation::Vm, &[volume("plain")]).shares);
    let twice = [volume("database"), volume("database")];
    assert_eq!(needs(Isolation::Vm, &twice), Needs { shares: false, blocks: database });
    assert!(Needs::of(&store, Isolation::Vm, &[mount(volume("gone"), "/a")]).is_err());
}

#[test]
fn a_missing_source_is_made_as_dockers_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("a/b");
    assert!(matches!(made(&missing, false), Err(AttachError::Missing(path)) if path == missing));
    made(&missing, true).unwrap();
    made(&missing, false).unwrap();
    for path in [&missing, missing.parent().unwrap()] {
        // The process' umask takes from it; a supervisor's takes nothing.
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o700, 0o700);
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let below = folder.path().join("file/a");
    // Whoever opens it says what is wrong.
    assert!(made(&below, true).is_ok());
}

#[test]
fn each_mount_of_a_folder_and_the_first_of_a_disk_may_fill_it() {
    let folder = Known { mounted: driver::Mounted::Folder("/volume".into()), fills: true };
    let disk = Known { mounted: driver::Mounted::Disk("/disk".into()), fills: true };
    let full = Known { mounted: driver::Mounted::Folder("/full".into()), fills: false };
    let mut known = HashMap::from([("folder", folder), ("disk", disk), ("full", full)]);
    let mut copies =
        |volume: &MountPoint| point(Isolation::Namespace, volume, &mut known).unwrap().bind.copy_image;
    for (name, second) in [("folder", true), ("disk", false)] {
        let sub = MountPoint { subpath: Some("sub".into()), ..mount(volume(name), "/sub") };
        let none = Kind::Volume { name: name.into(), anonymous: false, copy: false };
        assert!(!copies(&sub));
        assert!(!copies(&mount(none, "/none")));
        assert!(copies(&mount(volume(name), "/first")));
        assert_eq!(copies(&mount(volume(name), "/second")), second);
    }
    assert!(!copies(&mount(volume("full"), "/full")));
}

#[test]
fn a_subpath_leads_nowhere_but_into_its_volume() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("volume");
    fs::create_dir_all(root.join("in")).unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    symlink("in", root.join("inside")).unwrap();
    symlink("../out", root.join("outside")).unwrap();
    symlink("/", root.join("host")).unwrap();
    assert!(below(&root, Path::new("in")).is_ok());
    assert!(below(&root, Path::new("inside")).is_ok());
    for out in ["outside", "host", "..", "in/../..", "/", "none"] {
        assert!(below(&root, Path::new(out)).is_err(), "{out}");
    }
}

/// Mounts are root's to make.
#[test]
fn a_machine_is_shown_folders_and_files_and_nothing_that_only_a_host_can_serve() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "").unwrap();
    let _socket = UnixListener::bind(path("socket")).unwrap();
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let open = |path: &Path| opened(path, &mount(bind(path, false), "/a"), false);
    for good in [folder.path().to_path_buf(), path("file")] {
        assert!(open(&good).is_ok(), "{}", good.display());
    }
    for (special, kind) in
        [(path("socket"), "socket"), (path("pipe"), "named pipe"), ("/dev/null".into(), "device")]
    {
        assert!(open(&special).unwrap_err().to_string().contains(kind), "{kind}");
    }
    let shared = MountPoint { propagation: Propagation::Shared, ..mount(bind(Path::new("/"), false), "/a") };
    assert!(opened(Path::new("/"), &shared, false).unwrap_err().to_string().contains("rshared"));
    assert!(matches!(open(&path("none")), Err(AttachError::Open { .. })));
}

#[test]
fn what_a_machine_may_not_write_is_read_only_before_it_sees_it() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    use nix::sys::statvfs::{FsFlags, fstatvfs};
    let folder = tempfile::tempdir().unwrap();
    let mounted = driver::Mounted::Folder(folder.path().to_path_buf());
    let mut known = HashMap::from([("v", Known { mounted: mounted.clone(), fills: true })]);
    known.insert("full", Known { mounted, fills: false });
    let mut shown = |kind, readonly| {
        let volume = MountPoint { readonly, ..mount(kind, "/a") };
        let point = point(Isolation::Vm, &volume, &mut known).unwrap();
        assert_eq!(point.bind.readonly, readonly);
        let Place::Tree { mount, fills } = point.place else { panic!("it is no share") };
        let flags = fstatvfs(&mount).unwrap().flags();
        assert!(flags.contains(FsFlags::ST_NOSUID | FsFlags::ST_NODEV));
        (point.bind.copy_image, fills, flags.contains(FsFlags::ST_RDONLY))
    };
    let uncopied = Kind::Volume { name: "v".into(), anonymous: false, copy: false };
    assert_eq!(shown(bind(folder.path(), false), true), (false, false, true));
    assert_eq!(shown(bind(folder.path(), false), false), (false, false, false));
    assert_eq!(shown(uncopied, true), (false, false, true));
    assert_eq!(shown(volume("full"), true), (false, false, true));
    assert_eq!(shown(volume("v"), false), (true, false, false));
    // Until it has been filled.
    assert_eq!(shown(volume("v"), true), (true, true, false));
}
