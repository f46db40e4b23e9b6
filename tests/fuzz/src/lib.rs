//! What the targets share: files in memory, and the way from a tar to a layer file and to a merged root.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use hull_engine::image::layer::build::{BuildError, LayerBuilder};
use hull_engine::image::layer::erofs::data::DataWriter;
use hull_engine::image::layer::erofs::reader::LayerReader;
use hull_engine::image::layer::erofs::writer::{self, Device, Kind};
use hull_engine::image::layer::merge::{self, MergeError};
use hull_engine::image::layer::tar::TarReader;
use hull_engine::image::layer::tree::Tree;

/// Ceilings, so that the fuzzer's own limit on memory is never met.
pub const MAX_BYTES: u64 = 16 << 20;
pub const MAX_ENTRIES: u64 = 20_000;

/// A file in memory with these bytes.
pub fn file(bytes: &[u8]) -> File {
    // Nobody else has this process's number, and the name is gone at once.
    let name = PathBuf::from(format!("/dev/shm/hull-fuzz-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&name).unwrap();
    std::fs::remove_file(&name).unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// By which an open file can be opened again.
pub fn path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// All of a file, if it is small.
pub fn bytes(file: &File) -> Vec<u8> {
    let length = file.metadata().unwrap().len().min(MAX_BYTES);
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A layer file of a tar.
pub fn convert(tar: &[u8]) -> Result<File, BuildError> {
    let file = file(b"");
    let mut reader = TarReader::new(tar);
    let mut builder = LayerBuilder::new(DataWriter::new(&file, MAX_BYTES), MAX_ENTRIES);
    while let Some(member) = reader.next_member()? {
        builder.add(&member, &mut reader)?;
    }
    let (tree, metadata_block, _) = builder.finish()?;
    writer::write(&file, &tree, &Kind::Layer { metadata_block }, [7; 16])?;
    Ok(file)
}

/// A merged root of layer files, written out.
pub fn merge(layers: &[File]) -> Result<File, MergeError> {
    let mut tree = Tree::with_ceiling(MAX_ENTRIES);
    let mut devices = Vec::new();
    for (file, number) in layers.iter().zip(1..) {
        let layer = LayerReader::open(file)?;
        merge::apply(&mut tree, &layer, number)?;
        devices.push(Device { tag: [b'a'; 64], blocks: layer.blocks() });
    }
    let root = file(b"");
    writer::write(&root, &tree, &Kind::Merged { devices: &devices }, [9; 16])?;
    Ok(root)
}

/// Puts the right checksum into each block that looks like a tar header: no mutation would find it.
pub fn with_checksums(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    for block in tar.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    tar
}
