//! From an image's defaults and the user's options to the agent's [`ContainerSpec`].

use hull_guest::protocol::{
    ContainerSpec, Mount, OverlaidFile, Process, Resources, Rlimit, Root, RootSource, Seccomp, Share,
    TerminalSize, Text,
};

use super::config::Config;
use super::env::Environment;
use super::secrets::Secret;

/// Paths that show or change the host through /proc and /sys; Docker's lists.
pub const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What an image says about the command, by the OCI image configuration's names.
#[derive(Debug, Clone, Default)]
pub struct ImageDefaults {
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub working_dir: String,
    pub user: String,
}

/// The user's options, checked; what is None or empty comes from the image.
#[derive(Debug, Default)]
pub struct Options {
    pub hostname: Option<String>,
    pub entrypoint: Option<Text>,
    pub args: Vec<Text>,
    pub workdir: Option<Text>,
    pub user: Option<Text>,
    pub interactive: bool,
    pub terminal: Option<TerminalSize>,
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp_unconfined: bool,
    pub rlimits: Vec<Rlimit>,
    pub init: bool,
    pub read_only: bool,
    pub secrets: Vec<Secret>,
    pub resources: Resources,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("The image names no command; say what to run: hull run IMAGE COMMAND")]
pub struct NoCommand;

/// What the container's first process is called with. `--entrypoint` replaces the image's entrypoint
/// and its command; an empty one removes both.
pub fn command(image: &ImageDefaults, options: &Options) -> Result<Vec<Text>, NoCommand> {
    let own = |words: &[String]| words.iter().cloned().map(Text::from).collect::<Vec<_>>();
    let (mut words, default) = match &options.entrypoint {
        Some(entrypoint) if entrypoint.as_bytes().is_empty() => (Vec::new(), Vec::new()),
        Some(entrypoint) => (vec![entrypoint.clone()], Vec::new()),
        None => (own(&image.entrypoint), own(&image.cmd)),
    };
    words.extend(if options.args.is_empty() { default } else { options.args.clone() });
    if words.is_empty() { Err(NoCommand) } else { Ok(words) }
}

/// How many of those words the entrypoint is.
pub fn entrypoint_words(image: &ImageDefaults, options: &Options) -> usize {
    match &options.entrypoint {
        Some(entrypoint) => usize::from(!entrypoint.as_bytes().is_empty()),
        None => image.entrypoint.len(),
    }
}

/// The environment before the user's own words: docker's base, then the image's.
pub fn environment(image: &ImageDefaults, hostname: &str, terminal: bool) -> Environment {
    let mut env = Environment::base(hostname, terminal);
    for word in &image.env {
        env.set(word.as_bytes());
    }
    env
}

/// The process as the options and the image make it.
pub fn process(image: &ImageDefaults, options: &Options, env: Vec<Text>) -> Result<Process, NoCommand> {
    Ok(Process {
        args: command(image, options)?,
        env,
        cwd: options.workdir.clone().unwrap_or_else(|| match image.working_dir.as_str() {
            "" => "/".into(),
            dir => dir.into(),
        }),
        user: options.user.clone().unwrap_or_else(|| image.user.as_str().into()),
        terminal: options.terminal,
        stdin: options.interactive,
        capabilities: options.capabilities.clone(),
        no_new_privileges: options.no_new_privileges,
        seccomp: if options.seccomp_unconfined { Seccomp::Unconfined } else { Seccomp::Default },
        rlimits: options.rlimits.clone(),
        init: options.init,
    })
}

/// What the agent is told. `source` and `cgroup` are the mode's part, `files` come of the network, and `mounts` are
/// those of the config with what is outside of it.
pub fn build(
    id: &str,
    config: &Config,
    source: RootSource,
    cgroup: Option<String>,
    files: Vec<OverlaidFile>,
    mounts: Vec<Mount>,
) -> ContainerSpec {
    let own = |paths: &[&str]| paths.iter().map(ToString::to_string).collect();
    let mut resources = config.resources.clone();
    if let RootSource::Disks { .. } = source {
        // The machine's own disks are held to their rates outside of it.
        resources.io.clear();
    }
    ContainerSpec {
        id: id.to_string(),
        root: Root { source, readonly: config.read_only },
        files,
        hostname: config.hostname.clone(),
        domainname: config.network.domainname.clone(),
        process: config.process.clone(),
        mounts,
        masked_paths: own(&MASKED),
        readonly_paths: own(&READ_ONLY),
        resources,
        cgroup,
        // All of a pod have its network and IPC namespaces, whose life does not hang on one of them.
        share: Share { pid: config.share.pid.clone(), ..Share::default() },
    }
}

/// As docker: the first twelve digits of the id.
pub fn default_hostname(id: &str) -> String {
    id.get(..12).unwrap_or(id).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageDefaults {
        ImageDefaults {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into()],
            ..ImageDefaults::default()
        }
    }

    fn words(options: &Options) -> Vec<Text> {
        command(&image(), options).unwrap()
    }

    #[test]
    fn arguments_replace_the_command_and_entrypoint_replaces_both() {
        let mut options = Options::default();
        assert_eq!(words(&options), ["/entry".into(), "serve".into()] as [Text; 2]);
        options.args = vec!["x".into()];
        assert_eq!(words(&options), ["/entry".into(), "x".into()] as [Text; 2]);
        options.entrypoint = Some("sh".into());
        assert_eq!(words(&options), ["sh".into(), "x".into()] as [Text; 2]);
        options.args.clear();
        assert_eq!(words(&options), ["sh".into()] as [Text; 1]);
        options.entrypoint = Some("".into());
        assert_eq!(command(&image(), &options), Err(NoCommand));
    }
}
