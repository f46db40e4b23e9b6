//! Of layers made of tars, in a folder of the test's own. What an owner other than one's own takes is tried
//! by root only.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::{fs, io};

use super::*;
use crate::image::convert::{self, Options};

struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Tar {
        Tar(tar::Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: tar::EntryType, name: &str, mode: u32, link: &str, content: &[u8]) -> Tar {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000);
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        header.set_uid(own.0.into());
        header.set_gid(own.1.into());
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Tar {
        self.entry(tar::EntryType::Regular, name, 0o640, "", content)
    }

    fn layer(self, store: &Store) -> Digest {
        let tar = self.0.into_inner().unwrap();
        let made = convert::convert(store, io::Cursor::new(tar), Options::default()).unwrap();
        let digest = made.diff_id();
        made.replace(store).unwrap();
        digest
    }
}

fn names(folder: &Path) -> BTreeMap<String, fs::Metadata> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().to_str().unwrap().to_owned(), e.metadata().unwrap())).collect()
}

#[test]
fn a_chain_of_layers_is_written_out_as_a_container_sees_it() {
    let (_folder, store) = Store::temporary();
    let large: Vec<u8> = (0..100_000_u32).map(|at| u8::try_from(at % 253).unwrap()).collect();
    let lower = Tar::new()
        .entry(tar::EntryType::Directory, "etc/", 0o750, "", b"")
        .file("etc/old", b"old")
        .file("etc/large", &large)
        .entry(tar::EntryType::Regular, "etc/setuid", 0o4755, "", b"x")
        .entry(tar::EntryType::Symlink, "etc/link", 0o777, "/../../outside", b"")
        .entry(tar::EntryType::Fifo, "etc/fifo", 0o600, "", b"")
        .entry(tar::EntryType::Char, "etc/node", 0o600, "", b"")
        .layer(&store);
    let upper = Tar::new()
        .file("etc/.wh.old", b"")
        .entry(tar::EntryType::Link, "etc/second", 0o640, "etc/large", b"")
        .file("deep/er/file", b"deep")
        .layer(&store);
    let folder = ensure(&store, &[lower, upper]).unwrap();
    let etc = names(&folder.join("etc"));
    assert_eq!(etc.keys().collect::<Vec<_>>(), ["fifo", "large", "link", "second", "setuid"]);
    assert_eq!(fs::read(folder.join("etc/large")).unwrap(), large);
    assert_eq!((etc["large"].ino(), etc["large"].nlink()), (etc["second"].ino(), 2));
    assert_eq!(etc["setuid"].permissions().mode() & 0o7777, 0o4755);
    assert!(etc["fifo"].file_type().is_fifo());
    assert_eq!(fs::read_link(folder.join("etc/link")).unwrap(), Path::new("/../../outside"));
    let etc = folder.join("etc").metadata().unwrap();
    assert_eq!((etc.permissions().mode() & 0o7777, etc.mtime()), (0o750, 1_000_000));
    assert_eq!(fs::read(folder.join("deep/er/file")).unwrap(), b"deep");
    // Nothing else stays, and the second time there is nothing to do.
    assert_eq!(names(&store.paths().all_unpacked()).len(), 1);
    fs::write(folder.join("mark"), b"").unwrap();
    assert_eq!(ensure(&store, &[lower, upper]).unwrap(), folder);
    assert!(folder.join("mark").exists());
}

#[test]
fn a_tree_deeper_than_there_are_descriptors_is_written() {
    let (_folder, store) = Store::temporary();
    let deep = "d/".repeat(1800);
    let layer = Tar::new().file(&format!("{deep}file"), b"x").layer(&store);
    let folder = ensure(&store, &[layer]).unwrap();
    remove::tree(&folder).unwrap();
}

#[test]
fn what_a_killed_writer_left_is_replaced_and_what_no_image_has_is_collected() {
    let (_folder, store) = Store::temporary();
    let layer = Tar::new().file("file", b"x").layer(&store);
    let folder = store.paths().unpacked(&layer, IdMap::of_users().is_single());
    let part = PathBuf::from(format!("{}.part", folder.display()));
    fs::create_dir_all(part.join("root/left")).unwrap();
    assert_eq!(ensure(&store, &[layer]).unwrap(), folder);
    assert!(!part.exists() && !folder.join("left").exists());
    let all = store.paths().all_unpacked();
    fs::create_dir_all(all.join("not hull's")).unwrap();
    remove_others(&all, |chain| *chain == layer).unwrap();
    assert!(folder.exists());
    remove_others(&all, |_| false).unwrap();
    assert!(!folder.exists() && all.join("not hull's").exists());
}

#[test]
fn sparse_files_keep_their_holes() {
    let (_folder, store) = Store::temporary();
    let mut content = vec![0; 1 << 20];
    content.extend_from_slice(b"end");
    let layer = Tar::new().file("sparse", &content).layer(&store);
    let folder = ensure(&store, &[layer]).unwrap();
    assert_eq!(fs::read(folder.join("sparse")).unwrap(), content);
}
