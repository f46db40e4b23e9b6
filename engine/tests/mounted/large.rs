//! Files beyond 32 bits, which few images have and none may break.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use hull_engine::image::convert::Options;
use hull_engine::image::import::{Import, import};
use hull_engine::image::layer::erofs::format::BLOCK;
use hull_engine::image::layer::erofs::reader::LayerReader;
use hull_engine::image::layer::erofs::writer::{self, Device, Kind};
use hull_engine::image::layer::merge;
use hull_engine::image::layer::tree::{Attributes, Body, Data, Tree};
use hull_engine::image::{Naming, Root, RootLayer, catalog};

use crate::{image::Layer, may_mount, mounts, store};

const GIB: u64 = 1 << 30;

/// Places in a large file that are easy to get wrong.
const MARKS: [u64; 5] = [0, 2 * GIB - 4, 4 * GIB - 4, 4 * GIB, 5 * GIB - 8];

#[test]
fn a_contiguous_file_of_five_gib_is_one_chunk() {
    if !may_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (layer_path, metadata) = (folder.path().join("layer"), folder.path().join("root"));
    // Written by hand, with holes where a real one has data: streaming 5 GiB takes too long.
    let layer = File::create_new(&layer_path).unwrap();
    for mark in MARKS {
        layer.write_all_at(&mark.to_be_bytes(), BLOCK + mark).unwrap();
    }
    let mut tree = Tree::new();
    let data = Data::Contiguous { device: 0, block: 1 };
    let inode = tree.add_inode(Attributes::IMPLIED, Body::File { size: 5 * GIB, data }).unwrap();
    tree.link(Tree::ROOT, b"large", inode).unwrap();
    let metadata_block = u32::try_from(1 + 5 * GIB / BLOCK).unwrap();
    let layer = File::options().read(true).write(true).open(&layer_path).unwrap();
    let written = writer::write(&layer, &tree, &Kind::Layer { metadata_block }, [1; 16]).unwrap();

    let mut merged = Tree::new();
    merge::apply(&mut merged, &LayerReader::open(&layer).unwrap(), 1).unwrap();
    let devices = [Device { tag: [b'x'; 64], blocks: written.blocks }];
    let root = File::create_new(&metadata).unwrap();
    let root = writer::write(&root, &merged, &Kind::Merged { devices: &devices }, [2; 16]).unwrap();
    let sectors = |blocks: u32| u64::from(blocks) * 8;
    let root = Root {
        chain_id: hull_engine::image::Digest::of(b""),
        metadata,
        metadata_blocks: root.blocks,
        metadata_sectors: sectors(root.blocks),
        layers: vec![RootLayer {
            path: layer_path,
            start_sector: sectors(root.blocks),
            sectors: sectors(written.blocks),
        }],
        total_sectors: sectors(root.blocks) + sectors(written.blocks),
    };
    let mounted = mounts::on_loop_devices(&root);
    let file = File::open(mounted.path().join("large")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5 * GIB);
    for mark in MARKS {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, mark).unwrap();
        // Neighbouring marks overlap by half; the later one was written last.
        let expected = if mark == 4 * GIB - 4 {
            [&mark.to_be_bytes()[..4], &(4 * GIB).to_be_bytes()[..4]].concat()
        } else {
            mark.to_be_bytes().to_vec()
        };
        assert_eq!(bytes.to_vec(), expected, "{mark}");
    }
}

#[test]
fn a_sparse_file_of_ten_gib_is_read_where_it_has_data() {
    if !may_mount() {
        return;
    }
    let (_scratch, store) = store();
    let mut tar = tar::Builder::new(Vec::new());
    let map = format!("0,4,4294967290,12,{},8", 10 * GIB - 8);
    let sparse = [("GNU.sparse.size", &b"10737418240"[..]), ("GNU.sparse.map", map.as_bytes())];
    tar.append_pax_extensions(sparse).unwrap();
    let rest = Layer::new().file("sparse", b"headacross 4 GiB.the end").bytes();
    let archive = std::io::Cursor::new([tar.get_ref().as_slice(), &rest].concat());

    let name = Some("sparse".parse().unwrap());
    import(&store, archive, Import { name, options: Options::default(), ..Import::default() }).unwrap();
    let root =
        catalog::root_for(&store, &catalog::resolve(&store, &Naming::default(), "sparse").unwrap()).unwrap();
    let mounted = mounts::on_loop_devices(&root);
    let mut file = File::open(mounted.path().join("sparse")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 10 * GIB);
    for (at, text) in [
        (0, &b"head"[..]),
        (4_294_967_290, b"across 4 GiB"),
        (10 * GIB - 8, b".the end"),
        (5 * GIB, b"\0\0\0\0"),
    ] {
        let mut bytes = vec![0; text.len()];
        file.read_exact_at(&mut bytes, at).unwrap();
        assert_eq!(bytes, text, "{at}");
    }
    let mut head = [0; 8];
    file.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"head\0\0\0\0");
}
