use std::io::Write;

use super::*;

/// A header block with its checksum.
fn block(name: &str, kind: u8, size: u64, change: impl FnOnce(&mut [u8; BLOCK])) -> Vec<u8> {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000007");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.to_vec()
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

/// A PAX header in front of something.
fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in records {
        let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        text.extend(length.to_string().bytes());
        text.extend(rest);
    }
    [block("PaxHeaders/x", b'x', text.len() as u64, |_| ()), padded(&text)].concat()
}

fn first(archive: &[u8]) -> Result<Option<Member>, TarError> {
    TarReader::new(archive).next_member()
}

fn member(archive: &[u8]) -> Member {
    first(archive).unwrap().unwrap()
}

/// The first member with its data.
fn read(archive: &[u8]) -> Result<(Member, Vec<u8>), TarError> {
    let mut reader = TarReader::new(archive);
    let member = reader.next_member()?.unwrap();
    let data = reader.read_all(1 << 20)?.unwrap();
    Ok((member, data))
}

#[test]
fn gnu_long_names_and_links_replace_the_short_ones() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let (name, target) = ("n/".repeat(150) + "end", "t".repeat(400));
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, &name, &target).unwrap();
    let member = member(&builder.into_inner().unwrap());
    assert_eq!((member.path, member.link), (name.into_bytes(), target.into_bytes()));
    assert_eq!(member.kind, MemberKind::Symlink);
}

#[test]
fn ustar_prefixes_come_before_the_name() {
    let archive = block("file", b'0', 0, |block| block[345..352].copy_from_slice(b"a/b/c/d"));
    assert_eq!(member(&archive).path, b"a/b/c/d/file");
    // In GNU's flavour other fields lie there.
    let archive = block("file", b'0', 0, |block| {
        block[257..265].copy_from_slice(b"ustar  \0");
        block[345..352].copy_from_slice(b"0000000");
    });
    assert_eq!(member(&archive).path, b"file");
}

#[test]
fn pax_overrides_name_size_owner_and_time() {
    let records: &[(&str, &[u8])] = &[
        ("path", "grüße".as_bytes()),
        ("size", b"5"),
        ("uid", b"4294967294"),
        ("gid", b"70000"),
        ("mtime", b"-1.25"),
        ("SCHILY.xattr.user.x", b"with\nnewline="),
    ];
    let archive = [pax(records), block("short", b'0', 0, |_| ()), padded(b"hello")].concat();
    let (member, data) = read(&archive).unwrap();
    assert_eq!(member.path, "grüße".as_bytes());
    assert_eq!((member.uid, member.gid), (4_294_967_294, 70_000));
    assert_eq!((member.mtime, member.mtime_nsec), (-2, 750_000_000));
    assert_eq!(member.xattrs, [(b"user.x".to_vec(), b"with\nnewline=".to_vec())]);
    assert_eq!((data.as_slice(), member.size), (&b"hello"[..], 5));
}

#[test]
fn global_headers_change_nothing() {
    let mut global = pax(&[("path", b"everywhere")]);
    global[..BLOCK].copy_from_slice(&block("g", b'g', 19, |_| ()));
    assert_eq!(member(&[global, block("own", b'0', 0, |_| ())].concat()).path, b"own");
}

#[test]
fn owners_out_of_range_are_refused() {
    for value in [&b"4294967295"[..], b"4294967296", b"-1"] {
        let archive = [pax(&[("uid", value)]), block("f", b'0', 0, |_| ())].concat();
        assert!(matches!(first(&archive), Err(TarError::Number("uid"))), "{}", value.escape_ascii());
    }
}

/// The same file in all four forms: 3 bytes at 0, 2 at 5000, 10000 long.
pub fn sparse_forms() -> Vec<(&'static str, Vec<u8>)> {
    let stored = padded(b"abcxy");
    let old = |extended: bool| {
        let header = block("f", b'S', 5, |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            block[386..397].copy_from_slice(b"00000000000");
            block[398..409].copy_from_slice(b"00000000003");
            if !extended {
                block[410..421].copy_from_slice(b"00000011610");
                block[422..433].copy_from_slice(b"00000000002");
            }
            block[482] = u8::from(extended);
            block[483..494].copy_from_slice(b"00000023420");
        });
        let mut extension = vec![0; BLOCK];
        extension[..11].copy_from_slice(b"00000011610");
        extension[12..23].copy_from_slice(b"00000000002");
        [header, if extended { extension } else { Vec::new() }, stored.clone()].concat()
    };
    let zero_zero = pax(&[
        ("GNU.sparse.size", b"10000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"3"),
        ("GNU.sparse.offset", b"5000"),
        ("GNU.sparse.numbytes", b"2"),
    ]);
    let zero_one =
        pax(&[("GNU.sparse.size", b"10000"), ("GNU.sparse.map", b"0,3,5000,2"), ("GNU.sparse.name", b"f")]);
    let one = pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"f"),
        ("GNU.sparse.realsize", b"10000"),
    ]);
    vec![
        ("old", old(false)),
        ("old, extended", old(true)),
        ("0.0", [zero_zero, block("f", b'0', 5, |_| ()), stored.clone()].concat()),
        ("0.1", [zero_one, block("GNUSparseFile.0/f", b'0', 5, |_| ()), stored.clone()].concat()),
        (
            "1.0",
            [
                one,
                block("GNUSparseFile.0/f", b'0', 517, |_| ()),
                padded(b"2\n0\n3\n5000\n2\n"),
                stored.clone(),
            ]
            .concat(),
        ),
    ]
}

#[test]
fn all_sparse_forms_give_the_same_map() {
    for (form, archive) in sparse_forms() {
        let (member, data) = read(&archive).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!((member.path.as_slice(), member.size, member.stored), (&b"f"[..], 10_000, 5), "{form}");
        let map = [Fragment { offset: 0, length: 3 }, Fragment { offset: 5000, length: 2 }];
        assert_eq!(member.sparse.as_deref(), Some(&map[..]), "{form}");
        assert_eq!(data, b"abcxy", "{form}");
    }
}

#[test]
fn sparse_maps_that_do_not_fit_are_refused() {
    for map in
        [&b"0,3"[..], b"0,6", b"5000,2,0,3", b"0,3,9999,2", b"0,3,5000", b"0,x", b"0,18446744073709551615"]
    {
        let header = pax(&[("GNU.sparse.size", b"10000"), ("GNU.sparse.map", map)]);
        let archive = [header, block("f", b'0', 5, |_| ()), padded(b"abcxy")].concat();
        assert!(read(&archive).is_err(), "{}", map.escape_ascii());
    }
    for map in [&b"99999999\n"[..], b"-1\n", b"\n", b"2\n0\n3\n", b"1\n0\n99999999999999999999\n"] {
        let records: &[(&str, &[u8])] = &[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"10000")];
        let archive = [pax(records), block("f", b'0', 517, |_| ()), padded(map), padded(b"abcxy")].concat();
        assert!(read(&archive).is_err(), "{}", map.escape_ascii());
    }
}

#[test]
fn archives_cut_anywhere_are_noticed() {
    let whole = [pax(&[("path", b"f")]), block("f", b'0', 700, |_| ()), padded(&[1; 700])].concat();
    for length in [1, 511, 513, 1023, 1024, 1025, 1536, 1537, 2047, 2235] {
        let mut reader = TarReader::new(&whole[..length]);
        let outcome = reader.next_member().and_then(|_| reader.next_member());
        assert!(matches!(outcome, Err(TarError::Truncated)), "{length}");
    }
    // Without the zero blocks at the end all is there all the same.
    let mut reader = TarReader::new(&whole[..]);
    assert!(reader.next_member().unwrap().is_some());
    assert!(reader.next_member().unwrap().is_none());
}

#[test]
fn extended_headers_are_limited_before_they_are_read() {
    for kind in [b'x', b'L', b'K'] {
        let archive = block("f", kind, 1 << 32, |_| ());
        assert!(matches!(first(&archive), Err(TarError::Extended(size)) if size == 1 << 32));
    }
}

#[test]
fn unknown_types_and_garbage_are_refused() {
    assert!(matches!(first(&block("f", b'M', 0, |_| ())), Err(TarError::Type(b'M'))));
    assert!(matches!(first(&[b'x'; 600]), Err(TarError::NotTar)));
    assert!(first(&[]).unwrap().is_none());
    assert!(first(&[0; 1024]).unwrap().is_none());
}

#[test]
fn links_have_no_data_whatever_size_they_state() {
    let mut archive = Vec::new();
    archive.write_all(&block("l", b'1', 100, |block| block[157..158].copy_from_slice(b"t"))).unwrap();
    archive.write_all(&block("next", b'5', 0, |_| ())).unwrap();
    let mut reader = TarReader::new(&archive[..]);
    assert_eq!(reader.next_member().unwrap().unwrap().kind, MemberKind::HardLink);
    assert_eq!(reader.next_member().unwrap().unwrap().path, b"next");
}

#[test]
fn a_name_with_a_slash_at_its_end_is_a_directory() {
    assert_eq!(member(&block("d/", 0, 0, |_| ())).kind, MemberKind::Directory);
}
