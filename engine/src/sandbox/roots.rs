//! The containers' root file systems as the sandbox sees them: folders on a host, disks in a machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hull_guest::protocol::{Disk, RootSource, Text};
use hull_vmm::config::{FileSource, SECTOR, Segment};
use hull_vmm::control::DiskContent;
use serde::{Deserialize, Serialize};

use super::mode::Isolation;
use super::{LaunchError, disk, slots};
use crate::image::Root;

/// What a container's root is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RootPlan {
    /// The container's folder in the store.
    pub dir: PathBuf,
    pub image: Root,
    /// The image's files, where the kernel does not mount it.
    #[serde(default)]
    pub unpacked: Option<PathBuf>,
    /// Whether the writable layer outlives the sandbox.
    pub keep: bool,
    /// Size of the writable disk, where asked for.
    pub bytes: Option<u64>,
}

/// Who has which place, and keeps it as long as the sandbox lives: a container that starts again finds its
/// disks where they were.
#[derive(Debug)]
pub struct Roots {
    mode: Isolation,
    taken: HashMap<String, RootSource>,
    /// Pairs of a read-only and a read-write slot that are empty yet.
    free: Vec<(u8, u8)>,
}

impl Roots {
    pub fn on_host() -> Roots {
        Roots { mode: Isolation::Namespace, taken: HashMap::new(), free: Vec::new() }
    }

    /// In a machine with these empty slots, or with one container's disks in place already.
    pub fn in_machine(first: Option<(&str, RootSource)>, free: Vec<(u8, u8)>) -> Roots {
        let taken = first.into_iter().map(|(id, source)| (id.to_string(), source)).collect();
        Roots { mode: Isolation::Vm, taken, free }
    }

    pub fn source(
        &mut self,
        container: &str,
        root: &RootPlan,
        control: &UnixStream,
    ) -> Result<RootSource, LaunchError> {
        if let Some(source) = self.taken.get(container) {
            return Ok(source.clone());
        }
        let source = match self.mode {
            Isolation::Namespace => folders(root)?,
            Isolation::Vm => {
                let Some(&(lower, upper)) = self.free.first() else {
                    let why = "has no disks left for another container: those of removed ones are not used \
                               again; hull pod stop, and the next start makes new ones";
                    return Err(LaunchError::Died(format!("The pod's virtual machine {why}")));
                };
                let source = fill(root, lower, upper, control)?;
                self.free.remove(0);
                source
            }
        };
        self.taken.insert(container.to_string(), source.clone());
        Ok(source)
    }
}

/// The writable layer is a plain folder here, beside its overlay's working folder.
fn folders(root: &RootPlan) -> Result<RootSource, LaunchError> {
    let folder = |name| {
        let path = root.dir.join(name);
        match fs::create_dir(&path) {
            // A container that was started before.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(|source| LaunchError::file("create", &path, source))?,
        }
        Ok::<_, LaunchError>(Text::from(path.as_os_str()))
    };
    if let Some(lower) = &root.unpacked {
        let lower = lower.as_os_str().into();
        return Ok(RootSource::Folder { lower, upper: folder("upper")?, work: folder("work")? });
    }
    Ok(RootSource::Files {
        metadata: root.image.metadata.as_os_str().into(),
        layers: root.image.layers.iter().map(|layer| layer.path.as_os_str().into()).collect(),
        upper: folder("upper")?,
        work: folder("work")?,
    })
}

/// The segments of the read-only disk: metadata, then each layer at its address. `source` says how the
/// machine gets a file.
pub fn segments(
    image: &Root,
    mut source: impl FnMut(OwnedFd) -> FileSource,
) -> Result<Vec<Segment>, LaunchError> {
    let open = |path: &Path| {
        File::open(path).map(OwnedFd::from).map_err(|error| LaunchError::file("open", path, error))
    };
    let mut segments = vec![Segment { file: source(open(&image.metadata)?), start_sector: 0 }];
    for layer in &image.layers {
        let file = source(open(&layer.path)?);
        segments.push(Segment { file, start_sector: layer.start_sector });
    }
    Ok(segments)
}

/// The writable disk: the one of the last start, or a new one.
pub fn writable(root: &RootPlan) -> Result<File, LaunchError> {
    let path = root.dir.join("disk.ext4");
    let bytes = root.bytes.unwrap_or(disk::DEFAULT_SIZE);
    let disk = match (root.keep, path.exists()) {
        (true, true) => File::options().read(true).write(true).open(&path),
        (true, false) => disk::create(&path, bytes),
        (false, _) => disk::create_unnamed(&root.dir, bytes),
    };
    disk.map_err(|source| LaunchError::file("make a disk in", &root.dir, source))
}

pub fn disks(lower: u8, sectors: u64, upper: u8, writable: &File) -> Result<RootSource, LaunchError> {
    let bytes = writable.metadata().map_err(LaunchError::system("look at the writable disk"))?.len();
    Ok(RootSource::Disks {
        lower: Disk { index: lower, sectors },
        upper: Disk { index: upper, sectors: bytes / SECTOR },
    })
}

fn fill(root: &RootPlan, lower: u8, upper: u8, control: &UnixStream) -> Result<RootSource, LaunchError> {
    let mut files = Vec::new();
    let segments = segments(&root.image, |file| handed(&mut files, file))?;
    let writable = writable(root)?;
    let source = disks(lower, root.image.total_sectors, upper, &writable)?;
    put(control, lower, DiskContent::Segments(segments), &files)?;
    let mut files = Vec::new();
    let content = DiskContent::File(handed(&mut files, writable.into()));
    put(control, upper, content, &files)?;
    Ok(source)
}

/// Counts a file that will be handed over with the command.
fn handed(files: &mut Vec<OwnedFd>, file: OwnedFd) -> FileSource {
    files.push(file);
    FileSource::Fd(RawFd::try_from(files.len() - 1).unwrap_or(RawFd::MAX))
}

fn put(control: &UnixStream, disk: u8, content: DiskContent, files: &[OwnedFd]) -> Result<(), LaunchError> {
    let fds: Vec<BorrowedFd> = files.iter().map(AsFd::as_fd).collect();
    slots::fill(control, disk.into(), content, &fds).map(drop).map_err(LaunchError::Slot)
}
