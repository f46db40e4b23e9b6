//! What `hull run` and `hull create` share.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use hull_guest::protocol::{Resources, Share, Text};

use super::health_args::HealthArgs;
use super::network_args::{Network, NetworkArgs};
use super::progress::{self, Stream};
use super::resource_args::{FixedArgs, LimitArgs};
use super::volume_args::VolumeArgs;
use crate::container::create::{self, Asked};
use crate::container::limits::LimitError;
use crate::container::restart::RestartPolicy;
use crate::container::spec::Options;
use crate::container::{caps, limits, names, signals};
use crate::image::platform;
use crate::image::pull::{Policy, Wanted};
use crate::logs::LogConfig;
use crate::network;
use crate::sandbox::mode::IsolationRequest;
use crate::terminal;

#[derive(Debug, Args)]
pub struct ContainerArgs {
    /// Keep stdin open and pass it on
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Name of the container [default: two random words]
    #[arg(long)]
    name: Option<String>,
    /// Set a variable; without a value it is taken from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Read variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Folder to start in, made if missing [default: the image's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<OsString>,
    /// User to run as, looked up in the image [default: the image's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<OsString>,
    /// Program to run in place of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<OsString>,
    /// Host name [default: start of the container's id]
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Attach a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Where the container runs [default: the config file's, else auto]
    #[arg(long, value_enum, value_name = "MODE")]
    isolation: Option<IsolationRequest>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    fixed: FixedArgs,
    #[command(flatten)]
    health: HealthArgs,
    /// Mount the container's root file system read-only
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    volumes: VolumeArgs,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Security option: no-new-privileges
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Resource limit, as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// Run an init that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// Start again when it ends: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no", hide_default_value = true)]
    restart: RestartPolicy,
    /// Signal that asks the container to end [default: the image's, else TERM]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds between that and SIGKILL, -1 for ever [default: 10]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,
    /// Where the output is kept: json-file, none [default: json-file]
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// How: max-size, max-file, labels, env
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
    /// Pod to run in
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Share a container's IPC namespace, in its pod: container:NAME
    #[arg(long, value_name = "container:NAME")]
    ipc: Option<String>,
    /// Share a container's processes, in its pod: container:NAME
    #[arg(long, value_name = "container:NAME")]
    pid: Option<String>,
    /// When to pull the image
    #[arg(long, value_enum, value_name = "WHEN", default_value = "missing")]
    pull: Policy,
    /// Platform of the image, if it has several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Say nothing of a pull
    #[arg(short, long)]
    quiet: bool,
    /// Guest kernel for this container, ELF or bzImage
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Image to make the container of
    image: String,
    /// Command and its arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    args: Vec<OsString>,
}

impl ContainerArgs {
    /// Checks every option before anything is touched.
    pub fn asked(self) -> Result<Asked, anyhow::Error> {
        if let Some(name) = &self.name {
            names::check(name)?;
        }
        if let Some(hostname) = &self.hostname {
            check_hostname(hostname)?;
        }
        if let Some(label) = self.label.iter().find(|label| label.is_empty() || label.starts_with('=')) {
            anyhow::bail!("-l \"{label}\" has no name before the equals sign");
        }
        if self.rm && self.restart != RestartPolicy::No {
            anyhow::bail!("--rm conflicts with --restart: what is removed when it ends cannot start again");
        }
        let resources = self.resources()?;
        let volumes = self.volumes.read()?;
        let secrets = self.volumes.secrets()?;
        let network = self.network.read(self.hostname.is_some())?;
        let share = self.share(&network)?;
        let network = match network {
            Network::Own(asked) => *asked,
            Network::Joined(_) => network::options::Asked::default(),
        };
        if let (Some(_), None, Some(option)) = (&self.pod, &share.network, self.network.given()) {
            anyhow::bail!(
                "{option} is for the pod to say, whose network its containers share: hull pod create {option}"
            );
        }
        let image = Wanted {
            image: self.image,
            policy: self.pull,
            platform: self.platform.as_deref().map(platform::parse).transpose()?,
            progress: progress::on(Stream::Stderr, self.quiet),
        };
        let (no_new_privileges, seccomp_unconfined) = security(&self.security_opt)?;
        let options = Options {
            hostname: self.hostname,
            entrypoint: self.entrypoint.map(Text::from),
            args: self.args.into_iter().map(Text::from).collect(),
            workdir: self.workdir.filter(|dir| !dir.is_empty()).map(|dir| absolute(&dir)).transpose()?,
            user: self.user.map(Text::from),
            interactive: self.interactive,
            terminal: self.tty.then(|| terminal::size(&std::io::stdout())),
            capabilities: caps::resolve(&self.cap_add, &self.cap_drop)?,
            no_new_privileges,
            seccomp_unconfined,
            rlimits: self.ulimit.iter().map(|word| limits::ulimit(word)).collect::<Result<_, _>>()?,
            init: self.init,
            read_only: self.read_only,
            secrets,
            resources,
        };
        Ok(Asked {
            image,
            name: self.name,
            remove: self.rm,
            isolation: self.isolation,
            kernel: self.kernel,
            env: self.env,
            env_files: self.env_file,
            labels: create::labels(&self.label),
            options,
            restart: self.restart,
            stop_signal: self.stop_signal.as_deref().map(signals::parse).transpose()?,
            stop_timeout: self.stop_timeout,
            health: self.health.options(),
            log: LogConfig::from_words(self.log_driver.as_deref(), &self.log_opt)?,
            storage_bytes: self.fixed.storage_bytes()?,
            stdin_once: true,
            pod: self.pod,
            network,
            share,
            volumes,
        })
    }

    /// The names as given; what they mean is for the store to say.
    fn share(&self, network: &Network) -> Result<Share, anyhow::Error> {
        let name = |option, word: &Option<String>| match word.as_deref() {
            None => Ok(None),
            Some(word) => match word.strip_prefix("container:") {
                Some(name) if !name.is_empty() => Ok(Some(name.to_string())),
                _ => anyhow::bail!("{option} \"{word}\" is not container:NAME"),
            },
        };
        Ok(Share {
            network: match network {
                Network::Joined(name) => Some(name.clone()),
                Network::Own(_) => None,
            },
            ipc: name("--ipc", &self.ipc)?,
            pid: name("--pid", &self.pid)?,
            uts: None,
        })
    }

    fn resources(&self) -> Result<Resources, LimitError> {
        let mut resources = self.limits.resources()?;
        // A new container has no limit that "no limit" could lift.
        for limit in [&mut resources.pids, &mut resources.cpu_quota_us] {
            *limit = limit.filter(|value| *value != u64::MAX);
        }
        self.fixed.complete(&mut resources)?;
        limits::check(&resources)?;
        Ok(resources)
    }
}

/// Whether `no-new-privileges` and `seccomp=unconfined` were asked for.
fn security(words: &[String]) -> Result<(bool, bool), anyhow::Error> {
    let (mut no_new_privileges, mut unconfined) = (false, false);
    for word in words {
        match word.as_str() {
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true" => {
                no_new_privileges = true
            }
            "no-new-privileges:false" | "no-new-privileges=false" => no_new_privileges = false,
            "seccomp=unconfined" | "seccomp:unconfined" => unconfined = true,
            other => anyhow::bail!(
                "--security-opt \"{other}\" is not known; there are no-new-privileges and seccomp=unconfined"
            ),
        }
    }
    Ok((no_new_privileges, unconfined))
}

/// With `.` and `..` resolved as words, as docker does: what they would mean behind a symlink of the
/// image's is not for the command line to say.
pub fn absolute(dir: &OsString) -> Result<Text, anyhow::Error> {
    if dir.as_bytes().first() != Some(&b'/') {
        anyhow::bail!("-w {}: the working directory must be an absolute path", dir.display());
    }
    let mut clean = PathBuf::from("/");
    for component in Path::new(dir).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(Text::from(clean.as_os_str()))
}

/// Names that sethostname(2) and /etc/hosts take.
pub fn check_hostname(name: &str) -> Result<(), anyhow::Error> {
    let sound = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !sound {
        anyhow::bail!("-h \"{name}\" is not a host name: letters, digits, - . _, at most 63");
    }
    Ok(())
}
