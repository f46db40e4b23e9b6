//! Makes the template of containers' writable disks: an empty ext4 file system of 10 GiB nominal
//! size, of which only the blocks that are not zero go into the binary (some 50 KiB).
//!
//! No journal: a container's writable layer ends with the container; checksums, sparse_super2 and
//! packed metadata keep the template small. UUID and hash seed are fixed, so builds are repeatable.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Whence, lseek};

const BLOCK: usize = 4096;
const SIZE: u64 = 10 << 30;
const ID: &str = "68756c6c-0000-4000-8000-000000000001";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let image = Path::new(&out).join("template.ext4");
    let _ = std::fs::remove_file(&image);
    File::create(&image).and_then(|file| file.set_len(SIZE)).expect("a sparse file in OUT_DIR");
    let features = "^has_journal,^resize_inode,sparse_super2,^huge_file,metadata_csum,64bit";
    let extended = format!(
        "packed_meta_blocks=1,num_backup_sb=0,lazy_itable_init=1,root_owner=0:0,nodiscard,hash_seed={ID}"
    );
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let made = Command::new("mkfs.ext4")
        .env("PATH", path)
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .args([
            "-q", "-F", "-b", "4096", "-m", "0", "-N", "655360", "-U", ID, "-O", features, "-E", &extended,
        ])
        .arg(&image)
        .status();
    match made {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("mkfs.ext4 ended with {status}"),
        Err(error) => panic!("mkfs.ext4 could not be started ({error}); on Debian: apt install e2fsprogs"),
    }
    let file = File::open(&image).expect("the image just made");
    let mut packed = Vec::new();
    for block in blocks_with_data(&file) {
        let mut bytes = vec![0; BLOCK];
        file.read_exact_at(&mut bytes, block * BLOCK as u64).expect("a block of the image");
        packed.extend_from_slice(&block.to_le_bytes());
        packed.extend_from_slice(&bytes);
    }
    std::fs::write(Path::new(&out).join("template.bin"), packed).expect("a file in OUT_DIR");
    let _ = std::fs::remove_file(&image);
}

/// Numbers of the blocks that are not all zeros. Only what the file system holds data for is read.
fn blocks_with_data(file: &File) -> Vec<u64> {
    let mut found = Vec::new();
    let mut offset = 0i64;
    while let Ok(data) = lseek(file, offset, Whence::SeekData) {
        let end = lseek(file, data, Whence::SeekHole).expect("the end of data in a file");
        let [first, last] = [data, end - 1].map(|at| u64::try_from(at).expect("an offset") / BLOCK as u64);
        for block in first..=last {
            let mut bytes = [0; BLOCK];
            file.read_exact_at(&mut bytes, block * BLOCK as u64).expect("a block of the image");
            if bytes.iter().any(|byte| *byte != 0) {
                found.push(block);
            }
        }
        offset = end;
    }
    found
}
