use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Makes a disk of each kind, has them checked and returns the 512-byte blocks that the larger takes.
fn checked(size: u64) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let unnamed = create_unnamed(dir.path(), size).unwrap();
    let path = dir.path().join("disk");
    let kept = create(&path, size).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&unnamed);
    sound(Path::new(&format!("/proc/{}/fd/{descriptor}", std::process::id())), size);
    sound(&path, size);
    kept.metadata().unwrap().blocks()
}

fn sound(path: &Path, size: u64) {
    assert_eq!(std::fs::metadata(path).unwrap().len(), size / 4096 * 4096);
    let check = Command::new("/sbin/e2fsck").arg("-fn").arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{size}: {said}{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn disks_of_all_sizes_are_sound_and_take_little_space() {
    for size in [64 * MIB, GIB, DEFAULT_SIZE, 37 * GIB] {
        let blocks = checked(size);
        assert!(blocks * 512 < 128 * 1024, "{size}: {blocks} blocks");
    }
    // A descriptor of 64 bytes for each 128 MiB.
    assert!(checked(TIB) * 512 < 1024 * 1024);
}

#[test]
fn odd_sizes_end_with_a_short_group_or_without_it() {
    const METADATA: u64 = 514 * 4096;
    for rest in [1, 4095, 4096, METADATA - 4096, METADATA, METADATA + 4096, 64 * MIB, 128 * MIB - 4096] {
        checked(GIB + rest);
    }
    checked(64 * MIB + 1);
    checked(128 * MIB - 1);
    checked(128 * MIB);
    checked(128 * MIB + 1);
}

#[test]
fn sizes_out_of_bounds_are_refused_and_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    for size in [0, 1, 64 * MIB - 1, 16 * TIB + 1, u64::MAX] {
        assert_eq!(create(&path, size).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(!path.exists());
        assert!(create_unnamed(dir.path(), size).is_err());
    }
}

#[test]
fn same_size_is_the_same_file_system() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = [(); 2].map(|()| {
        let mut bytes = Vec::new();
        let file = create_unnamed(dir.path(), 64 * MIB).unwrap();
        file.take(4 * MIB).read_to_end(&mut bytes).unwrap();
        bytes
    });
    assert!(one == two);
}
