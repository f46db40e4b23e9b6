use proptest::prelude::*;
use serde_json::json;

use super::short::Short;
use super::*;
use crate::supervisor::chain;

fn short(word: &str) -> Result<Short, String> {
    short::parse(word, None).map_err(|error| chain(&error))
}

fn mount(word: &str) -> AskedMount {
    match short(word) {
        Ok(Short::Mount { mount, .. }) => *mount,
        other => panic!("{word}: {other:?}"),
    }
}

fn long(word: &str) -> Result<(AskedMount, Value), String> {
    match long::parse(word).map_err(|error| chain(&error))? {
        (long::Long::Mount(mount), shown) => Ok((*mount, shown)),
        (long::Long::Tmpfs(mount), _) => panic!("{word}: {mount:?}"),
    }
}

fn words<'a>(volumes: &'a [String], mounts: &'a [String]) -> Words<'a> {
    Words { volumes, mounts, ..Words::default() }
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn source_with_a_slash_is_a_path_and_without_one_a_volume() {
    let bind = mount("/a/../b/:/x/./y/");
    assert_eq!(bind.source, Source::Bind { path: "/b".into(), create: true });
    assert_eq!((bind.target.as_str(), bind.readonly, bind.recursive), ("/x/y", false, true));
    let volume = AskedVolume { name: Some("name".into()), ..AskedVolume::default() };
    assert_eq!(mount("name:/x").source, Source::Volume(volume));
    assert_eq!(short("/x"), Ok(Short::Target("/x".into())));
}

#[test]
fn sources_that_begin_with_a_dot_are_in_the_current_folder() {
    let here = std::env::current_dir().unwrap();
    let above = here.parent().unwrap().to_path_buf();
    for (word, path) in [
        (".", here.clone()),
        ("./a", here.join("a")),
        (".hidden", here.join(".hidden")),
        ("..", above.clone()),
        ("../a", above.join("a")),
    ] {
        assert_eq!(mount(&format!("{word}:/x")).source, Source::Bind { path: path.clone(), create: true });
        let (by_mount, _) = long(&format!("type=bind,src={word},dst=/x")).unwrap();
        assert_eq!(by_mount.source, Source::Bind { path, create: false });
    }
}

#[test]
fn each_kind_of_mode_may_be_given_once() {
    let bind = mount("/a:/x:rslave,ro,Z,cached");
    assert_eq!((bind.propagation, bind.readonly), (Propagation::Slave, true));
    assert_eq!(bind.mode, "rslave,ro,Z,cached");
    assert_eq!(mount("/a:/x:shared").propagation, Propagation::Shared);
    assert!(matches!(mount("name:/x:nocopy").source, Source::Volume(AskedVolume { nocopy: true, .. })));
    for mode in [
        "ro,rw",
        "ro,ro",
        "foo",
        "z,Z",
        "nocopy,nocopy",
        "rslave,rshared",
        "cached,delegated",
        ",",
        "ro,",
        "RO",
    ] {
        assert_eq!(short(&format!("/a:/x:{mode}")), Err(format!("invalid mode: {mode}")));
    }
}

/// What a dockerd 20.10 with a client 28 says.
#[test]
fn a_wrong_volume_is_refused_in_dockers_words() {
    for (word, why) in [
        ("", "invalid empty volume spec"),
        (":::", "invalid spec: :::: empty section between colons"),
        (":/x", "invalid spec: :/x: empty section between colons"),
        ("/a:", "invalid spec: /a:: empty section between colons"),
        ("/a::ro", "invalid spec: /a::ro: empty section between colons"),
        ("/a:/x:", "invalid spec: /a:/x:: empty section between colons"),
        ("/a:/x:ro:rw", "invalid volume specification: '/a:/x:ro:rw'"),
        ("/x:ro", "invalid volume specification: '/x:ro'"),
        ("/x:/y:/z", "invalid mode: /z"),
        (
            "/a:/",
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
        ),
        (
            "/a:x",
            "invalid volume specification: '/a:x': invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute",
        ),
        (
            "/a:.",
            "invalid volume specification: '/a:.': invalid mount config for type \"bind\": invalid mount path: '.' mount path must be absolute",
        ),
        (
            "/a:/x/..",
            "invalid volume specification: '/a:/x/..': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
        ),
        (
            "x",
            "invalid volume specification: 'x': invalid mount config for type \"volume\": invalid mount path: 'x' mount path must be absolute",
        ),
        (
            "/a:/x:nocopy",
            "invalid volume specification: '/a:/x:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
        ),
        (
            "aa:/x:rslave",
            "invalid volume specification: 'aa:/x:rslave': invalid mount config for type \"volume\": field BindOptions must not be specified",
        ),
    ] {
        assert_eq!(short(word), Err(why.to_string()), "{word}");
    }
}

#[test]
fn fields_of_a_mount_are_read_as_dockers_client_reads_them() {
    let (bind, shown) = long("SRC=/tmp,TYPE=Bind,Dst=/x/,RO,bind-propagation=rslave").unwrap();
    assert_eq!(bind.source, Source::Bind { path: "/tmp".into(), create: false });
    assert_eq!((bind.target.as_str(), bind.readonly, bind.propagation), ("/x", true, Propagation::Slave));
    let expected = json!({"Type": "bind", "Source": "/tmp", "Target": "/x/", "ReadOnly": true,
        "BindOptions": {"Propagation": "rslave"}});
    assert_eq!(shown, expected);

    let word = r#"src=vol,dst=/x,volume-nocopy,volume-driver=local,volume-label=a=b,volume-opt=type=tmpfs,"volume-opt=o=size=1m,uid=5",volume-subpath=a/./b"#;
    let (volume, shown) = long(word).unwrap();
    let Source::Volume(asked) = volume.source else { panic!() };
    assert_eq!(
        (asked.name.as_deref(), asked.driver.as_deref(), asked.nocopy),
        (Some("vol"), Some("local"), true)
    );
    assert_eq!(asked.options["o"], "size=1m,uid=5");
    assert_eq!((asked.labels["a"].as_str(), volume.subpath), ("b", Some("a/b".into())));
    let driver = json!({"Name": "local", "Options": {"o": "size=1m,uid=5", "type": "tmpfs"}});
    assert_eq!(shown["VolumeOptions"]["DriverConfig"], driver);

    assert!(!long("type=bind,src=/a,dst=/x,bind-recursive=disabled").unwrap().0.recursive);
    assert!(!long("type=bind,src=/a,dst=/x,bind-nonrecursive").unwrap().0.recursive);
    assert!(long("type=bind,src=/a,dst=/x,ro,bind-recursive=readonly,bind-propagation=rprivate").is_ok());
    assert!(!long("type=bind,src=/a,dst=/x,ro=0").unwrap().0.readonly);
    assert!(matches!(long("dst=/x").unwrap().0.source, Source::Volume(AskedVolume { name: None, .. })));
    for word in ["volume-opt=kind=block,volume-opt=size=10g", "volume-opt=kind=block,size=10g"] {
        let Source::Volume(block) = long(&format!("src=db,dst=/x,{word}")).unwrap().0.source else {
            panic!()
        };
        assert_eq!((block.options["kind"].as_str(), block.options["size"].as_str()), ("block", "10g"));
    }
}

#[test]
fn a_file_system_in_memory_has_its_size_and_mode() {
    let tmpfs = |word: &str| match long::parse(word) {
        Ok((long::Long::Tmpfs(Mount::Tmpfs { target, size, mode, options }), _)) => {
            (target, size, mode, options.join(","))
        }
        other => panic!("{word}: {other:?}"),
    };
    let usual = "rw,nosuid,nodev,noexec".to_string();
    assert_eq!(tmpfs("type=tmpfs,dst=/x"), ("/x".into(), None, 0o1777, usual.clone()));
    let sized = tmpfs("type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=0700");
    assert_eq!(sized, ("/x".into(), Some(1 << 20), 0o700, usual.clone()));
    assert_eq!(tmpfs("type=tmpfs,dst=/x,tmpfs-size=0").1, None);
    assert_eq!(tmpfs("type=tmpfs,dst=/x,ro").3, "nosuid,nodev,noexec,ro");
}

#[test]
fn a_wrong_mount_is_refused_in_dockers_words() {
    for (word, why) in [
        ("", "EOF"),
        (",", "invalid field '' must be a key=value pair"),
        ("type=bind", "target is required"),
        ("type=bind,src=/tmp,dst=", "target is required"),
        ("type=,dst=/x", "type is required"),
        ("type=bind,src=/a,dst=/x,readonly=maybe", "invalid value for readonly: maybe"),
        ("type=bind,src=/a,dst=/x,Z", "invalid field 'Z' must be a key=value pair"),
        ("type=bind,src=/a,dst=/x,foo=bar", "unexpected key 'foo' in 'foo=bar'"),
        ("type=bind, src=/a ,dst=/x", "unexpected key ' src' in ' src=/a '"),
        ("type=bind,src=/a,dst=/x,size=1g", "unexpected key 'size' in 'size=1g'"),
        ("type=bind,src=/a,dst=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        ("type=bind,src=/a,dst=/x,tmpfs-size=1m", "cannot mix 'tmpfs-*' options with mount type 'bind'"),
        ("src=aa,dst=/x,bind-propagation=rslave", "cannot mix 'bind-*' options with mount type 'volume'"),
        (
            "type=bind,src=/a,dst=/x,bind-recursive=x",
            "invalid value for bind-recursive: x (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
        ),
        (
            "type=bind,src=/a,dst=/x,bind-recursive=readonly",
            "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
        ),
        (
            "type=bind,src=/a,dst=/x,ro,bind-recursive=readonly",
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
        ),
        ("type=tmpfs,dst=/x,tmpfs-size=-1", "invalid value for tmpfs-size: -1"),
        ("type=tmpfs,dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("type=bind,src=\"/tmp\",dst=/x", "parse error on line 1, column 15: bare \" in non-quoted-field"),
        (
            "type=bind,\"src=/tmp\"x,dst=/x",
            "parse error on line 1, column 20: extraneous or missing \" in quoted-field",
        ),
        (
            "\"type=bind,src=/tmp,dst=/x",
            "parse error on line 1, column 27: extraneous or missing \" in quoted-field",
        ),
    ] {
        assert_eq!(
            long(word),
            Err(format!("invalid argument \"{word}\" for \"--mount\" flag: {why}")),
            "{word}"
        );
    }
    for (word, kind, why) in [
        ("type=foo,dst=/x", "foo", "mount type unknown"),
        ("type=bind,src=tmp,dst=/x", "bind", "invalid mount path: 'tmp' mount path must be absolute"),
        ("type=bind,dst=/x", "bind", "field Source must not be empty"),
        ("type=bind,src=/a,dst=x", "bind", "invalid mount path: 'x' mount path must be absolute"),
        ("type=bind,src=/a,dst=/", "bind", "invalid specification: destination can't be '/'"),
        ("type=bind,src=/a,dst=/x,bind-propagation=foo", "bind", "invalid propagation mode: foo"),
        ("type=tmpfs,src=a,dst=/x", "tmpfs", "field Source must not be specified"),
        ("dst=/x,ro", "volume", "must not set ReadOnly mode when using anonymous volumes"),
        ("src=aa,dst=/x,volume-subpath=../b", "volume", "subpath must be a relative path within the volume"),
        ("src=aa,dst=/x,volume-subpath=/b", "volume", "subpath must be a relative path within the volume"),
    ] {
        assert_eq!(long(word), Err(format!("invalid mount config for type \"{kind}\": {why}")), "{word}");
    }
}

#[test]
fn two_mounts_at_one_target_are_refused() {
    let twice = |volumes: &[&str], mounts: &[&str], tmpfs: &[&str]| {
        let tmpfs = tmpfs.iter().map(|word| crate::container::tmpfs::parse(word).unwrap()).collect();
        parse(&words(&list(volumes), &list(mounts)), tmpfs).map(drop).map_err(|error| chain(&error))
    };
    let refused = Err("Duplicate mount point: /x".to_string());
    assert_eq!(twice(&["/a:/x", "/b:/x/"], &[], &[]), refused);
    assert_eq!(twice(&["/a:/x"], &["dst=/x"], &[]), refused);
    assert_eq!(twice(&["/a:/x"], &[], &["/x"]), refused);
    assert_eq!(twice(&["/a:/x"], &["type=tmpfs,dst=/x"], &[]), refused);
    assert_eq!(twice(&["/x", "/x", "/a:/x"], &[], &[]), Ok(()), "what -v TARGET asks for gives way");
}

#[test]
fn volumes_from_names_a_container_and_a_mode() {
    let from = |word: &str| from::parse(word).map_err(|error| chain(&error));
    let expected = From { container: "c".into(), readonly: true, mode: "ro,z".into() };
    assert_eq!(from("c:ro,z"), Ok(expected));
    assert!(!from("c:").unwrap().readonly);
    assert_eq!(from(""), Err("volumes-from specification cannot be an empty string".into()));
    assert_eq!(from(":ro"), Err("invalid name or ID supplied: \"\"".into()));
    for mode in ["foo", "ro:rw", "rslave", "nocopy"] {
        assert_eq!(from(&format!("c:{mode}")), Err(format!("invalid mode: {mode}")));
    }
}

#[test]
fn inspect_shows_words_with_their_sources_made_absolute() {
    let here = std::env::current_dir().unwrap().display().to_string();
    let asked = parse(&words(&list(&["./a:/x:ro", "name:/y", "/z"]), &[]), Vec::new()).unwrap();
    assert_eq!(asked.shown.binds, [format!("{here}/a:/x:ro"), "name:/y".to_string()]);
    assert_eq!(asked.shown.targets, ["/z"]);
}

proptest! {
    #[test]
    fn no_word_makes_a_parser_panic(word in "[-a-z/.:,=\"\\\\ \u{e9}\u{0}]{0,40}") {
        let _ = short::parse(&word, None);
        let _ = long::parse(&word);
        let _ = long::parse(&format!("type=bind,src=/a,dst=/x,{word}"));
        let _ = from::parse(&word);
    }

    #[test]
    fn what_is_shown_of_a_volume_parses_back(
        source in "(\\./[a-z]{0,4}|/[a-z./]{0,8}|[a-z]{2,6})", target in "/[a-z]{1,5}(/[a-z.]{1,3})?", mode in "(|ro|rw,z|nocopy|rslave)"
    ) {
        let word = if mode.is_empty() { format!("{source}:{target}") } else { format!("{source}:{target}:{mode}") };
        if let Ok(Short::Mount { mount, shown }) = short::parse(&word, None) {
            let again = short::parse(&shown, None);
            prop_assert_eq!(again, Ok(Short::Mount { mount, shown }));
        }
    }

    #[test]
    fn quoted_fields_parse_back(fields in prop::collection::vec("[a-z,\"= ]{1,8}", 1..5)) {
        let quoted = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect::<Vec<_>>();
        prop_assert_eq!(csv::fields(&quoted.join(",")), Ok(fields));
    }
}
