//! The ways to mount a merged root.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hull_engine::image::Root;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::{run, text};

/// A mounted file system; unmounted when dropped, and its loop devices let go.
pub struct Mounted {
    point: TempDir,
    loops: Vec<String>,
}

impl Mounted {
    /// Mounts `source`, a device or (from Linux 6.12 on) a file.
    fn new(source: &str, options: &str, loops: Vec<String>) -> Self {
        let mounted = Self { point: tempfile::tempdir().unwrap(), loops };
        mount(Some(source), mounted.point.path(), Some("erofs"), MsFlags::MS_RDONLY, Some(options))
            .unwrap_or_else(|errno| panic!("mount {source} -o {options}: {errno}"));
        mounted
    }

    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(self.point.path(), MntFlags::MNT_DETACH);
        for device in &self.loops {
            run("losetup", &["-d", device]);
        }
    }
}

fn attach(file: &Path) -> String {
    run("losetup", &["--find", "--show", "--read-only", text(file)]).trim().to_owned()
}

fn device_options(devices: impl Iterator<Item = String>) -> String {
    devices.map(|device| format!("device={device}")).collect::<Vec<_>>().join(",")
}

/// A file that is a file system of its own.
pub fn alone(file: &Path) -> Mounted {
    let device = attach(file);
    Mounted::new(&device, "", vec![device.clone()])
}

/// Metadata and layers each on a loop device: hosts from Linux 5.16 on.
pub fn on_loop_devices(root: &Root) -> Mounted {
    let metadata = attach(&root.metadata);
    let layers: Vec<_> = root.layers.iter().map(|layer| attach(&layer.path)).collect();
    let options = device_options(layers.iter().cloned());
    Mounted::new(&metadata, &options, [vec![metadata.clone()], layers].concat())
}

/// Metadata and layers as files: hosts from Linux 6.12 on. `None` before.
pub fn on_files(root: &Root) -> Option<Mounted> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next()?, numbers.next()?);
    if version < (6, 12) {
        eprintln!("Linux {}.{} does not mount files", version.0, version.1);
        return None;
    }
    let options = device_options(root.layers.iter().map(|layer| text(&layer.path).to_owned()));
    Some(Mounted::new(text(&root.metadata), &options, Vec::new()))
}

/// One device on which everything lies where the root says, mounted without options: what a guest
/// does.
pub fn on_one_disk(root: &Root, scratch: &Path) -> Mounted {
    let disk: PathBuf = scratch.join("disk");
    let mut file = File::create(&disk).unwrap();
    let layers = root.layers.iter().map(|layer| (layer.path.as_path(), layer.start_sector));
    for (path, sector) in std::iter::once((root.metadata.as_path(), 0)).chain(layers) {
        file.seek(SeekFrom::Start(sector * 512)).unwrap();
        std::io::copy(&mut File::open(path).unwrap(), &mut file).unwrap();
    }
    assert_eq!(file.metadata().unwrap().len(), root.total_sectors * 512);
    alone(&disk)
}
