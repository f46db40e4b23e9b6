//! `hull run`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use hull_guest::protocol::{Resources, Text};

use super::{Exit, Failure};
use crate::container::run::{self, Foreground};
use crate::container::spec::Options;
use crate::container::{caps, limits, names, tmpfs};
use crate::context::Context;
use crate::sandbox::mode::IsolationRequest;
use crate::terminal;

#[derive(Debug, Args)]
// As with docker, the last of an option given twice counts.
#[command(disable_help_flag = true, args_override_self = true)]
pub struct RunArgs {
    /// Keep stdin open and pass it on
    #[arg(short, long)]
    interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
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
    /// Most memory the container may use
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// Most CPU time the container may use, in CPUs
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Most processes and threads the container may have (-1: no limit)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Mount the container's root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Mount an empty file system in memory
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    tmpfs: Vec<String>,
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
    /// Guest kernel for this container, ELF or bzImage
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Image to run
    image: String,
    /// Command and its arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    args: Vec<OsString>,
}

pub fn run(context: &Context, args: RunArgs) -> Exit {
    let run = |args| -> Result<u8, anyhow::Error> { Ok(run::run(context, foreground(args)?)?) };
    run(args).map_err(|error| {
        let code = match error.downcast_ref::<run::RunError>() {
            Some(error) => error.exit_code(),
            None if error.is::<NoTerminal>() => 1,
            None => 125,
        };
        Failure { code, error }
    })
}

/// Docker's client sees this by itself, before it has a daemon's error to tell: its code is 1.
#[derive(Debug, thiserror::Error)]
#[error("-it needs a terminal on stdin, which is not a terminal; without one, leave out -t")]
struct NoTerminal;

/// Checks every option before anything is touched.
fn foreground(args: RunArgs) -> Result<Foreground, anyhow::Error> {
    if args.tty && args.interactive && !terminal::is_terminal(&std::io::stdin()) {
        return Err(NoTerminal.into());
    }
    if let Some(name) = &args.name {
        names::check(name)?;
    }
    if let Some(hostname) = &args.hostname {
        check_hostname(hostname)?;
    }
    if let Some(label) = args.label.iter().find(|label| label.is_empty() || label.starts_with('=')) {
        anyhow::bail!("-l \"{label}\" has no name before the equals sign");
    }
    let online = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let resources = Resources {
        memory_bytes: args.memory.as_deref().map(limits::memory).transpose()?.flatten(),
        cpu_millis: args.cpus.as_deref().map(|cpus| limits::cpus(cpus, online)).transpose()?.flatten(),
        pids: args.pids_limit.map(limits::pids).transpose()?.flatten(),
        ..Resources::default()
    };
    let (no_new_privileges, seccomp_unconfined) = security(&args.security_opt)?;
    let options = Options {
        hostname: args.hostname,
        entrypoint: args.entrypoint.map(Text::from),
        args: args.args.into_iter().map(Text::from).collect(),
        workdir: args.workdir.filter(|dir| !dir.is_empty()).map(|dir| absolute(&dir)).transpose()?,
        user: args.user.map(Text::from),
        interactive: args.interactive,
        terminal: args.tty.then(|| terminal::size(&std::io::stdout())),
        capabilities: caps::resolve(&args.cap_add, &args.cap_drop)?,
        no_new_privileges,
        seccomp_unconfined,
        rlimits: args.ulimit.iter().map(|word| limits::ulimit(word)).collect::<Result<_, _>>()?,
        init: args.init,
        mounts: args.tmpfs.iter().map(|word| tmpfs::parse(word)).collect::<Result<_, _>>()?,
        read_only: args.read_only,
        resources,
    };
    Ok(Foreground {
        image: args.image,
        name: args.name,
        remove: args.rm,
        isolation: args.isolation,
        kernel: args.kernel,
        env: args.env,
        env_files: args.env_file,
        labels: args.label,
        options,
    })
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
fn absolute(dir: &OsString) -> Result<Text, anyhow::Error> {
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
fn check_hostname(name: &str) -> Result<(), anyhow::Error> {
    let sound = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !sound {
        anyhow::bail!("-h \"{name}\" is not a host name: letters, digits, - . _, at most 63");
    }
    Ok(())
}
