//! `inspect` of containers, in docker's shape and order, as far as hull has the facts: a field that nothing
//! here decides is left out.

use std::collections::BTreeMap;

use hull_guest::protocol::{IoLimit, Process, Seccomp, Text};
use serde_json::{Map, Value, json};

use super::config::{Config, UnreadableConfig};
use super::health::Health;
use super::restart::RestartPolicy;
use super::secrets::{Secret, SecretKind, SecretSource};
use super::{caps, life, limits, mounts, signals, spec, written};
use crate::logs::{self, Driver, LogConfig};
use crate::network::inspect::{self as network, Sandbox};
use crate::network::ports::show;
use crate::pod;
use crate::sandbox::mode::Isolation;
use crate::store::{self, ContainerRow, ContainerState, Store};
use crate::time::rfc3339_nano;

/// Go's zero time, for what never was.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// What a container has of /dev/shm without `--shm-size`.
const SHM_BYTES: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Config(#[from] UnreadableConfig),
    #[error("Failed to look at what container {name} has written")]
    Size { name: String, source: std::io::Error },
}

/// A container. `size`: with how much it has written, which takes time.
pub fn inspect(store: &Store, row: &ContainerRow, size: bool) -> Result<Value, InspectError> {
    let config = Config::from_row(row)?;
    let (path, args) =
        config.process.args.split_first().map_or((None, &[][..]), |(path, args)| (Some(path), args));
    let mut fields = json!({
        "Id": row.id,
        "Created": rfc3339_nano(row.created),
        "Path": path.map(shown),
        "Args": all_shown(args),
        "State": state(row),
        "Image": row.image.to_string(),
        "LogPath": log_path(store, row, &config.log),
        "Name": format!("/{}", row.name),
        "RestartCount": row.restarts,
        "Driver": "erofs",
        "Platform": "linux",
        "AppArmorProfile": "",
        "HostConfig": host_config(row, &config),
    });
    if let Some(fields) = fields.as_object_mut() {
        if size {
            sizes(store, row, &config, fields)?;
        }
        fields.insert("Mounts".to_string(), json!(mounts::inspected(store, &config)?));
        fields.insert("Config".to_string(), own_config(&config));
        network(store, row, &config, fields)?;
        if let Some(pod) = &row.pod {
            fields.insert("Pod".to_string(), json!(pod));
        }
    }
    Ok(fields)
}

/// Its network: its own, or its pod's.
fn network(
    store: &Store,
    row: &ContainerRow,
    config: &Config,
    fields: &mut Map<String, Value>,
) -> Result<(), InspectError> {
    let pod = row.pod.as_deref().map(|pod| store.db().pod(pod)).transpose()?;
    let pod = pod.as_ref().map(pod::Config::from_row).transpose()?;
    let networking = pod.as_ref().map_or(&config.network, |pod| &pod.network);
    let own = row.mode == Isolation::Namespace && row.pid != 0;
    let namespace = own.then(|| format!("/proc/{}/ns/net", row.pid));
    let sandbox = Sandbox { id: show::owner(row), networking, up: life::is_up(row), namespace };
    fields.insert("NetworkSettings".to_string(), sandbox.settings(store)?);
    if let (None, Some(Value::Object(host))) = (&row.pod, fields.get_mut("HostConfig")) {
        host.extend(network::host_config(store, &row.id, networking)?);
    }
    Ok(())
}

fn shown(text: &Text) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

fn all_shown(texts: &[Text]) -> Vec<String> {
    texts.iter().map(shown).collect()
}

fn log_path(store: &Store, row: &ContainerRow, config: &LogConfig) -> String {
    match config.driver {
        Driver::JsonFile => logs::live_path(&store.paths().container(&row.id), &row.id).display().to_string(),
        Driver::None => String::new(),
    }
}

fn state(row: &ContainerRow) -> Value {
    let time = |ns: i64| if ns == 0 { NEVER.to_string() } else { rfc3339_nano(ns) };
    let is = |state| row.state == state;
    let mut fields = json!({
        "Status": row.state.as_str(),
        // As docker: what is paused, or about to be started again, runs.
        "Running": life::is_up(row),
        "Paused": is(ContainerState::Paused),
        "Restarting": is(ContainerState::Restarting),
        "OOMKilled": row.oom_killed,
        "Dead": is(ContainerState::Dead),
        "Pid": row.pid,
        "ExitCode": row.exit_code,
        "Error": row.error,
        "StartedAt": time(row.started),
        "FinishedAt": time(row.finished),
    });
    if let (Some(fields), Ok(health)) = (fields.as_object_mut(), serde_json::from_str::<Health>(&row.health))
    {
        fields.insert("Health".to_string(), json!(health));
    }
    fields
}

fn sizes(
    store: &Store,
    row: &ContainerRow,
    config: &Config,
    fields: &mut Map<String, Value>,
) -> Result<(), InspectError> {
    let failed = |source| InspectError::Size { name: row.name.clone(), source };
    let image = store.db().image_of_container(&row.image)?.map_or(0, |image| image.bytes);
    if let Some(written) = written::bytes(store, row, config).map_err(failed)? {
        fields.insert("SizeRw".to_string(), json!(written));
        fields.insert("SizeRootFs".to_string(), json!(image.saturating_add(written)));
    }
    Ok(())
}

fn host_config(row: &ContainerRow, config: &Config) -> Value {
    let (process, resources) = (&config.process, &config.resources);
    // Of a namespace that it shares, whose it is; else docker's word.
    let space = |joined: &Option<String>, of_pod: Option<&String>, own: &str| match (joined, of_pod) {
        (Some(id), _) => format!("container:{id}"),
        (None, Some(pod)) => format!("pod:{pod}"),
        (None, None) => own.to_string(),
    };
    let (share, pod) = (&config.share, row.pod.as_ref());
    let (added, dropped) = caps::beyond_default(&process.capabilities);
    let millis = resources.cpu_millis.unwrap_or(0);
    let swap = resources.memory_swap_bytes.or(resources.memory_bytes);
    let retries = match config.restart {
        RestartPolicy::OnFailure { most } => most,
        RestartPolicy::No | RestartPolicy::Always | RestartPolicy::UnlessStopped => 0,
    };
    let asked = &config.shown_mounts;
    let mut fields = json!({
        "Binds": or_null(asked.binds.clone()),
        "LogConfig": {"Type": config.log.driver.name(), "Config": log_options(&config.log)},
        "NetworkMode": space(&share.network, pod, "default"),
        "RestartPolicy": {"Name": config.restart.to_string(), "MaximumRetryCount": retries},
        "AutoRemove": config.remove,
        "VolumeDriver": asked.driver,
        "VolumesFrom": or_null(asked.volumes_from.clone()),
        "CapAdd": or_null(added),
        "CapDrop": or_null(dropped),
        "IpcMode": space(&share.ipc, pod, "private"),
        "PidMode": space(&share.pid, None, ""),
        "UTSMode": space(&share.uts, pod, ""),
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": or_null(security(process)),
        "StorageOpt": config.storage_bytes.map(|bytes| json!({"size": bytes.to_string()})),
        "Tmpfs": mounts::in_memory(config),
        "ShmSize": resources.shm_bytes.unwrap_or(SHM_BYTES),
        "ConsoleSize": process.terminal.map_or([0, 0], |size| [size.rows, size.columns]),
        "Isolation": row.mode,
        "CpuShares": resources.cpu_shares.unwrap_or(0),
        "Memory": resources.memory_bytes.unwrap_or(0),
        "NanoCpus": millis.saturating_mul(1_000_000),
        "BlkioDeviceReadBps": rates(&resources.io, |limit| limit.read_bps),
        "BlkioDeviceWriteBps": rates(&resources.io, |limit| limit.write_bps),
        "BlkioDeviceReadIOps": rates(&resources.io, |limit| limit.read_iops),
        "BlkioDeviceWriteIOps": rates(&resources.io, |limit| limit.write_iops),
        "CpuPeriod": resources.cpu_period_us.unwrap_or(0),
        "CpuQuota": resources.cpu_quota_us.unwrap_or(0),
        "CpusetCpus": resources.cpuset_cpus.as_deref().unwrap_or_default(),
        "MemoryReservation": resources.memory_reservation_bytes.unwrap_or(0),
        "MemorySwap": swap.map_or(json!(0), or_unlimited),
        "PidsLimit": resources.pids.map(or_unlimited),
        "Ulimits": ulimits(process),
        "Mounts": asked.mounts,
        "MaskedPaths": spec::MASKED,
        "ReadonlyPaths": spec::READ_ONLY,
        "Init": process.init,
    });
    if let Some(fields) = fields.as_object_mut() {
        if asked.mounts.is_empty() {
            fields.shift_remove("Mounts");
        }
        for (field, kind) in [("Secrets", SecretKind::Secret), ("Configs", SecretKind::Config)] {
            let shown: Vec<Value> =
                config.secrets.iter().filter(|secret| secret.kind == kind).map(secret).collect();
            if !shown.is_empty() {
                fields.insert(field.to_string(), json!(shown));
            }
        }
    }
    fields
}

/// Docker's -1.
fn or_unlimited(limit: u64) -> Value {
    if limit == u64::MAX { json!(-1) } else { json!(limit) }
}

fn or_null<T: Into<Value>>(list: Vec<T>) -> Value {
    if list.is_empty() { Value::Null } else { Value::from(list) }
}

/// Those in effect, whoever decided them.
fn log_options(config: &LogConfig) -> BTreeMap<&'static str, String> {
    if config.driver == Driver::None {
        return BTreeMap::new();
    }
    let max_size = config.max_size.map_or_else(|| "-1".to_string(), |bytes| bytes.to_string());
    let lists = [("labels", &config.labels), ("env", &config.env)];
    let lists =
        lists.into_iter().filter(|(_, keys)| !keys.is_empty()).map(|(name, keys)| (name, keys.join(",")));
    [("max-size", max_size), ("max-file", config.max_file.to_string())].into_iter().chain(lists).collect()
}

fn security(process: &Process) -> Vec<&'static str> {
    let mut words = Vec::new();
    if process.no_new_privileges {
        words.push("no-new-privileges");
    }
    if process.seccomp == Seccomp::Unconfined {
        words.push("seccomp=unconfined");
    }
    words
}

fn rates(limits: &[IoLimit], rate: fn(&IoLimit) -> Option<u64>) -> Vec<Value> {
    let shown = |limit: &IoLimit| rate(limit).map(|rate| json!({"Path": shown(&limit.device), "Rate": rate}));
    limits.iter().filter_map(shown).collect()
}

fn ulimits(process: &Process) -> Vec<Value> {
    let limits = process.rlimits.iter().map(|limit| {
        let name = limits::rlimit_name(&limit.name);
        json!({"Name": name, "Hard": or_unlimited(limit.hard), "Soft": or_unlimited(limit.soft)})
    });
    limits.collect()
}

fn own_config(config: &Config) -> Value {
    let process = &config.process;
    let words = all_shown(&process.args);
    let (entrypoint, command) = words.split_at(config.entrypoint_words.min(words.len()));
    let mut fields = json!({
        "Hostname": config.hostname,
        "Domainname": config.network.domainname,
        "User": shown(&process.user),
        "Tty": process.terminal.is_some(),
        "OpenStdin": process.stdin,
        "StdinOnce": process.stdin && config.stdin_once,
        "Env": all_shown(&process.env),
        "Cmd": or_null(command.to_vec()),
        "Image": config.image,
        "Volumes": volumes(&config.shown_mounts.targets),
        "WorkingDir": shown(&process.cwd),
        "Entrypoint": or_null(entrypoint.to_vec()),
        "Labels": config.labels,
        "StopSignal": signals::name(config.stop.signal),
        "StopTimeout": config.stop.timeout_seconds,
    });
    if let Some(fields) = fields.as_object_mut() {
        fields.extend(show::exposed(&config.network).map(|ports| ("ExposedPorts".to_string(), ports)));
        fields.extend(config.health.as_ref().map(|check| ("Healthcheck".to_string(), json!(check))));
    }
    fields
}

/// Where it is, and what it comes from; what it holds nobody is told.
fn secret(secret: &Secret) -> Value {
    let (key, source) = match &secret.source {
        SecretSource::File(path) => ("Source", path.display().to_string()),
        SecretSource::Env(variable) => ("Env", variable.clone()),
    };
    json!({
        "Name": secret.name,
        key: source,
        "Target": secret.target,
        "UID": secret.uid,
        "GID": secret.gid,
        "Mode": secret.mode,
    })
}

fn volumes(targets: &[String]) -> Value {
    let set: Map<String, Value> = targets.iter().map(|target| (target.clone(), json!({}))).collect();
    if set.is_empty() { Value::Null } else { Value::Object(set) }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
