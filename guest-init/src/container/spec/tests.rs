use super::*;
use crate::protocol::{Disk, Share};

fn spec() -> ContainerSpec {
    ContainerSpec {
        id: "a".repeat(64),
        hostname: "box".into(),
        domainname: String::new(),
        root: Root {
            source: RootSource::Disks {
                lower: Disk { index: 0, sectors: 8 },
                upper: Disk { index: 1, sectors: 8 },
            },
            readonly: false,
        },
        process: Process {
            args: vec!["true".into()],
            env: vec![],
            cwd: "/".into(),
            user: "".into(),
            terminal: None,
            stdin: false,
            capabilities: vec!["CAP_CHOWN".into()],
            no_new_privileges: false,
            seccomp: Seccomp::Default,
            rlimits: vec![],
            init: false,
        },
        mounts: vec![],
        files: vec![],
        masked_paths: vec![],
        readonly_paths: vec![],
        resources: Resources::default(),
        cgroup: None,
        share: Share::default(),
    }
}

fn refusal(change: impl FnOnce(&mut ContainerSpec), place: Place) -> String {
    let mut spec = spec();
    change(&mut spec);
    validate(spec, place).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn sound_spec_is_accepted_and_gets_a_cgroup_in_the_guest() {
    let valid = validate(spec(), Place::Guest).unwrap();
    assert_eq!(valid.cgroup, format!("hull/{}", "a".repeat(64)));
    assert_eq!(valid.process.capabilities, CapabilitySet::CHOWN);
}

#[test]
fn host_agent_refuses_disks_and_demands_a_cgroup() {
    assert_eq!(refusal(|_| (), Place::Host), "root.source: disks exist in a guest only");
    let files = |spec: &mut ContainerSpec| {
        let path = || Text::from("/x");
        spec.root.source =
            RootSource::Files { metadata: path(), layers: vec![], upper: path(), work: path() };
    };
    assert_eq!(refusal(files, Place::Host), "cgroup: must be given on a host");
    let climbing = |spec: &mut ContainerSpec| {
        files(spec);
        spec.cgroup = Some("hull/../x".into());
    };
    assert_eq!(refusal(climbing, Place::Host), "cgroup: must be a relative path of plain names");
}

#[test]
fn values_that_cannot_be_meant_are_refused_by_field() {
    type Change = fn(&mut ContainerSpec);
    let cases: [(Change, &str); 8] = [
        (|spec| spec.id = "x".repeat(64), "id: "),
        (|spec| spec.hostname = String::new(), "hostname: "),
        (|spec| spec.domainname = "x".repeat(65), "domainname: "),
        (|spec| spec.process.args.clear(), "process.args: "),
        (|spec| spec.process.env = vec!["A\0=1".into()], "process.env: "),
        (|spec| spec.process.cwd = "relative".into(), "process.cwd: "),
        (|spec| spec.process.capabilities = vec!["CAP_FLY".into()], "process.capabilities: "),
        (|spec| spec.resources.pids = Some(0), "resources.pids: "),
    ];
    for (change, field) in cases {
        let told = refusal(change, Place::Guest);
        assert!(told.starts_with(field), "{field} {told}");
    }
}
