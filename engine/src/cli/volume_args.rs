//! Options of volumes, binds and file systems in memory.

use clap::Args;

use crate::container::secrets::{self, Secret, SecretKind};
use crate::container::tmpfs;
use crate::volume::parse::{self, Asked, Words, secret};

#[derive(Debug, Args)]
pub struct VolumeArgs {
    /// Mount a folder or file of the host, or a volume. Options: ro, nocopy, [r]private, [r]slave, [r]shared; z and
    /// Z change nothing, since no container here is labelled
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    volume: Vec<String>,
    /// The same in words: type=bind|volume|tmpfs,src=...,dst=...[,ro]; bind-propagation=, bind-recursive=;
    /// volume-subpath=, volume-nocopy, volume-opt=kind=block,size=10g (a disk of its own); tmpfs-size=, tmpfs-mode=
    #[arg(long, value_name = "KEY=VALUE,...")]
    mount: Vec<String>,
    /// Mount what a container has mounted
    #[arg(long, value_name = "CONTAINER[:ro]")]
    volumes_from: Vec<String>,
    /// What keeps volumes that are made for the container [default: local]
    #[arg(long, value_name = "DRIVER")]
    volume_driver: Option<String>,
    /// Mount an empty file system in memory. Options: ro, exec, suid, dev, size=, mode=, uid=, gid=
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Give a file in memory at /run/secrets/NAME: id=NAME,src=FILE|env=VARIABLE[,target=PATH,uid=,gid=,mode=]
    #[arg(long, value_name = "KEY=VALUE,...")]
    secret: Vec<String>,
    /// The same at /NAME
    #[arg(long, value_name = "KEY=VALUE,...")]
    config: Vec<String>,
}

impl VolumeArgs {
    pub fn read(&self) -> Result<Asked, anyhow::Error> {
        let tmpfs = self.tmpfs.iter().map(|word| tmpfs::parse(word)).collect::<Result<_, _>>()?;
        let words = Words {
            volumes: &self.volume,
            mounts: &self.mount,
            volumes_from: &self.volumes_from,
            driver: self.volume_driver.as_deref(),
        };
        let mut asked = parse::parse(&words, tmpfs)?;
        let split = |word: &String| {
            let (path, options) = word.split_once(':').unwrap_or((word, ""));
            (path.to_owned(), options.to_owned())
        };
        asked.shown.tmpfs = self.tmpfs.iter().map(split).collect();
        Ok(asked)
    }

    pub fn secrets(&self) -> Result<Vec<Secret>, anyhow::Error> {
        let words = |words: &[String], kind| {
            words.iter().map(|word| secret::parse(word, kind)).collect::<Result<Vec<_>, _>>()
        };
        let mut all = words(&self.secret, SecretKind::Secret)?;
        all.extend(words(&self.config, SecretKind::Config)?);
        secrets::distinct(&all)?;
        Ok(all)
    }
}
