//! `hull ps`: what it lists and how.

use hull_tests::{BUSYBOX, Hull, Output, Store, hull, unique};

/// `hull ps -a` of the containers with a label, as a format.
fn listed(label: &str, args: &[&str]) -> Output {
    Hull::new(["ps", "-a", "--filter", &format!("label=case={label}")]).args(args).output()
}

fn create(label: &str, options: &[&str], command: &[&str]) -> String {
    let name = unique("ps");
    let isolation = hull_tests::isolation().word();
    Hull::new(["create", "--isolation", isolation, "--name", &name, "-l", &format!("case={label}")])
        .args(options)
        .args([BUSYBOX])
        .args(command)
        .output()
        .exits(0);
    name
}

#[test]
fn default_table_has_dockers_columns_and_the_isolation() {
    let label = unique("columns");
    let name = create(&label, &[], &["sh", "-c", "echo a long command line"]);
    let table = listed(&label, &[]).text();
    let mut lines = table.lines();
    let headings: Vec<&str> =
        lines.next().unwrap().split("  ").map(str::trim).filter(|s| !s.is_empty()).collect();
    assert_eq!(
        headings,
        ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "ISOLATION", "NAMES"]
    );
    let row = lines.next().unwrap();
    assert!(
        row.contains(r#""sh -c 'echo a long …""#) && row.contains("Created ") && row.ends_with(&name),
        "{row}"
    );
    assert!(row.contains(hull_tests::isolation().word()), "{row}");
    let whole = listed(&label, &["--no-trunc"]).text();
    assert!(whole.contains(r#""sh -c 'echo a long command line'""#), "{whole}");
    assert_eq!(whole.lines().nth(1).unwrap().split(' ').next().unwrap().len(), 64);
    hull(["rm", &name]).exits(0);
}

#[test]
fn formats_give_dockers_fields() {
    let label = unique("fields");
    let name = create(&label, &["-l", "b=2"], &["true"]);
    let one = |format: &str| listed(&label, &["--format", format]).text();
    assert_eq!(
        one("{{.Names}} {{.Image}} {{.State}} {{.Status}}"),
        format!("{name} busybox created Created")
    );
    assert_eq!(one("{{.Labels}}"), format!("b=2,case={label}"));
    assert_eq!(one(r#"{{.Label "b"}}|{{.Ports}}|{{.Mounts}}|{{.Networks}}"#), "2|||bridge");
    assert_eq!(
        one(r"table {{.Names}}\t{{.State}}").lines().nth(1).unwrap().split_whitespace().last(),
        Some("created")
    );
    let json = one("json");
    for field in [
        "Command",
        "CreatedAt",
        "ID",
        "Image",
        "Labels",
        "LocalVolumes",
        "Mounts",
        "Names",
        "Networks",
        "Ports",
        "RunningFor",
        "Size",
        "State",
        "Status",
    ] {
        assert!(json.contains(&format!("\"{field}\":")), "{field} is not in {json}");
    }
    assert!(listed(&label, &["--format", "{{.Nope}}"]).fails(1).contains("Nope"));
    assert!(listed(&label, &["--format", "{{.ID"]).fails(1).contains("unclosed action"));
    hull(["rm", &name]).exits(0);
}

#[test]
fn filters_choose() {
    let label = unique("filters");
    let created = create(&label, &[], &["true"]);
    let ended = create(&label, &[], &["sh", "-c", "exit 3"]);
    hull(["start", "-a", &ended]).exits(3);
    let names = |filter: &str| listed(&label, &["--filter", filter, "--format", "{{.Names}}"]).text();
    assert_eq!(names("status=exited"), ended);
    assert_eq!(names("status=created"), created);
    assert_eq!(names("exited=3"), ended);
    assert_eq!(names("exited=4"), "");
    assert_eq!(names(&format!("since={created}")), ended);
    assert_eq!(names(&format!("before={ended}")), created);
    assert_eq!(names(&format!("name=^/{created}$")), created);
    for all in ["ancestor=busybox", "health=none", "is-task=false"] {
        assert_eq!(names(all), format!("{ended}\n{created}"), "{all}");
    }
    assert_eq!(names(&format!("isolation={}", hull_tests::isolation().word())).lines().count(), 2);
    assert_eq!(names("ancestor=nosuch:image"), "");
    for bad in ["status=up", "exited=x", "health=sick", "is-task=x", "nosuch=v"] {
        assert!(
            listed(&label, &["--filter", bad]).fails(1).contains(bad.split('=').next().unwrap()),
            "{bad}"
        );
    }
    assert!(listed(&label, &["--filter", "name"]).fails(125).contains("expected name=value"));
    assert!(listed(&label, &["--filter", "before=nosuch"]).fails(1).contains("No such container: nosuch"));
    hull(["rm", &created, &ended]).exits(0);
}

#[test]
fn latest_and_last_take_the_youngest_in_any_state() {
    let store = Store::with_busybox();
    for name in ["one", "two", "three"] {
        store.keep(["--name", name, BUSYBOX, "true"]).output().exits(0);
    }
    let names = |args: &[&str]| store.hull(["ps", "--format", "{{.Names}}"]).args(args).output().text();
    assert_eq!(names(&["-l"]), "three");
    assert_eq!(names(&["-n", "2"]), "three\ntwo");
    assert_eq!(names(&["-n", "-1"]), "");
    assert_eq!(names(&["-a"]), "three\ntwo\none");
    assert_eq!(store.hull(["ps", "-aq"]).output().text().lines().map(str::len).collect::<Vec<_>>(), [12; 3]);
    store.hull(["rm", "one", "two", "three"]).output().exits(0);
}

#[test]
fn size_is_what_was_written_and_the_image_on_top() {
    let label = unique("size");
    let name = create(&label, &[], &["dd", "if=/dev/zero", "of=/file", "bs=1M", "count=3"]);
    hull(["start", "-a", &name]).exits(0);
    let size = listed(&label, &["-s", "--format", "{{.Size}}"]).text();
    let (written, total) = size.split_once(" (virtual ").unwrap();
    let megabytes =
        |text: &str| text.trim_end_matches(')').strip_suffix("MB").unwrap().parse::<f64>().unwrap();
    let (written, total) = (megabytes(written), megabytes(total));
    // A machine's disk also holds its file system's own.
    assert!((3.1..20.0).contains(&written) && total > written + 1.0, "{size}");
    assert_eq!(listed(&label, &["--format", "{{.Status}}"]).text().split(' ').next(), Some("Exited"));
    hull(["rm", &name]).exits(0);
}
