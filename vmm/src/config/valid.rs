//! The checks between a [`VmConfig`] as written down and a machine built from it.

use std::collections::HashSet;
use std::os::fd::RawFd;

use super::{
    DiskConfig, DiskLimits, FileSource, FsConfig, JailConfig, MAX_DISKS, MAX_MEMORY_MIB, MAX_NETS,
    MAX_SEGMENTS, MAX_TAG, MAX_VCPUS, MIN_MEMORY_MIB, MIN_MTU, NetConfig, NetLimits, Segment, VmConfig,
    VsockConfig, mac,
};

/// Longest id: it is shown in messages, not stored.
const MAX_ID: usize = 128;
/// First context id that is not reserved (VirtIO 1.2, 5.10.4).
const FIRST_CID: u32 = 3;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("id {0:?} is not 1 to {MAX_ID} printable characters")]
    Id(String),
    #[error("{0} vCPUs asked for; 1 to {MAX_VCPUS} are possible")]
    Vcpus(u8),
    #[error("{0} MiB of memory asked for; {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB} are possible")]
    Memory(u32),
    #[error("the kernel command line holds a character that is not printable ASCII")]
    Cmdline,
    #[error("{0} disks asked for; up to {MAX_DISKS} are possible")]
    Disks(usize),
    #[error("disk {disk} has {count} segments; up to {MAX_SEGMENTS} are possible")]
    Segments { disk: usize, count: usize },
    #[error("disk {disk}: segment {segment} does not start behind the one before it")]
    SegmentOrder { disk: usize, segment: usize },
    #[error("disk {disk}: {limit} is 0; a limit is at least 1, and absent for none")]
    Limit { disk: usize, limit: &'static str },
    #[error("{0} network devices asked for; up to {MAX_NETS} are possible")]
    Nets(usize),
    #[error(
        "network device {net}: {address} is another's, or not that of a single host",
        address = mac::format(.mac)
    )]
    Mac { net: usize, mac: [u8; 6] },
    #[error("network device {net}: an MTU of {mtu} is too small; it is at least {MIN_MTU}")]
    Mtu { net: usize, mtu: u16 },
    #[error("network device {net}: {limit} is 0; a limit is at least 1, and absent for none")]
    NetLimit { net: usize, limit: &'static str },
    #[error("vsock context id {0} is reserved; it must be {FIRST_CID} or more, below {max}", max = u32::MAX)]
    Cid(u32),
    #[error("the file system's tag {0:?} is not 1 to {MAX_TAG} bytes of printable characters")]
    Tag(String),
    #[error("descriptor {0} is named twice, or is no descriptor number")]
    Descriptor(RawFd),
    #[error("the jail's uid and gid must be of somebody without rights, not {0}:{1}")]
    JailUser(u32, u32),
}

/// A [`VmConfig`] within all limits. The descriptors it names are distinct, so each may be taken
/// possession of.
#[derive(Debug)]
pub struct ValidConfig {
    pub(crate) id: String,
    pub(crate) vcpus: u8,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: FileSource,
    pub(crate) initrd: Option<FileSource>,
    pub(crate) cmdline: String,
    pub(crate) disks: Vec<DiskConfig>,
    pub(crate) nets: Vec<NetConfig>,
    pub(crate) vsock: Option<VsockConfig>,
    pub(crate) fs: Option<FsConfig>,
    pub(crate) boot_log: Option<FileSource>,
    pub(crate) jail: Option<JailConfig>,
    pub(crate) control: Option<RawFd>,
}

impl VmConfig {
    /// Checks every limit that can be checked without touching a file.
    pub fn validate(self) -> Result<ValidConfig, ConfigError> {
        if self.id.is_empty() || self.id.len() > MAX_ID || self.id.chars().any(char::is_control) {
            return Err(ConfigError::Id(self.id));
        }
        if !(1..=MAX_VCPUS).contains(&self.vcpus) {
            return Err(ConfigError::Vcpus(self.vcpus));
        }
        if !(MIN_MEMORY_MIB..=MAX_MEMORY_MIB).contains(&self.memory_mib) {
            return Err(ConfigError::Memory(self.memory_mib));
        }
        if !self.cmdline.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(ConfigError::Cmdline);
        }
        check_disks(&self.disks)?;
        check_nets(&self.nets)?;
        match self.vsock {
            Some(VsockConfig { cid, .. }) if !(FIRST_CID..u32::MAX).contains(&cid) => {
                return Err(ConfigError::Cid(cid));
            }
            _ => {}
        }
        match self.fs {
            Some(FsConfig { tag, .. })
                if !(1..=MAX_TAG).contains(&tag.len()) || tag.chars().any(char::is_control) =>
            {
                return Err(ConfigError::Tag(tag));
            }
            _ => {}
        }
        match self.jail {
            Some(JailConfig { uid, gid }) if [uid, gid].iter().any(|id| [0, u32::MAX].contains(id)) => {
                return Err(ConfigError::JailUser(uid, gid));
            }
            _ => {}
        }
        let valid = ValidConfig {
            id: self.id,
            vcpus: self.vcpus,
            memory_bytes: u64::from(self.memory_mib) << 20,
            kernel: self.kernel,
            initrd: self.initrd,
            cmdline: self.cmdline,
            disks: self.disks,
            nets: self.nets,
            vsock: self.vsock,
            fs: self.fs,
            boot_log: self.boot_log,
            jail: self.jail,
            control: self.control,
        };
        let mut seen = HashSet::new();
        let clash = valid.descriptors().find(|fd| *fd < 0 || !seen.insert(*fd));
        clash.map_or(Ok(valid), |fd| Err(ConfigError::Descriptor(fd)))
    }
}

impl ValidConfig {
    /// Whether the process is to be confined before the guest runs.
    pub fn is_jailed(&self) -> bool {
        self.jail.is_some()
    }

    /// Whether somebody is told of the machine's end through a control socket.
    pub fn is_supervised(&self) -> bool {
        self.control.is_some()
    }

    /// The descriptors that the machine was handed: what it may keep open of what it inherited.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let disks = self.disks.iter().flat_map(|disk| match disk {
            DiskConfig::ReadOnly { segments, .. } => segments.iter().map(|segment| &segment.file).collect(),
            DiskConfig::ReadWrite { file, .. } => file.iter().collect::<Vec<_>>(),
        });
        let vsock = self.vsock.iter().map(|vsock| &vsock.socket);
        let fs = self.fs.iter().map(|fs| &fs.socket);
        let sources = [&self.kernel].into_iter().chain(&self.initrd).chain(&self.boot_log);
        sources.chain(disks).chain(vsock).chain(fs).filter_map(FileSource::fd).chain(self.control)
    }
}

impl FileSource {
    fn fd(&self) -> Option<RawFd> {
        match self {
            FileSource::Path(_) => None,
            FileSource::Fd(fd) => Some(*fd),
        }
    }
}

fn check_disks(disks: &[DiskConfig]) -> Result<(), ConfigError> {
    if disks.len() > MAX_DISKS {
        return Err(ConfigError::Disks(disks.len()));
    }
    for (disk, config) in disks.iter().enumerate() {
        if let DiskConfig::ReadOnly { segments, .. } = config {
            check_segments(disk, segments)?;
        }
        check_limits(disk, config.limits())?;
    }
    Ok(())
}

/// None is zero, which would be a disk that never answers.
pub(crate) fn check_limits(disk: usize, limits: &DiskLimits) -> Result<(), ConfigError> {
    let DiskLimits { read_bps, write_bps, read_iops, write_iops } = *limits;
    let all = [
        ("read_bps", read_bps),
        ("write_bps", write_bps),
        ("read_iops", read_iops),
        ("write_iops", write_iops),
    ];
    find_zero(all).map_or(Ok(()), |limit| Err(ConfigError::Limit { disk, limit }))
}

fn find_zero(limits: [(&'static str, Option<u64>); 4]) -> Option<&'static str> {
    limits.into_iter().find(|(_, value)| *value == Some(0)).map(|(limit, _)| limit)
}

fn check_nets(nets: &[NetConfig]) -> Result<(), ConfigError> {
    if nets.len() > MAX_NETS {
        return Err(ConfigError::Nets(nets.len()));
    }
    let mut seen = HashSet::new();
    for (net, NetConfig { mac, mtu, limits }) in nets.iter().enumerate() {
        // The lowest bit of the first byte: for a group (IEEE 802, 8.2).
        let is_single = mac[0] & 1 == 0 && *mac != [0; 6];
        if !is_single || !seen.insert(mac) {
            return Err(ConfigError::Mac { net, mac: *mac });
        }
        if let Some(mtu) = mtu.filter(|mtu| *mtu < MIN_MTU) {
            return Err(ConfigError::Mtu { net, mtu });
        }
        check_net_limits(net, limits)?;
    }
    Ok(())
}

/// None is zero, which would be a cable that carries nothing.
pub(crate) fn check_net_limits(net: usize, limits: &NetLimits) -> Result<(), ConfigError> {
    let NetLimits { rx_bps, tx_bps, rx_pps, tx_pps } = *limits;
    let all = [("rx_bps", rx_bps), ("tx_bps", tx_bps), ("rx_pps", rx_pps), ("tx_pps", tx_pps)];
    find_zero(all).map_or(Ok(()), |limit| Err(ConfigError::NetLimit { net, limit }))
}

/// Segments are few enough and ascend. That they do not overlap shows when the files are open.
pub(crate) fn check_segments(disk: usize, segments: &[Segment]) -> Result<(), ConfigError> {
    if segments.len() > MAX_SEGMENTS {
        return Err(ConfigError::Segments { disk, count: segments.len() });
    }
    let disorder = segments.windows(2).position(|pair| pair[0].start_sector >= pair[1].start_sector);
    match disorder {
        Some(before) => Err(ConfigError::SegmentOrder { disk, segment: before + 1 }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json_fields: &str) -> VmConfig {
        let json = format!(r#"{{"id":"t","vcpus":1,"memory_mib":64,"kernel":{{"path":"/k"}}{json_fields}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn smallest_config_is_valid() {
        let valid = config("").validate().unwrap();
        assert_eq!(valid.memory_bytes, 64 << 20);
        assert_eq!(valid.descriptors().count(), 0);
    }

    #[test]
    fn unknown_fields_are_refused() {
        let json = r#"{"id":"t","vcpus":1,"memory_mib":64,"kernel":{"path":"/k"},"gpu":true}"#;
        let error = serde_json::from_str::<VmConfig>(json).unwrap_err();
        assert!(error.to_string().contains("gpu"), "{error}");
    }

    #[test]
    fn sizes_outside_the_limits_are_refused() {
        assert_eq!(VmConfig { vcpus: 0, ..config("") }.validate().unwrap_err(), ConfigError::Vcpus(0));
        assert_eq!(VmConfig { vcpus: 65, ..config("") }.validate().unwrap_err(), ConfigError::Vcpus(65));
        assert_eq!(
            VmConfig { memory_mib: 31, ..config("") }.validate().unwrap_err(),
            ConfigError::Memory(31)
        );
        let disks = vec![DiskConfig::ReadWrite { file: None, limits: DiskLimits::default() }; MAX_DISKS + 1];
        assert_eq!(VmConfig { disks, ..config("") }.validate().unwrap_err(), ConfigError::Disks(13));
    }

    #[test]
    fn segments_ascend() {
        let segments = r#","disks":[{"kind":"read_only","segments":[
            {"file":{"fd":5},"start_sector":0},{"file":{"fd":6},"start_sector":0}]}]"#;
        assert_eq!(
            config(segments).validate().unwrap_err(),
            ConfigError::SegmentOrder { disk: 0, segment: 1 }
        );
    }

    #[test]
    fn limits_are_optional_known_and_more_than_zero() {
        let with = |limits: &str| format!(r#","disks":[{{"kind":"read_write","file":null{limits}}}]"#);
        let disks = config(&with("")).validate().unwrap().disks;
        assert!(disks[0].limits().is_empty());
        assert_eq!(serde_json::to_string(&disks[0]).unwrap(), r#"{"kind":"read_write","file":null}"#);
        let limited = config(&with(r#","limits":{"read_iops":1,"write_bps":18446744073709551615}"#));
        let expected = DiskLimits { read_iops: Some(1), write_bps: Some(u64::MAX), ..DiskLimits::default() };
        assert_eq!(*limited.validate().unwrap().disks[0].limits(), expected);
        for limit in ["read_bps", "write_bps", "read_iops", "write_iops"] {
            let zero = config(&with(&format!(r#","limits":{{"{limit}":0}}"#)));
            assert_eq!(zero.validate().unwrap_err(), ConfigError::Limit { disk: 0, limit });
        }
        for limits in [r#"{"read_bps":-1}"#, r#"{"read_bps":1.5}"#, r#"{"bps":1}"#, "7"] {
            assert!(serde_json::from_str::<DiskLimits>(limits).is_err(), "{limits}");
        }
    }

    #[test]
    fn network_devices_have_addresses_of_their_own_and_known_limits() {
        let with = |nets: &str| config(&format!(r#","nets":[{nets}]"#)).validate();
        let nets = with(
            r#"{"mac":"02:68:75:6c:00:00","mtu":1280,"limits":{"rx_pps":1}},
            {"mac":"02:68:75:6c:00:01"}"#,
        )
        .unwrap()
        .nets;
        assert_eq!(nets[1].mac, [2, 0x68, 0x75, 0x6c, 0, 1]);
        assert_eq!(nets[0].limits, NetLimits { rx_pps: Some(1), ..NetLimits::default() });
        assert_eq!(serde_json::to_string(&nets[1]).unwrap(), r#"{"mac":"02:68:75:6c:00:01"}"#);
        for bad in ["03:00:00:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"] {
            let error = with(&format!(r#"{{"mac":"{bad}"}}"#)).unwrap_err();
            assert_eq!(error, ConfigError::Mac { net: 0, mac: mac::parse(bad).unwrap() });
            assert!(error.to_string().contains(bad), "{error}");
        }
        let twice = with(r#"{"mac":"02:00:00:00:00:01"},{"mac":"02:00:00:00:00:01"}"#).unwrap_err();
        assert_eq!(twice, ConfigError::Mac { net: 1, mac: [2, 0, 0, 0, 0, 1] });
        let small = with(r#"{"mac":"02:00:00:00:00:01","mtu":1279}"#).unwrap_err();
        assert_eq!(small, ConfigError::Mtu { net: 0, mtu: 1279 });
        for limit in ["rx_bps", "tx_bps", "rx_pps", "tx_pps"] {
            let zero = with(&format!(r#"{{"mac":"02:00:00:00:00:01","limits":{{"{limit}":0}}}}"#));
            assert_eq!(zero.unwrap_err(), ConfigError::NetLimit { net: 0, limit });
        }
        let many = (0..=MAX_NETS).map(|net| format!(r#"{{"mac":"02:00:00:00:00:0{net}"}}"#));
        assert_eq!(with(&many.collect::<Vec<_>>().join(",")).unwrap_err(), ConfigError::Nets(MAX_NETS + 1));
    }

    #[test]
    fn a_tag_fits_its_field_and_can_be_printed() {
        let with = |tag: &str| config(&format!(r#","fs":{{"tag":"{tag}","socket":{{"fd":9}}}}"#)).validate();
        let longest = "h".repeat(MAX_TAG);
        let valid = with(&longest).unwrap();
        assert_eq!(valid.descriptors().collect::<Vec<_>>(), [9]);
        assert_eq!(valid.fs.unwrap().tag, longest);
        for (written, tag) in [("", ""), (r"a\u0000", "a\0"), (r"a\n", "a\n")] {
            assert_eq!(with(written).unwrap_err(), ConfigError::Tag(tag.to_owned()));
        }
        let long = "ü".repeat(MAX_TAG / 2) + "x";
        assert_eq!(with(&long).unwrap_err(), ConfigError::Tag(long));
    }

    #[test]
    fn a_descriptor_has_one_owner() {
        assert_eq!(
            config(r#","initrd":{"fd":7},"control":7"#).validate().unwrap_err(),
            ConfigError::Descriptor(7)
        );
        assert_eq!(
            config(r#","fs":{"tag":"t","socket":{"fd":7}},"control":7"#).validate().unwrap_err(),
            ConfigError::Descriptor(7)
        );
        assert_eq!(config(r#","initrd":{"fd":-1}"#).validate().unwrap_err(), ConfigError::Descriptor(-1));
    }

    #[test]
    fn cmdline_with_control_characters_is_refused() {
        assert_eq!(config(r#","cmdline":"a\nb""#).validate().unwrap_err(), ConfigError::Cmdline);
    }

    #[test]
    fn jail_user_is_not_root() {
        let error = config(r#","jail":{"uid":0,"gid":5}"#).validate().unwrap_err();
        assert_eq!(error, ConfigError::JailUser(0, 5));
    }
}
