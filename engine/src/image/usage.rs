//! What images take on the disk: layer files and blobs, each counted once.

use std::collections::BTreeMap;

use super::digest::Digest;
use crate::store::db::inventory::Kept;

/// A file of the store: layers and blobs have digests of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum File {
    Layer(Digest),
    Blob(Digest),
}

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageUsage {
    /// Of files that other images need, too.
    pub shared: u64,
    pub unique: u64,
}

/// Sizes of files, and by how many images they are needed.
#[derive(Debug, Default)]
pub struct Usage {
    files: BTreeMap<File, (u64, u32)>,
}

fn files(image: &Kept) -> BTreeMap<File, u64> {
    let layers = image.layers.iter().map(|layer| (File::Layer(layer.diff_id), layer.bytes));
    let blobs = image.blobs.iter().map(|(digest, bytes)| (File::Blob(*digest), *bytes));
    // An image may have a layer twice.
    layers.chain(blobs).collect()
}

impl Usage {
    pub fn of<'a>(images: impl IntoIterator<Item = &'a Kept>) -> Self {
        let mut usage = Self::default();
        for (file, bytes) in images.into_iter().flat_map(files) {
            usage.files.entry(file).or_insert((bytes, 0)).1 += 1;
        }
        usage
    }

    pub fn total(&self) -> u64 {
        self.files.values().map(|(bytes, _)| bytes).sum()
    }

    /// Of one of the images.
    pub fn image(&self, image: &Kept) -> ImageUsage {
        let mut usage = ImageUsage::default();
        for (file, bytes) in files(image) {
            let shared = self.files.get(&file).is_some_and(|(_, images)| *images > 1);
            *(if shared { &mut usage.shared } else { &mut usage.unique }) += bytes;
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::db::images::LayerRow;

    fn image(layers: &[(&str, u64)], blobs: &[(&str, u64)]) -> Kept {
        let id = Digest::of(b"");
        let digest = |name: &str| Digest::of(name.as_bytes());
        let layer = |(name, bytes): &(&str, u64)| LayerRow {
            diff_id: digest(name),
            bytes: *bytes,
            tar_bytes: 1,
            entries: 1,
        };
        Kept {
            id,
            manifest: id,
            hidden: false,
            names: Vec::new(),
            layers: layers.iter().map(layer).collect(),
            blobs: blobs.iter().map(|(name, bytes)| (digest(name), *bytes)).collect(),
            containers: 0,
        }
    }

    #[test]
    fn what_images_share_counts_once() {
        let images = [
            image(&[("base", 100), ("base", 100), ("top", 10)], &[("config a", 1)]),
            image(&[("base", 100)], &[("config b", 2)]),
        ];
        let usage = Usage::of(&images);
        assert_eq!(usage.total(), 113);
        assert_eq!(usage.image(&images[0]), ImageUsage { shared: 100, unique: 11 });
        assert_eq!(usage.image(&images[1]), ImageUsage { shared: 100, unique: 2 });
    }
}
