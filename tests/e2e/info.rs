//! `info`, `version`, and the command line as a whole.

use hull_tests::{BUSYBOX, Hull, Store, hull};

#[test]
fn info_says_which_isolation_a_container_gets_and_why() {
    let text = hull(["info"]).text();
    let line = |name: &str| {
        text.lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap_or_else(|| panic!("no {name}:\n{text}"))
    };
    let kvm_works = !line("KVM").contains("not");
    let word = line("Isolation").split_whitespace().nth(1).unwrap();
    assert_eq!(word, if kvm_works { "vm" } else { "namespace" });
    if !kvm_works {
        let reason = line("Reason");
        assert!(reason.split_whitespace().count() > 4, "a reason is more than a word: {reason}");
        assert!(
            !reason.contains("InternalError") && !reason.contains("errno"),
            "in words of the user: {reason}"
        );
    }
}

#[test]
fn info_names_what_is_missing_in_a_private_mount_namespace() {
    // A machine without /dev/kvm, and one whose /dev/kvm is somebody else's.
    for (spoil, word) in [
        ("mount --bind /dev/null /dev/kvm", "kvm"),
        ("mknod -m 0 /run/kvm c 10 232 && mount --bind /run/kvm /dev/kvm", "may not be opened"),
    ] {
        let script = format!(
            "mount -t tmpfs t /run && {spoil} && exec setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search \"$0\" info"
        );
        let store = Store::new();
        let hull = hull_tests::paths::binary("hull");
        if !std::path::Path::new("/dev/kvm").exists() {
            // Nothing to put something else in place of; `info` is then about that already.
            assert!(hull_tests::hull(["info"]).text().contains("/dev/kvm"));
            continue;
        }
        let output = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-ec", &script])
            .arg(hull)
            .env("HULL_ROOT", &store.root)
            .env("HULL_RUN", "/run/hull")
            .env("HULL_CONFIG", hull_tests::paths::no_config())
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let line =
            text.lines().find(|line| line.contains("Reason")).unwrap_or_else(|| panic!("{spoil}:\n{text}"));
        assert!(line.contains(word), "{line}");
    }
}

#[test]
fn info_counts_what_is_there_and_takes_a_format() {
    let store = Store::with_busybox();
    store.keep(["--name", "ended", BUSYBOX, "true"]).output().exits(0);
    let shown = |format: &str| store.hull(["info", "--format", format]).output();
    let counts = "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}} {{.Images}} {{.Pods}}";
    assert_eq!(shown(counts).text(), "1 0 0 1 1 0");
    assert_eq!(shown("{{.Driver}} {{.LoggingDriver}}").text(), "erofs json-file");
    assert!(shown("json").text().starts_with(r#"{"ServerVersion":""#));
    shown("{{.Nope}}").fails(1);
    shown("{{.Nope").fails(64);
    let text = store.hull(["info"]).output().text();
    assert!(text.contains("\n  Stopped          1\n") && text.contains("\nSupervisors "), "{text}");
    store.hull(["rm", "ended"]).output().exits(0);
}

#[test]
fn version_names_every_part() {
    let text = hull(["version"]).text();
    for part in ["hull ", "hull-vmm ", "hull-init ", "hull-fs "] {
        let line =
            text.lines().find(|line| line.starts_with(part)).unwrap_or_else(|| panic!("no {part}:\n{text}"));
        assert!(line.contains(env!("CARGO_PKG_VERSION")), "{line}");
    }
    let format = "{{.Client.Version}} {{range .Server.Components}}{{.Name}}={{.Version}} {{end}}";
    let release = env!("CARGO_PKG_VERSION");
    let expected = format!("{release} hull-vmm={release} hull-init={release} hull-fs={release}");
    assert_eq!(hull(["version", "--format", format]).text(), expected);
}

#[test]
fn help_shows_every_command_and_options_lead_to_one_line_of_error() {
    let text = hull(["--help"]).text();
    for command in ["run", "ps", "rm", "load", "import", "images", "rmi", "image", "info", "version"] {
        assert!(
            text.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command} is not in\n{text}"
        );
    }
    hull(["run", "--help"]).exits(0);
    let output = hull(["nosuchcommand"]);
    assert!(
        output.code != 0 && output.stderr.contains("nosuchcommand"),
        "{}",
        output.report("unknown command")
    );
}

#[test]
fn shells_complete_commands_and_every_command_has_a_man_page() {
    let store = Store::new();
    let script = store.scratch.join("completion");
    std::fs::write(&script, hull(["completion", "bash"]).text()).unwrap();
    let line = r#". "$0"; COMP_WORDS=(hull insp) COMP_CWORD=1; _hull hull insp hull; echo "${COMPREPLY[@]}""#;
    let output = std::process::Command::new("bash").args(["-c", line]).arg(&script).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "inspect\n");
    assert!(hull(["completion", "zsh"]).text().starts_with("#compdef hull"));
    assert!(hull(["completion", "fish"]).text().contains("complete -c hull"));
    hull(["completion", "tcsh"]).fails(1);

    let pages = store.scratch.join("man1");
    hull(["man", pages.to_str().unwrap()]).exits(0);
    for page in ["hull.1", "hull-run.1", "hull-image-ls.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{page}: {text}");
    }
    assert!(!pages.join("hull-man.1").exists(), "it is not for people");
}

#[test]
fn root_that_cannot_be_made_is_named() {
    let line = Hull::new(["images"]).env("HULL_ROOT", "/proc/hull").output().fails(1);
    assert!(line.contains("/proc/hull"), "{line}");
    let line = Hull::run(["busybox", "true"]).env("HULL_ROOT", "/proc/hull").output().fails(125);
    assert!(line.contains("/proc/hull"), "{line}");
}
