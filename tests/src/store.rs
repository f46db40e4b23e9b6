//! A store of its own, for cases that change images or look at all that is there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::command::{Hull, Output};
use crate::{archive::Archive, listing, paths, unique};

/// An empty store and run folder; both are removed with it.
pub struct Store {
    pub root: PathBuf,
    pub run: PathBuf,
    /// For the case's own files.
    pub scratch: PathBuf,
}

impl Store {
    pub fn new() -> Store {
        let name = unique("s");
        let scratch = paths::temporary().join(&name);
        fs::create_dir_all(&scratch).unwrap();
        Store {
            root: scratch.join("root"),
            run: PathBuf::from("/run/hull-e2e-").with_file_name(format!("hull-e2e-{name}")),
            scratch,
        }
    }

    /// One with the busybox image in it.
    pub fn with_busybox() -> Store {
        let store = Store::new();
        store.load(&paths::image("busybox.tar")).exits(0);
        store
    }

    /// One with all the images of the shared store, whose files it has: images are not to be changed in it.
    pub fn over_images() -> Store {
        let store = Store::new();
        fs::create_dir_all(&store.root).unwrap();
        for folder in ["blobs", "layers", "roots"] {
            symlink(paths::shared_root().join(folder), store.root.join(folder)).unwrap();
        }
        for entry in fs::read_dir(paths::images_database()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), store.root.join(entry.file_name())).unwrap();
        }
        store
    }

    /// `hull ARGS...` on this store.
    pub fn hull<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Hull {
        self.here(Hull::new(args))
    }

    /// `hull run --rm --isolation MODE ARGS...` on this store.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Hull {
        self.here(Hull::run(args))
    }

    /// The same without `--rm`.
    pub fn keep<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Hull {
        self.here(Hull::keep(args))
    }

    fn here(&self, hull: Hull) -> Hull {
        hull.env("HULL_ROOT", &self.root).env("HULL_RUN", &self.run)
    }

    /// `hull load -i PATH`
    pub fn load(&self, path: &Path) -> Output {
        self.hull([OsStr::new("load"), OsStr::new("-i"), path.as_os_str()]).output()
    }

    /// Writes the archive and loads it.
    pub fn load_archive(&self, archive: &Archive) -> Output {
        let path = self.scratch.join(unique("archive") + ".tar");
        archive.write(&path);
        self.load(&path)
    }

    /// Every file of the store but the database and the locks, with its content, and what `hull images`
    /// says: equal before and after a command that failed.
    pub fn state(&self) -> String {
        let images = self.hull(["images", "-q"]).output().text();
        let mut files = listing::of(&self.root, &[]);
        files.retain(|line| !line.contains("/hull.db") && !line.contains(".lock "));
        // A file's name and digest, a folder's name; times may change.
        let words = |line: &String| {
            (line.split(' ').next().map(str::to_owned), line.rsplit(' ').next().map(str::to_owned))
        };
        let lines = files.iter().map(|line| match (words(line), line.contains(" links=")) {
            ((name, digest), true) => format!("{} {}", name.unwrap_or_default(), digest.unwrap_or_default()),
            ((name, _), false) => name.unwrap_or_default(),
        });
        format!("{images}\n{}", lines.collect::<Vec<_>>().join("\n"))
    }
}

impl Default for Store {
    fn default() -> Self {
        Store::new()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
        let _ = fs::remove_dir_all(&self.run);
    }
}
