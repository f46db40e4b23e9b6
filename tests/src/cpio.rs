//! Initramfs archives ("newc", cpio(5)).

/// An entry of an archive.
pub struct File<'a> {
    name: &'a str,
    mode: u32,
    /// Major and minor number.
    device: (u32, u32),
    content: &'a [u8],
}

impl<'a> File<'a> {
    pub fn program(name: &'a str, content: &'a [u8]) -> File<'a> {
        File { name, mode: 0o100_755, device: (0, 0), content }
    }

    pub fn folder(name: &'a str) -> File<'a> {
        File { name, mode: 0o040_755, device: (0, 0), content: &[] }
    }

    pub fn character_device(name: &'a str, device: (u32, u32)) -> File<'a> {
        File { name, mode: 0o020_600, device, content: &[] }
    }
}

pub fn archive(files: &[File]) -> Vec<u8> {
    let mut archive = Vec::new();
    for file in files {
        entry(&mut archive, file);
    }
    entry(&mut archive, &File { name: "TRAILER!!!", mode: 0, device: (0, 0), content: &[] });
    archive
}

fn entry(archive: &mut Vec<u8>, file: &File) {
    let pad = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
    // Any number does for an inode that no other entry has.
    let (inode, (major, minor)) = (archive.len(), file.device);
    let (mode, size, name_size) = (file.mode, file.content.len(), file.name.len() + 1);
    let owner = format!("{:08x}{:08x}{:08x}{:08x}", 0, 0, 1, 0);
    let header = format!(
        "070701{inode:08x}{mode:08x}{owner}{size:08x}{:08x}{:08x}{major:08x}{minor:08x}{name_size:08x}{:08x}",
        0, 0, 0
    );
    archive.extend(header.as_bytes());
    archive.extend(file.name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend(file.content);
    pad(archive);
}
