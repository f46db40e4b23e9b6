//! The guest's initramfs: an uncompressed cpio archive ("newc", cpio(5)) that holds the agent.

use std::io::{self, Write};

/// Writes an archive with `init` as its `/init`.
pub fn write(out: &mut impl Write, init: &[u8]) -> io::Result<()> {
    entry(out, "init", 0o100_755, init)?;
    entry(out, "TRAILER!!!", 0, &[])
}

fn entry(out: &mut impl Write, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let size = u32::try_from(data.len()).map_err(too_large)?;
    let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
    // ino, mode, uid, gid, nlink, mtime, filesize, device and rdevice numbers, namesize, check
    let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    let mut header = String::from("070701");
    for field in fields {
        header.push_str(&format!("{field:08x}"));
    }
    header.push_str(name);
    header.push('\0');
    out.write_all(header.as_bytes())?;
    pad(out, header.len())?;
    out.write_all(data)?;
    pad(out, data.len())
}

/// Names and data end at a multiple of four.
fn pad(out: &mut impl Write, len: usize) -> io::Result<()> {
    out.write_all(&[0u8; 3][..len.wrapping_neg() % 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initramfs_is_what_cpio_expects() {
        let mut archive = Vec::new();
        write(&mut archive, b"#!x").unwrap();
        assert_eq!(archive.len() % 4, 0);
        assert!(archive.starts_with(b"070701"));
        let data = 110 + "init\0".len() + 1;
        assert_eq!(&archive[data..data + 4], b"#!x\0");
        assert!(archive.windows(10).any(|name| name == b"TRAILER!!!"));
    }
}
