//! The command line: one file a command.

mod attach;
mod completion;
mod confirm;
mod container_args;
mod events;
mod exec;
mod export;
mod health_args;
mod history;
mod image;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod life;
mod load;
mod login;
mod logs;
mod network;
mod network_args;
mod network_list;
mod network_words;
pub mod output;
mod output_file;
mod pod;
mod port;
mod progress;
mod prompt;
mod ps;
mod pull;
mod push;
mod resource_args;
mod rmi;
mod run;
mod save;
mod search;
mod stats;
mod system;
mod system_check;
mod system_df;
mod system_prune;
mod tag;
mod top;
mod update;
mod volume;
mod volume_args;
mod volume_list;

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::context::Context;
use crate::paths;
use crate::registry::Settings;
use crate::rootless;
use crate::sandbox::sweep;
use crate::store::Store;
use crate::text::escape;

/// Runs containers, each in a small virtual machine of its own.
#[derive(Debug, Parser)]
#[command(name = "hull", version, max_term_width = 100)]
pub struct Cli {
    /// Folder of images and containers [default: /var/lib/hull]
    #[arg(long, env = "HULL_ROOT", value_name = "DIR", hide_env = true)]
    root: Option<PathBuf>,
    /// Folder of sockets and of what else lives no longer than this boot [default: /run/hull]
    #[arg(long, env = "HULL_RUN", value_name = "DIR", hide_env = true)]
    run: Option<PathBuf>,
    /// Config file [default: /etc/hull/config.toml]
    #[arg(long, env = "HULL_CONFIG", value_name = "FILE", hide_env = true)]
    config_file: Option<PathBuf>,
    /// Folder of docker's config.json, which holds logins [default: ~/.docker]
    #[arg(long, env = "DOCKER_CONFIG", value_name = "DIR", hide_env = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    config: Option<PathBuf>,
    /// Registry to ask first for images of docker.io; may be given more than once
    #[arg(long, value_name = "URL")]
    registry_mirror: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command in a new container
    Run(Box<run::RunArgs>),
    /// List containers
    Ps(ps::PsArgs),
    /// Show what containers printed
    Logs(logs::LogsArgs),
    /// Remove containers
    Rm(life::RmArgs),
    /// Create a container and do not start it
    Create(Box<run::CreateArgs>),
    /// Start containers
    Start(life::StartArgs),
    /// Stop containers
    Stop(life::StopArgs),
    /// Stop containers and start them again
    Restart(life::StopArgs),
    /// Send containers a signal
    Kill(life::KillArgs),
    /// Wait until containers end, and print their exit codes
    Wait(life::Names),
    /// Freeze containers
    Pause(life::Names),
    /// Thaw containers
    Unpause(life::Names),
    /// Run a command in a container that runs
    Exec(Box<exec::ExecArgs>),
    /// Write a container's file system to a tar archive
    Export(export::ExportArgs),
    /// Join the streams of a container that runs
    Attach(attach::AttachArgs),
    /// Show a container's processes
    Top(top::TopArgs),
    /// Show what containers use, and go on doing so
    Stats(stats::StatsArgs),
    /// Show where a container's ports are published
    Port(port::PortArgs),
    /// Change what containers may use
    Update(update::UpdateArgs),
    /// Run a shell beside a container, in its virtual machine
    Debug(exec::DebugArgs),
    /// Show what happens to containers, images, networks, volumes and pods
    Events(events::EventsArgs),
    /// Show all that is known of containers, images, networks, pods and volumes, as JSON
    Inspect(inspect::InspectArgs),
    /// Rename a container
    Rename(life::RenameArgs),
    /// Look after networks
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// Look after volumes
    #[command(subcommand)]
    Volume(volume::VolumeCommand),
    /// Look after pods
    #[command(subcommand)]
    Pod(pod::PodCommand),
    /// Look after all of it
    #[command(subcommand)]
    System(system::SystemCommand),
    /// Fetch an image from a registry
    Pull(pull::PullArgs),
    /// Load images from an archive or a folder (docker-archive or OCI layout)
    Load(load::LoadArgs),
    /// Make an image of a root file system's tar archive
    Import(import::ImportArgs),
    /// Push images to a registry
    Push(push::PushArgs),
    /// Write images to a tar archive, for hull, docker, podman and skopeo to load
    Save(save::SaveArgs),
    /// List images
    Images(images::ListArgs),
    /// Remove images
    Rmi(rmi::RemoveArgs),
    /// Give an image another name
    Tag(tag::TagArgs),
    /// Show of what an image was made
    History(history::HistoryArgs),
    /// Look after images
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Log in to a registry
    Login(login::LoginArgs),
    /// Log out from a registry
    Logout(login::LogoutArgs),
    /// Search a registry for images
    Search(search::SearchArgs),
    /// Show what hull found on this machine
    Info(info::FormatArgs),
    /// Show the versions of hull's parts
    Version(info::FormatArgs),
    /// Print a shell's completion script
    Completion(completion::CompletionArgs),
    /// Write man pages
    #[command(hide = true)]
    Man(completion::ManArgs),
}

impl Command {
    /// Whether it looks at containers or images, which are the user namespace's where hull is not root.
    fn needs_store(&self) -> bool {
        !matches!(
            self,
            Command::Login(_)
                | Command::Logout(_)
                | Command::Search(_)
                | Command::Version(_)
                | Command::Completion(_)
                | Command::Man(_)
        )
    }
}

/// How a command ended: its exit code, or an error to print and the code that goes with it.
pub type Exit = Result<u8, Failure>;

/// An error and the exit code that tells it, 125 from `run` and 1 from everything else.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub error: anyhow::Error,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure { code: 1, error: error.into() }
    }
}

impl Cli {
    pub fn execute(self) -> Exit {
        let config = Config::load(self.config_file.as_deref());
        let is_run = matches!(self.command, Command::Run(_) | Command::Create(_));
        let context = config.map(|config| Context {
            root: self.root.unwrap_or_else(paths::default_root),
            run: self.run.unwrap_or_else(paths::default_run),
            registries: Settings {
                registries: config.registries.clone(),
                mirrors: match self.registry_mirror.is_empty() {
                    true => config.registry_mirrors.clone(),
                    false => self.registry_mirror,
                },
                docker_config: self.config,
            },
            config,
        });
        let context =
            context.map_err(|error| Failure { code: if is_run { 125 } else { 1 }, error: error.into() })?;
        if self.command.needs_store() {
            rootless::enter(&context.run)
                .map_err(|error| Failure { code: if is_run { 125 } else { 1 }, error: error.into() })?;
        }
        match self.command {
            Command::Run(args) => run::run(&context, *args),
            Command::Ps(args) => ps::list(&context, &args),
            Command::Logs(args) => logs::logs(&context, &args),
            Command::Rm(args) => life::remove(&context, &args),
            Command::Create(args) => run::create(&context, *args),
            Command::Start(args) => life::start(&context, &args),
            Command::Stop(args) => life::stop(&context, &args),
            Command::Restart(args) => life::restart(&context, &args),
            Command::Kill(args) => life::kill(&context, &args),
            Command::Wait(args) => life::wait(&context, &args),
            Command::Pause(args) => life::pause(&context, &args),
            Command::Unpause(args) => life::unpause(&context, &args),
            Command::Exec(args) => exec::exec(&context, *args),
            Command::Export(args) => export::export(&context, &args),
            Command::Attach(args) => attach::attach(&context, &args),
            Command::Top(args) => top::top(&context, &args),
            Command::Stats(args) => stats::stats(&context, &args),
            Command::Port(args) => port::port(&context, &args),
            Command::Update(args) => update::update(&context, &args),
            Command::Debug(args) => exec::debug(&context, args),
            Command::Events(args) => events::events(&context, &args),
            Command::Inspect(args) => inspect::inspect(&context, &args),
            Command::Rename(args) => life::rename(&context, &args),
            Command::Network(command) => network::network(&context, command),
            Command::Volume(command) => volume::volume(&context, command),
            Command::Pod(command) => pod::pod(&context, command),
            Command::System(command) => system::system(&context, &command),
            Command::Pull(args) => pull::pull(&context, &args),
            Command::Load(args) => load::load(&context, &args),
            Command::Import(args) => import::import(&context, &args),
            Command::Push(args) => push::push(&context, &args),
            Command::Save(args) => save::save(&context, &args),
            Command::Images(args) => images::list(&context, &args),
            Command::Rmi(args) => rmi::remove(&context, &args),
            Command::Tag(args) => tag::tag(&context, &args),
            Command::History(args) => history::history(&context, &args),
            Command::Image(command) => image::image(&context, command),
            Command::Login(args) => login::login(&context, args),
            Command::Logout(args) => login::logout(&context, &args),
            Command::Search(args) => search::search(&context, &args),
            Command::Info(args) => info::info(&context, &args),
            Command::Version(args) => info::version(&args),
            Command::Completion(args) => completion::completion(&args),
            Command::Man(args) => completion::man(&args),
        }
    }
}

/// The store, after what killed supervisors left is cleared away.
fn swept(context: &Context) -> Result<Store, Failure> {
    let store = Store::open(&context.root, &context.run)?;
    sweep::dead(context, &store);
    sweep::orphans(&store);
    sweep::unfinished(context, &store);
    Ok(store)
}

/// Does it for every name: those that worked are printed, those that did not are told, and make the exit
/// code 1.
fn for_each<E: Into<anyhow::Error>>(names: &[String], act: impl FnMut(&str) -> Result<String, E>) -> Exit {
    let mut act = act;
    let mut code = 0;
    for name in names {
        match act(name) {
            Ok(line) => println!("{}", escape(&line)),
            Err(error) => {
                eprintln!("hull: {}", escape(&format!("{:#}", error.into())));
                code = 1;
            }
        }
    }
    Ok(code)
}
