//! `hull inspect`.

use hull_tests::{BUSYBOX, Hull, hull, isolation, unique};

fn one(format: &str, name: &str) -> String {
    hull(["inspect", "-f", format, name]).text()
}

#[test]
fn containers_are_shown_as_they_were_made() {
    let name = unique("inspect");
    let options = [
        "--name",
        &name,
        "-e",
        "A=b",
        "-l",
        "app=x",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "50",
        "-w",
        "/tmp",
        "--restart",
        "on-failure:3",
        "--stop-signal",
        "INT",
        "--cap-add",
        "NET_ADMIN",
        "--read-only",
        "-u",
        "1:1",
    ];
    let create = Hull::new(["create", "--isolation", isolation().word()]).args(options);
    let id = create.args([BUSYBOX, "sh", "-c", "exit 3"]).output().text();
    for (format, expected) in [
        ("{{.Id}} {{.Name}} {{.Path}} {{.Args}}", format!("{id} /{name} sh [-c exit 3]")),
        (
            "{{.State.Status}} {{.State.Running}} {{.State.Pid}} {{.State.StartedAt}}",
            "created false 0 0001-01-01T00:00:00Z".into(),
        ),
        (
            "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}",
            "67108864 500000000 50".into(),
        ),
        (
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}",
            "on-failure 3".into(),
        ),
        (
            "{{.HostConfig.CapAdd}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Isolation}}",
            format!("[CAP_NET_ADMIN] true {}", isolation().word()),
        ),
        (
            "{{.Config.User}} {{.Config.WorkingDir}} {{.Config.StopSignal}} {{.Config.Image}}",
            "1:1 /tmp SIGINT busybox".into(),
        ),
        (
            r#"{{index .Config.Labels "app"}} {{json .Config.Entrypoint}} {{json .Config.Cmd}}"#,
            r#"x null ["sh","-c","exit 3"]"#.into(),
        ),
        ("{{range .Config.Env}}{{.}} {{end}}", "PATH=".into()),
    ] {
        let text = one(format, &name);
        assert!(text.starts_with(&expected), "{format}: {text}");
    }
    hull(["rm", &name]).exits(0);
}

#[test]
fn a_container_that_ran_shows_how_it_ended() {
    let name = unique("inspect");
    Hull::keep(["--name", &name, BUSYBOX, "sh", "-c", "exit 42"]).output().exits(42);
    assert_eq!(
        one("{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.RestartCount}}", &name),
        "exited 42 false 0"
    );
    assert!(!one("{{.State.StartedAt}} {{.State.FinishedAt}}", &name).contains("0001-01-01"));
    let sized = hull(["inspect", "-s", "-f", "{{.SizeRootFs}}", &name]).text();
    assert!(sized.parse::<u64>().unwrap() > 1_000_000, "{sized}");
    hull(["rm", &name]).exits(0);
}

#[test]
fn what_is_found_is_printed_and_the_rest_told() {
    let name = unique("inspect");
    Hull::keep(["--name", &name, BUSYBOX, "true"]).output().exits(0);
    let output = hull(["inspect", &name, "no-such-thing", BUSYBOX]).exits(1);
    assert_eq!(output.stderr, "Error: No such object: no-such-thing\n");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("[\n    {\n        \"Id\": \"") && text.ends_with("    }\n]\n"), "{text}");
    assert_eq!(text.matches("\n        \"Id\": ").count(), 2);

    let output = hull(["inspect", "no-such-thing"]).exits(1);
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_str()),
        (&b"[]\n"[..], "Error: No such object: no-such-thing\n")
    );
    let output = hull(["inspect", "--type", "image", &name]).exits(1);
    assert_eq!(output.stderr, format!("Error: No such image: {name}\n"));
    let output = hull(["inspect", "-f", "{{.Id}}", "no-such-thing", BUSYBOX]).exits(1);
    assert!(output.stdout.starts_with(b"sha256:"));
    assert!(one("json", &name).starts_with("[{\"Id\":\""));
    hull(["rm", &name]).exits(0);
}

#[test]
fn templates_that_fail_end_with_dockers_codes() {
    let output = hull(["inspect", "-f", "{{.Nope}}", BUSYBOX]).exits(1);
    assert!(output.stderr.contains("map has no entry for key \"Nope\""), "{}", output.stderr);
    assert!(hull(["inspect", "-f", "{{.Nope", BUSYBOX]).fails(64).contains("unclosed action"));
    assert!(hull(["inspect", "--type", "nosuch", BUSYBOX]).fails(1).contains("pod"));
}
