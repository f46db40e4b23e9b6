use serde_json::json;

use super::*;

fn changed(changes: &[&str]) -> Result<RunConfig, ChangeError> {
    let mut config = RunConfig::default();
    let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
    apply(&mut config, &changes).map(|()| config)
}

fn ok(changes: &[&str]) -> RunConfig {
    changed(changes).unwrap()
}

fn words(line: &[&str]) -> Option<Vec<String>> {
    Some(line.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn commands_have_a_shell_form_and_a_json_form() {
    assert_eq!(ok(&[r#"CMD ["a", "b c"]"#]).cmd, words(&["a", "b c"]));
    assert_eq!(ok(&["cmd a \"b c\""]).cmd, words(&["/bin/sh", "-c", "a \"b c\""]));
    assert_eq!(ok(&["CMD ['a']"]).cmd, words(&["/bin/sh", "-c", "['a']"]));
    assert_eq!(ok(&["CMD []"]).cmd, words(&[]));
    let config = ok(&["ENTRYPOINT [\"e\"]", "CMD c"]);
    assert_eq!((config.entrypoint, config.cmd), (words(&["e"]), words(&["/bin/sh", "-c", "c"])));
    let mut config = RunConfig { cmd: words(&["before"]), ..RunConfig::default() };
    apply(&mut config, &["ENTRYPOINT e".to_owned()]).unwrap();
    assert_eq!(config.cmd, None, "it was for another entrypoint");
}

#[test]
fn variables_are_set_quoted_and_expanded() {
    let config = ok(&[
        "ENV A=1 B=\"two words\" C=it\\ is D='x y'",
        "ENV E two words, $A and ${B}",
        "ENV A=2 F=$A G=${NO:-none} H=${A:+yes} I='$A' J=\\$A K=$",
        "LABEL a.b=c \"quoted key\"=\"v $A\"",
        "USER u$A",
    ]);
    let expected = [
        "A=2",
        "B=two words",
        "C=it is",
        "D=x y",
        "E=two words, 1 and two words",
        "F=1",
        "G=none",
        "H=yes",
        "I=$A",
        "J=$A",
        "K=$",
    ];
    assert_eq!(config.env, expected);
    assert_eq!(config.labels["a.b"], "c");
    assert_eq!(config.labels["quoted key"], "v 2");
    assert_eq!(config.user, "u2");
}

#[test]
fn the_rest_is_set_as_docker_does() {
    let config = ok(&[
        "EXPOSE 80 53/udp 8000-8002",
        "VOLUME [\"/a\", \"/b\"]\nVOLUME /c /d",
        "WORKDIR /srv\nWORKDIR app/../data",
        "STOPSIGNAL SIGUSR1",
        "ONBUILD RUN make",
        "# nothing",
    ]);
    let ports: Vec<_> = config.exposed_ports.keys().map(String::as_str).collect();
    assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
    let volumes: Vec<_> = config.volumes.keys().map(String::as_str).collect();
    assert_eq!(volumes, ["/a", "/b", "/c", "/d"]);
    assert_eq!((config.working_dir.as_str(), config.stop_signal.as_str()), ("/srv/data", "SIGUSR1"));
    assert_eq!(config.on_build, words(&["RUN make"]));
}

#[test]
fn health_checks_are_as_the_engine_reads_them() {
    let check = |line: &str| ok(&[&format!("HEALTHCHECK {line}")]).healthcheck.unwrap();
    assert_eq!(check("NONE"), json!({"Test": ["NONE"]}));
    assert_eq!(
        check("--interval=5s --timeout=1m --retries=4 CMD curl -f x || exit 1"),
        json!({"Interval": 5_000_000_000_i64, "Timeout": 60_000_000_000_i64, "Retries": 4,
               "Test": ["CMD-SHELL", "curl -f x || exit 1"]})
    );
    assert_eq!(check(r#"CMD ["a", "b"]"#), json!({"Test": ["CMD", "a", "b"]}));
}

#[test]
fn mistakes_are_told_in_dockers_words() {
    for (change, said) in [
        ("RUN x", "run is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", "Syntax error - can't find = in \"B\". Must be of the form: name=value"),
        ("ENV =x", "ENV names can not be blank"),
        ("ENV A=\"x", "a quote has no end in \"A=\"x\""),
        ("ENV A=${B", "a variable has no end, or no name, in \"${B\""),
        ("LABEL", "LABEL requires at least one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 99999", "invalid containerPort: 99999"),
        ("EXPOSE 80/foo", "invalid proto: foo"),
        ("USER", "USER requires exactly one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME [\"\"]", "VOLUME specified can not be an empty string"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK FOO x", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --foo=1 CMD x", "Unknown flag: foo"),
    ] {
        assert_eq!(changed(&[change]).unwrap_err().to_string(), said, "{change}");
    }
    assert!(changed(&["STOPSIGNAL NOPE"]).is_err() && changed(&["HEALTHCHECK --retries=0 CMD x"]).is_err());
}

#[test]
fn values_that_double_again_and_again_end() {
    let mut changes = vec!["ENV A=xxxxxxxx".to_owned()];
    changes.extend((0..40).map(|_| "ENV A=$A$A$A$A".to_owned()));
    assert!(matches!(apply(&mut RunConfig::default(), &changes), Err(ChangeError::Long(_))));
}
