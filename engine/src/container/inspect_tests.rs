use super::super::remove::tests::Fixture;
use super::*;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn fields_come_in_dockers_order() {
    let fixture = Fixture::new();
    let row = fixture.running("0123", false);
    let shown = inspect(&fixture.store, &row, true).unwrap();
    let expected = [
        "Id",
        "Created",
        "Path",
        "Args",
        "State",
        "Image",
        "LogPath",
        "Name",
        "RestartCount",
        "Driver",
        "Platform",
        "AppArmorProfile",
        "HostConfig",
        "SizeRw",
        "SizeRootFs",
        "Mounts",
        "Config",
        "NetworkSettings",
    ];
    assert_eq!(keys(&shown), expected);
    assert_eq!(shown["Name"], "/name of 0123");
    assert_eq!((&shown["Path"], &shown["Args"]), (&json!("true"), &json!([])));
    assert!(shown["LogPath"].as_str().unwrap().ends_with("/containers/0123/0123-json.log"));
    assert_eq!(shown["SizeRw"], 0);
}

#[test]
fn a_state_is_told_in_dockers_words() {
    let fixture = Fixture::new();
    let mut row = fixture.running("0123", false);
    let running = state(&row);
    assert_eq!(
        (&running["Status"], &running["Running"], &running["Pid"]),
        (&json!("running"), &json!(true), &json!(1))
    );
    assert_eq!(running["FinishedAt"], NEVER);
    assert_ne!(running["StartedAt"], NEVER);
    assert!(running.get("Health").is_none());
    (row.state, row.health) =
        (ContainerState::Paused, r#"{"Status":"healthy","FailingStreak":0,"Log":[]}"#.into());
    let paused = state(&row);
    assert_eq!((&paused["Running"], &paused["Paused"]), (&json!(true), &json!(true)));
    assert_eq!(paused["Health"]["Status"], "healthy");
}

#[test]
fn limits_and_confinement_are_those_that_are_kept() {
    let fixture = Fixture::new();
    let row = fixture.running("0123", true);
    let mut config = Config::from_row(&row).unwrap();
    let plain = host_config(&row, &config);
    assert_eq!(
        (&plain["Memory"], &plain["MemorySwap"], &plain["PidsLimit"]),
        (&json!(0), &json!(0), &Value::Null)
    );
    assert_eq!((&plain["CapAdd"], &plain["SecurityOpt"]), (&Value::Null, &Value::Null));
    assert_eq!(plain["CapDrop"].as_array().unwrap().len(), 14);
    assert_eq!(plain["AutoRemove"], true);

    config.resources.memory_bytes = Some(64 << 20);
    config.resources.cpu_millis = Some(1500);
    config.resources.pids = Some(u64::MAX);
    config.restart = RestartPolicy::OnFailure { most: 3 };
    config.process.no_new_privileges = true;
    config.process.capabilities = vec!["CAP_NET_ADMIN".into()];
    config.share.network = Some("abcd".into());
    config.mounts = vec![super::super::tmpfs::parse("/t:size=1m").unwrap()];
    config.shown_mounts.tmpfs = [("/t".to_owned(), "size=1m".to_owned())].into();
    let limited = host_config(&row, &config);
    for (field, value) in [
        ("Memory", json!(64 << 20)),
        ("MemorySwap", json!(64 << 20)),
        ("NanoCpus", json!(1_500_000_000)),
        ("PidsLimit", json!(-1)),
        ("RestartPolicy", json!({"Name": "on-failure", "MaximumRetryCount": 3})),
        ("SecurityOpt", json!(["no-new-privileges"])),
        ("CapAdd", json!(["CAP_NET_ADMIN"])),
        ("NetworkMode", json!("container:abcd")),
        ("Tmpfs", json!({"/t": "size=1m"})),
        ("LogConfig", json!({"Type": "json-file", "Config": {"max-file": "3", "max-size": "100000000"}})),
    ] {
        assert_eq!(limited[field], value, "{field}");
    }
}

#[test]
fn entrypoint_and_command_are_told_apart() {
    let fixture = Fixture::new();
    let row = fixture.running("0123", false);
    let mut config = Config::from_row(&row).unwrap();
    config.process.args = ["/entry", "a", "b"].map(Text::from).to_vec();
    config.entrypoint_words = 1;
    let shown = own_config(&config);
    assert_eq!((&shown["Entrypoint"], &shown["Cmd"]), (&json!(["/entry"]), &json!(["a", "b"])));
    assert_eq!((&shown["StopSignal"], &shown["StopTimeout"]), (&json!("SIGTERM"), &json!(10)));
}
