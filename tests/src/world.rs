//! A store and a folder of the host for one case, which leaves nothing behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::command::{Hull, Output};
use crate::{BUSYBOX, Store, Traces, paths};

/// Containers, pods and volumes go with it; what is on the machine then, whoever made it, fails the case.
pub struct World {
    pub store: Store,
    /// An empty folder of the host.
    pub folder: PathBuf,
    traces: Traces,
}

impl World {
    /// With all the images.
    pub fn new() -> World {
        World::of(Store::over_images())
    }

    /// With busybox, and for images of the case's own.
    pub fn with_own_images() -> World {
        World::of(Store::with_busybox())
    }

    fn of(store: Store) -> World {
        let folder = store.scratch.join("shared");
        fs::create_dir(&folder).unwrap();
        // Containers' users may go there.
        for path in folder.ancestors().take_while(|path| path.starts_with(paths::temporary())) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Opens the store, so that it has its folders.
        store.hull(["ps"]).output().exits(0);
        let traces = Traces::follow(&store.root, &store.run);
        World { store, folder, traces }
    }

    /// A path below the folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).into_os_string().into_string().unwrap()
    }

    /// Makes a folder below the folder; its path.
    pub fn dir(&self, name: &str) -> String {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    /// Writes a file below the folder; its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `hull ARGS...` to its end.
    pub fn hull<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.store.hull(args).output()
    }

    /// The same as text whose words have no spaces in them.
    pub fn say(&self, line: &str) -> Output {
        self.hull(words(line))
    }

    /// `hull run --rm --network none OPTIONS IMAGE sh -c SCRIPT`, not started yet; options as [`World::say`] takes them.
    pub fn script(&self, options: &str, image: &str, script: &str) -> Hull {
        self.store.run(["--network", "none"]).args(words(options)).args([image, "sh", "-ec", script])
    }

    /// That, with busybox, to its end.
    pub fn sh(&self, options: &str, script: &str) -> Output {
        self.script(options, BUSYBOX, script).output()
    }

    /// `hull run -d --network none --name NAME OPTIONS IMAGE COMMAND...`
    #[track_caller]
    pub fn start<const N: usize>(&self, name: &str, options: &str, command: [&str; N]) {
        let mode = paths::isolation().word();
        let line = ["run", "-d", "--isolation", mode, "--pull", "never", "--network", "none", "--name", name];
        self.hull(line.into_iter().chain(words(options)).chain(command)).exits(0);
    }

    /// One of busybox that does nothing for long.
    #[track_caller]
    pub fn sleeping(&self, name: &str, options: &str) {
        self.start(name, options, [BUSYBOX, "sleep", "1000"]);
    }

    /// `hull exec NAME sh -c SCRIPT`
    pub fn exec(&self, name: &str, script: &str) -> Output {
        self.hull(["exec", name, "sh", "-ec", script])
    }

    /// The one line of a `hull run` that is refused with that exit code.
    #[track_caller]
    pub fn refused(&self, options: &str, code: i32) -> String {
        self.sh(options, "true").fails(code)
    }

    /// The one document of `hull WORDS...`, such as `volume inspect NAME`.
    #[track_caller]
    pub fn document(&self, line: &str) -> Value {
        let text = self.say(line).text();
        serde_json::from_str::<Vec<Value>>(&text).unwrap_or_else(|e| panic!("{text}: {e}")).remove(0)
    }

    /// Names of all volumes, sorted.
    pub fn volumes(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.say("volume ls -q").text().split_whitespace().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Waits until nothing is left of containers that have gone.
    pub fn left(&mut self) -> Vec<String> {
        self.traces.left()
    }

    /// What the store's containers have on the machine now.
    pub fn traces(&mut self) -> Vec<String> {
        self.traces.now()
    }

    fn clear(&self) {
        for (list, remove) in [
            (&["ps", "-aq"][..], &["rm", "-fv"][..]),
            (&["pod", "ls", "-q"], &["pod", "rm", "-f"]),
            (&["volume", "ls", "-q"], &["volume", "rm"]),
        ] {
            let found = String::from_utf8_lossy(&self.hull(list).stdout).into_owned();
            if !found.trim().is_empty() {
                let output = self.hull(remove.iter().copied().chain(found.split_whitespace()));
                assert!(output.code == 0 || std::thread::panicking(), "{}", output.report("clearing up"));
            }
        }
    }
}

/// The words of a line, by spaces; of none there are none.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').filter(|word| !word.is_empty())
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.clear();
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.traces.left(), Vec::<String>::new(), "left behind");
        let volumes = fs::read_dir(self.store.root.join("volumes")).into_iter().flatten().flatten();
        let volumes: Vec<_> = volumes.map(|entry| entry.file_name()).collect();
        assert!(volumes.is_empty(), "folders of volumes that have gone: {volumes:?}");
    }
}

/// A file system in memory at a folder of the host, shared with mount namespaces that come from this one
/// (mount_namespaces(7)), for as long as it lives.
pub struct HostMount(PathBuf);

impl HostMount {
    pub fn tmpfs(path: impl Into<PathBuf>) -> HostMount {
        use nix::mount::{MsFlags, mount};
        let path = path.into();
        fs::create_dir_all(&path).unwrap();
        mount(Some("test"), &path, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
        mount(None::<&str>, &path, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        HostMount(path)
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// A program that `tests/run` put beside the images, as an option that shows it in a container.
pub fn program(name: &str) -> String {
    format!("-v {}:/bin/{name}:ro", paths::prepared_program(name).display())
}
