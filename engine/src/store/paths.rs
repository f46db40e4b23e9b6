//! Where things lie below the root and the run folder.

use std::path::{Path, PathBuf};

use crate::image::digest::Digest;

/// Version of the layer writer's format: a new format converts again beside the old.
const LAYER_FORMAT: &str = "v1";
/// Version of how images are unpacked.
const UNPACKED_FORMAT: &str = "v1";

/// The store's two folders; every path in it is made here.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    run: PathBuf,
}

impl Paths {
    pub fn new(root: &Path, run: &Path) -> Self {
        Self { root: root.to_owned(), run: run.to_owned() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn run(&self) -> &Path {
        &self.run
    }

    pub fn database(&self) -> PathBuf {
        self.root.join("hull.db")
    }

    /// Writers of the database queue here.
    pub fn database_lock(&self) -> PathBuf {
        self.root.join("hull.db.lock")
    }

    /// Shared while files are being added or counted on; exclusive while files are collected.
    pub fn files_lock(&self) -> PathBuf {
        self.root.join("files.lock")
    }

    /// Held by whoever starts or removes a pod's sandbox.
    pub fn pods_lock(&self) -> PathBuf {
        self.root.join("pods.lock")
    }

    /// Held by whoever changes the host's network for this store.
    pub fn network_lock(&self) -> PathBuf {
        self.run.join("network.lock")
    }

    /// Is there when a collection was asked for while files were held.
    pub fn collection_owed(&self) -> PathBuf {
        self.root.join("collect")
    }

    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Held by whoever fetches a blob. There only meanwhile.
    pub fn blob_lock(&self, digest: &Digest) -> PathBuf {
        self.locks().join(digest.hex())
    }

    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub fn layers(&self) -> PathBuf {
        self.root.join("layers").join(LAYER_FORMAT).join("sha256")
    }

    pub fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(format!("{}.erofs", diff_id.hex()))
    }

    /// How the layer's tar is made again, if it was not kept.
    pub fn recipe(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(format!("{}.recipe", diff_id.hex()))
    }

    pub fn roots(&self) -> PathBuf {
        self.root.join("roots").join(LAYER_FORMAT).join("sha256")
    }

    pub fn merged_root(&self, chain_id: &Digest) -> PathBuf {
        self.roots().join(format!("{}.erofs", chain_id.hex()))
    }

    /// What user namespaces have in place of merged roots.
    pub fn all_unpacked(&self) -> PathBuf {
        self.root.join("unpacked").join(UNPACKED_FORMAT).join("sha256")
    }

    /// An image's files; `flat` where all of them are one user's.
    pub fn unpacked(&self, chain_id: &Digest, flat: bool) -> PathBuf {
        let suffix = if flat { ".flat" } else { "" };
        self.all_unpacked().join(format!("{}{suffix}", chain_id.hex()))
    }

    pub fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    pub fn sandbox(&self, id: &str) -> PathBuf {
        self.sandboxes().join(id)
    }

    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// A container's writable layer and its log, as long as it exists.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// All of a volume: what it shows lies in a folder or file below.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    /// Held by whoever makes, removes, mounts or unmounts a volume. There only meanwhile. A volume's name may be as
    /// long as a file's.
    pub fn volume_lock(&self, name: &str) -> PathBuf {
        self.locks().join(format!("volume-{}", Digest::of(name.as_bytes()).hex()))
    }

    /// What was in variables when containers were made, and is theirs as secrets.
    pub fn all_run_secrets(&self) -> PathBuf {
        self.run.join("secrets")
    }

    pub fn run_secrets(&self, container: &str) -> PathBuf {
        self.all_run_secrets().join(container)
    }

    pub fn run_sandboxes(&self) -> PathBuf {
        self.run.join("sandboxes")
    }

    pub fn run_sandbox(&self, id: &str) -> PathBuf {
        self.run_sandboxes().join(id)
    }

    /// Folders that exist once a store is open, parents first.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let below_root = [
            "blobs",
            "blobs/sha256",
            "layers",
            "layers/v1",
            "layers/v1/sha256",
            "roots",
            "roots/v1",
            "roots/v1/sha256",
            "sandboxes",
            "containers",
            "volumes",
            "locks",
            "tmp",
        ];
        below_root.iter().map(|folder| self.root.join(folder)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_lies_in_a_folder_that_opening_makes() {
        let paths = Paths::new(Path::new("/r"), Path::new("/run/r"));
        let digest = Digest::of(b"");
        let folders = paths.folders();
        for file in [
            paths.blob(&digest),
            paths.blob_lock(&digest),
            paths.layer(&digest),
            paths.merged_root(&digest),
            paths.volume("v"),
            paths.volume_lock("v"),
            paths.tmp().join("x"),
        ] {
            assert!(folders.contains(&file.parent().unwrap().to_owned()), "{}", file.display());
        }
    }
}
