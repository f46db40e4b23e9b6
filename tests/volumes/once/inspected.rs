//! What inspect and ps say of mounts, beside what docker says after the same command.

use serde_json::Value;

use super::against_docker::{Both, alike};

const FIELDS: &[&str] = &[
    "json .HostConfig.Binds",
    "json .HostConfig.Mounts",
    "json .HostConfig.VolumesFrom",
    "json .Config.Volumes",
    ".HostConfig.ShmSize",
    ".HostConfig.VolumeDriver",
];

/// Arrays in an order of their own, and volumes wherever they lie.
fn normal(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(normal).collect();
            items.sort_by_key(ToString::to_string);
            Value::Array(items)
        }
        Value::Object(mut fields) => {
            fields.retain(|name, value| {
                name != "DriverConfig" || value.as_object().is_none_or(|it| !it.is_empty())
            });
            let volume = fields.get("Type").is_some_and(|kind| kind == "volume");
            if let (true, Some(Value::String(source))) = (volume, fields.get_mut("Source")) {
                *source =
                    source.find("/volumes/").map_or_else(|| source.clone(), |at| source[at..].to_owned());
            }
            Value::Object(fields.into_iter().map(|(name, value)| (name, normal(value))).collect())
        }
        Value::String(text) => Value::String(alike(&text)),
        other => other,
    }
}

#[test]
fn mounts_are_shown_as_docker_shows_them() {
    let both = Both::new();
    let (folder, file) = (both.world.dir("d"), both.world.file("f", ""));
    let all = format!(
        "create --name all -v used:/vol:ro -v {folder}:/ro:ro,z -v {folder}:/p:rprivate -v /anon -v nc:/nc:nocopy \
         --mount type=bind,src={folder},dst=/m1,readonly --mount type=volume,dst=/m2 \
         --mount type=volume,src=named,dst=/m3,volume-nocopy=true,volume-label=a=b \
         --mount type=bind,src={file},dst=/f,bind-propagation=rprivate --tmpfs /t:size=1m \
         --mount type=tmpfs,dst=/t2,tmpfs-size=1m,tmpfs-mode=700 --shm-size 32m busybox sleep 1000"
    );
    let plain = format!(
        "create --name plain -v used:/vol:ro -v {folder}:/ro:ro,z -v /anon -v nc:/nc:nocopy busybox true"
    );
    for line in [
        all.as_str(),
        // Of one with `type=tmpfs` this dockerd takes none: "get: no such volume".
        &plain,
        "create --name from --volumes-from plain:ro -v own:/vol busybox true",
        "create --name none busybox true",
    ] {
        for (said, why) in [both.docker(line), both.hull(line)] {
            assert_eq!(said.code, 0, "{line}: {why}");
        }
    }
    let mut differ = Vec::new();
    for name in ["all", "from", "none"] {
        for field in FIELDS.iter().chain(&["json .Mounts"]) {
            let line = format!("inspect -f {{{{{}}}}} {name}", field.replace(' ', "~"));
            let [docker, hull] = [both.docker(&line).0.text, both.hull(&line).0.text]
                .map(|text| serde_json::from_str(&text).map_or(Value::String(text), normal));
            if docker != hull {
                differ.push(format!("{name} {field}\n  docker {docker}\n  hull   {hull}\n"));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    let lines = ["used", "/vol", "/anon", folder.as_str(), "/ro", "/none", "nc", "own"]
        .map(|wanted| format!("ps -a --filter volume={wanted} --format {{{{.Names}}}}"));
    both.agree(&lines.each_ref().map(String::as_str));
    // In which order a container's mounts stand there, docker leaves open; one in memory has no name there.
    let shown = |text: String| {
        let mounts = text.trim().split(',').filter(|name| !name.is_empty());
        let mut mounts: Vec<String> = mounts.map(str::to_owned).collect();
        mounts.sort();
        mounts
    };
    for line in [
        "ps -a --filter name=all --format {{.Mounts}}",
        "ps -a --no-trunc --filter name=from --format {{.Mounts}}",
    ] {
        assert_eq!(shown(both.hull(line).0.text), shown(both.docker(line).0.text), "{line}");
    }
    both.agree(&[
        "ps -a --filter name=all --format {{.LocalVolumes}}",
        "volume inspect -f {{json~.Labels}} named",
    ]);
}
