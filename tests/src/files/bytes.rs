//! Content: holes, mappings, direct and appended writes, sizes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

use super::{Check, ended_well, in_child, opened, pair, refused, same};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("holes", holes),
    ("punched", punched),
    ("reserved", reserved),
    ("direct", direct),
    ("appenders", appenders),
    ("large-offset", large_offset),
    ("statfs", statfs),
    ("truncated-by-open", truncated_by_open),
    ("synced", synced),
    ("copied-in-the-kernel", copied_in_the_kernel),
    ("programs", programs),
];

fn holes(folder: &Path) -> io::Result<()> {
    let mut file = opened(&folder.join("one"))?;
    file.write_all_at(b"end", 50 << 20)?;
    same("size", file.metadata()?.len(), (50 << 20) + 3)?;
    same("whether it takes little room", file.metadata()?.blocks() < 2048, true)?;
    let mut part = [1u8; 512];
    file.read_exact_at(&mut part, 7 << 20)?;
    same("what a hole has", part, [0; 512])?;
    file.seek(SeekFrom::End(-3))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    same("the end", text.as_str(), "end")
}

fn punched(folder: &Path) -> io::Result<()> {
    let file = opened(&folder.join("one"))?;
    file.write_all_at(&[7; 65536], 0)?;
    fallocate(&file, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, 4096, 8192)?;
    let mut found = vec![1u8; 65536];
    file.read_exact_at(&mut found, 0)?;
    let wanted: Vec<u8> = (0..65536).map(|at| if (4096..12288).contains(&at) { 0 } else { 7 }).collect();
    same("content", found == wanted, true)
}

fn reserved(folder: &Path) -> io::Result<()> {
    let file = opened(&folder.join("one"))?;
    fallocate(&file, FallocateFlags::empty(), 0, 1 << 20)?;
    same("size", file.metadata()?.len(), 1 << 20)?;
    same("whether it has its room", file.metadata()?.blocks() >= 2048, true)?;
    let bad = fallocate(&file, FallocateFlags::empty(), 0, -1);
    refused("a negative length", bad.map_err(io::Error::from), libc::EINVAL)
}

/// O_DIRECT, where a file system has it: what it writes is what others read.
fn direct(folder: &Path) -> io::Result<()> {
    #[repr(align(4096))]
    struct Block([u8; 4096]);
    let path = folder.join("one");
    let opened =
        OpenOptions::new().read(true).write(true).create(true).custom_flags(libc::O_DIRECT).open(&path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
        other => other?,
    };
    let (block, mut back) = (Block([9; 4096]), Box::new(Block([0; 4096])));
    file.write_all_at(&block.0, 4096)?;
    file.read_exact_at(&mut back.0, 4096)?;
    same("what is read back", back.0 == block.0, true)?;
    let buffered = fs::read(&path)?;
    same("what others read", (buffered.len(), buffered.get(5000)), (8192, Some(&9)))
}

/// Two processes that append lose nothing to each other (open(2), O_APPEND).
fn appenders(folder: &Path) -> io::Result<()> {
    const LINES: usize = 500;
    let path = folder.join("log");
    let append = |letter: &str| -> io::Result<()> {
        let mut log = OpenOptions::new().append(true).create(true).open(&path)?;
        (0..LINES).try_for_each(|_| log.write_all(format!("{}\n", letter.repeat(30)).as_bytes()))
    };
    let child = in_child(|| append("a"))?;
    append("b")?;
    ended_well(child)?;
    let text = fs::read_to_string(&path)?;
    let whole = text.lines().filter(|line| *line == "a".repeat(30) || *line == "b".repeat(30)).count();
    same("whole lines", whole, 2 * LINES)
}

fn large_offset(folder: &Path) -> io::Result<()> {
    let file = opened(&folder.join("one"))?;
    let at = (8u64 << 30) + 5;
    file.write_all_at(b"far", at)?;
    let mut back = [0; 3];
    file.read_exact_at(&mut back, at)?;
    same("what lies beyond 8 GiB", (&back, file.metadata()?.len()), (b"far", at + 3))?;
    file.set_len(0)
}

fn statfs(folder: &Path) -> io::Result<()> {
    let stat = nix::sys::statvfs::statvfs(folder)?;
    same("whether it has room", stat.blocks() > 0 && stat.blocks_available() > 0, true)?;
    same("the longest name", stat.name_max(), 255)
}

fn truncated_by_open(folder: &Path) -> io::Result<()> {
    let path = folder.join("one");
    fs::write(&path, "long content")?;
    let other = File::open(&path)?;
    fs::write(&path, "x")?;
    same("size by another descriptor", other.metadata()?.len(), 1)?;
    refused("O_EXCL", OpenOptions::new().write(true).create_new(true).open(&path), libc::EEXIST)
}

fn synced(folder: &Path) -> io::Result<()> {
    let mut file = opened(&folder.join("one"))?;
    file.write_all(b"x")?;
    file.sync_data()?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    nix::unistd::syncfs(&file).map_err(io::Error::from)
}

fn copied_in_the_kernel(folder: &Path) -> io::Result<()> {
    let (one, two) = pair(folder);
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(&one, &content)?;
    // std uses copy_file_range(2), sendfile(2) or splice(2), whichever the kernel takes.
    io::copy(&mut File::open(&one)?, &mut File::create(&two)?)?;
    same("the copy", fs::read(&two)? == content, true)
}

/// A program is mapped by the kernel; one that is open for writing does not start (execve(2)).
fn programs(folder: &Path) -> io::Result<()> {
    let path = folder.join("program");
    fs::copy("/proc/self/exe", &path)?;
    let starts = || std::process::Command::new(&path).arg("fine").status();
    same("its end", starts()?.code(), Some(0))?;
    let held = OpenOptions::new().write(true).open(&path)?;
    refused("a program that is written to", starts(), libc::ETXTBSY)?;
    drop(held);
    same("its end", starts()?.code(), Some(0))
}
