use super::*;

fn read_pairs(pairs: &[(&str, &str)]) -> Result<Local, String> {
    let options = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    read(&options).map_err(|error| error.to_string())
}

#[test]
fn options_are_docker_s() {
    assert_eq!(read_pairs(&[]), Ok(Local::Plain));
    for (pairs, words) in [
        (&[("x", "1")][..], "invalid option: \"x\""),
        (&[("type", "tmpfs")], "missing required option: \"device\""),
        (&[("device", "tmpfs")], "missing required option: \"type\""),
        (&[("o", "bind"), ("type", "none")], "missing required option: \"device\""),
        (&[("size", "10m")], "quota size requested but no quota support: size= goes with kind=block"),
        (
            &[("kind", "file")],
            "invalid option: kind=\"file\"; there is kind=block, a disk with a file system of its own",
        ),
        (
            &[("kind", "block"), ("type", "ext4")],
            "invalid option: \"type\" goes with no kind=block, which has size",
        ),
    ] {
        assert_eq!(read_pairs(pairs).unwrap_err(), words, "{pairs:?}");
    }
    let mounting = Mounting { kind: "none".into(), device: "/x".into(), words: "bind,ro".into() };
    assert_eq!(
        read_pairs(&[("type", "none"), ("device", "/x"), ("o", "bind,ro")]),
        Ok(Local::Mount(mounting))
    );
}

#[test]
fn a_disk_has_a_size_that_it_can_have() {
    assert_eq!(read_pairs(&[("kind", "block")]), Ok(Local::Block(10 << 30)));
    assert_eq!(read_pairs(&[("kind", "block"), ("size", "1.5G")]), Ok(Local::Block(3 << 29)));
    for bad in ["", "0", "-1", "1k", "63m", "17t", "99999999999t", "ten", "1e9"] {
        let error = read_pairs(&[("kind", "block"), ("size", bad)]).unwrap_err();
        assert!(error.starts_with(&format!("invalid option: size={bad}: ")), "{error}");
    }
}

#[test]
fn words_become_flags_and_what_is_left_is_the_file_system_s() {
    let bits = |words: &str| flags(words).0;
    assert_eq!(flags(""), (MsFlags::empty(), String::new()));
    assert_eq!(flags("size=1m,uid=3"), (MsFlags::empty(), "size=1m,uid=3".into()));
    let expected = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
    assert_eq!(flags("ro,addr=1.2.3.4,nosuid,,vers=4"), (expected, "addr=1.2.3.4,vers=4".into()));
    assert_eq!(bits("ro,rw"), MsFlags::empty());
    assert_eq!(bits("rbind"), MsFlags::MS_BIND | MsFlags::MS_REC);
    assert_eq!(bits("defaults,rslave"), MsFlags::MS_SLAVE | MsFlags::MS_REC);
}

#[test]
fn an_address_stays_and_a_name_that_is_none_is_told() {
    for data in ["addr=10.0.0.1,rw", "addr=fd00::1", "vers=4", ""] {
        assert_eq!(with_address(data).unwrap(), data);
    }
    assert_eq!(with_address("vers=4,addr=localhost").unwrap().split('=').next(), Some("vers"));
    assert!(with_address("addr=no host").is_err());
}
