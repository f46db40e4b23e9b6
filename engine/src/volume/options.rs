//! What a container is to have mounted: the options, the volumes of other containers, the image's VOLUME.
//!
//! Docker's precedence: what an option names at a target wins over `--volumes-from`, and both over the volumes of
//! its own that the image, or `-v TARGET`, asks for; of several containers the last wins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use hull_guest::protocol::Propagation;

use super::VolumeError;
use super::catalog::{self, Wanted};
use super::machine::{self, MachineError};
use super::model::{Kind, MountPoint};
use super::parse::{self, Asked, AskedMount, AskedVolume, From, MountError, Source};
use crate::container::config::{Config, UnreadableConfig};
use crate::sandbox::mode::Isolation;
use crate::sandbox::vm::MAX_BLOCKS;
use crate::store::{self, Store};
use crate::supervisor::chain;

/// Volumes that an image may ask for. Each is a folder on the host; no image has more than a few.
const MAX_OF_IMAGE: usize = 128;

#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Config(#[from] UnreadableConfig),
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", .0.display())]
    NoSource(PathBuf),
    #[error("Failed to look at the bind mount's source {}", path.display())]
    Source { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(
        "The volume for {0} is a block volume, a disk of the container's own machine; a pod's container cannot get \
         one. Run it without --pod, or use another kind of volume"
    )]
    BlockInPod(String),
    #[error("{0} block volumes asked for; a virtual machine has disks for {MAX_BLOCKS} beside its own")]
    TooManyBlocks(usize),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("The image asks for a volume (VOLUME) that cannot be")]
    OfImage(#[source] MountError),
    #[error("The image asks for {0} volumes (VOLUME); hull makes at most {MAX_OF_IMAGE} for one")]
    TooManyOfImage(usize),
}

/// What a container is to have, before any of it is made.
#[derive(Debug)]
pub struct Plan {
    planned: Vec<Planned>,
    place: Place,
}

#[derive(Debug)]
struct Planned {
    point: MountPoint,
    /// Some: a volume that is made where it is missing, and whose name the point gets. None, of a point that is a volume:
    /// another container's, which is there.
    volume: Option<AskedVolume>,
}

impl Plan {
    /// Finds the volumes, and makes those that are missing. `goes_with`: the container, if those of its own are removed
    /// with it.
    pub fn make(&self, store: &Store, goes_with: Option<&str>) -> Result<Made, OptionsError> {
        let mut made = Made::default();
        for planned in &self.planned {
            if let Err(error) = made.add(store, planned, self.place, goes_with) {
                made.undo(store);
                return Err(error);
            }
        }
        Ok(made)
    }
}

/// What the container's config has, and the volumes that were made for it alone.
#[derive(Debug, Default)]
pub struct Made {
    pub points: Vec<MountPoint>,
    own: Vec<String>,
}

impl Made {
    fn add(
        &mut self,
        store: &Store,
        planned: &Planned,
        place: Place,
        goes_with: Option<&str>,
    ) -> Result<(), OptionsError> {
        let mut point = planned.point.clone();
        if let Kind::Volume { name, .. } = &mut point.kind {
            let row = match planned.volume.clone() {
                None => store.db().volume(name)?,
                Some(AskedVolume { name: wanted, driver, labels, options, .. }) => {
                    let is_own = wanted.is_none();
                    let goes_with = goes_with.map(str::to_owned);
                    let wanted = Wanted { name: wanted, driver, labels, options, goes_with };
                    let row = catalog::ensure(store, wanted)?;
                    if is_own {
                        self.own.push(row.name.clone());
                    }
                    row
                }
            };
            if row.settings.block_bytes.is_some() && place.mode == Isolation::Vm && place.in_pod {
                return Err(OptionsError::BlockInPod(point.target));
            }
            *name = row.name;
        }
        self.points.push(point);
        Ok(())
    }

    /// The names of all volumes among them.
    pub fn volumes(&self) -> Vec<&str> {
        let names = self.points.iter().filter_map(|point| match &point.kind {
            Kind::Volume { name, .. } => Some(name.as_str()),
            Kind::Bind { .. } => None,
        });
        names.collect()
    }

    /// There will be no such container. What cannot be removed stays for a prune.
    pub fn undo(self, store: &Store) {
        remove_anonymous(store, &self.own);
    }
}

/// The volumes of a container that go with it, unless others use them.
pub fn anonymous(points: &[MountPoint]) -> Vec<String> {
    let name = |point: &MountPoint| match &point.kind {
        Kind::Volume { name, anonymous: true, .. } => Some(name.clone()),
        Kind::Volume { .. } | Kind::Bind { .. } => None,
    };
    points.iter().filter_map(name).collect()
}

/// Removes those of them that nobody uses. The container has gone by now, so there is nobody to fail for it.
pub fn remove_anonymous(store: &Store, names: &[String]) {
    if let Err(error) = catalog::remove_anonymous(store, names) {
        eprintln!("Failed to remove the container's anonymous volumes: {}", chain(&error));
    }
}

/// Where the container is to run.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub mode: Isolation,
    pub in_pod: bool,
}

/// Checks what is asked for, and orders it: outer mounts come first. `of_image`: the image's VOLUME entries.
pub fn plan<'a>(
    store: &Store,
    place: Place,
    asked: &Asked,
    of_image: impl ExactSizeIterator<Item = &'a str>,
) -> Result<Plan, OptionsError> {
    let mut by_target = BTreeMap::new();
    for from in &asked.from {
        others(store, from, &mut by_target)?;
    }
    for mount in &asked.mounts {
        by_target.insert(mount.target.clone(), planned(mount));
    }
    let in_memory: BTreeSet<String> = asked.tmpfs.iter().filter_map(parse::tmpfs_target).collect();
    by_target.retain(|target, _| !in_memory.contains(target));
    let mut own = asked.targets.clone();
    own.extend(targets_of_image(of_image)?);
    for target in own.into_iter().filter(|target| !in_memory.contains(target)) {
        by_target.entry(target.clone()).or_insert_with(|| own_volume(target, asked.driver.clone()));
    }
    let mut planned: Vec<Planned> = by_target.into_values().collect();
    planned.sort_by_key(|planned| planned.point.target.matches('/').count());
    planned.iter().try_for_each(|planned| check(planned, place))?;
    if place.mode == Isolation::Vm {
        check_blocks(store, &planned)?;
    }
    Ok(Plan { planned, place })
}

fn planned(mount: &AskedMount) -> Planned {
    let (kind, volume) = match &mount.source {
        Source::Bind { path, create } => (Kind::Bind { source: path.clone(), create: *create }, None),
        Source::Volume(volume) => {
            let name = volume.name.clone().unwrap_or_default();
            let (anonymous, copy) = (volume.name.is_none(), !volume.nocopy);
            (Kind::Volume { name, anonymous, copy }, Some(volume.clone()))
        }
    };
    // Docker's word for a volume that nobody said more of; to hull it means nothing.
    let plain = mount.mode.is_empty() && volume.is_some();
    let point = MountPoint {
        kind,
        target: mount.target.clone(),
        readonly: mount.readonly,
        propagation: mount.propagation,
        recursive: mount.recursive,
        subpath: mount.subpath.clone(),
        mode: if plain { "z".to_string() } else { mount.mode.clone() },
    };
    Planned { point, volume }
}

fn own_volume(target: String, driver: Option<String>) -> Planned {
    let point = MountPoint {
        kind: Kind::Volume { name: String::new(), anonymous: true, copy: true },
        target,
        readonly: false,
        propagation: Propagation::Private,
        recursive: true,
        subpath: None,
        mode: String::new(),
    };
    Planned { point, volume: Some(AskedVolume { driver, ..AskedVolume::default() }) }
}

/// What another container has. Its volumes are as it left them: nothing is copied into them.
fn others(store: &Store, from: &From, all: &mut BTreeMap<String, Planned>) -> Result<(), OptionsError> {
    let row = store.db().container(&from.container)?;
    for mut point in Config::from_row(&row)?.volumes {
        point.readonly |= from.readonly;
        point.mode.clear();
        if let Kind::Volume { copy, .. } = &mut point.kind {
            *copy = false;
        }
        all.insert(point.target.clone(), Planned { point, volume: None });
    }
    Ok(())
}

/// The image's word is not to be trusted. Docker takes relative ones, and mounts them from the root.
fn targets_of_image<'a>(words: impl ExactSizeIterator<Item = &'a str>) -> Result<Vec<String>, OptionsError> {
    if words.len() > MAX_OF_IMAGE {
        return Err(OptionsError::TooManyOfImage(words.len()));
    }
    words.map(|word| parse::target(&format!("/{word}")).map_err(OptionsError::OfImage)).collect()
}

/// Whether that can be, where the container is to run.
fn check(Planned { point, volume }: &Planned, place: Place) -> Result<(), OptionsError> {
    let in_machine = place.mode == Isolation::Vm;
    if in_machine && place.in_pod && volume.as_ref().is_some_and(AskedVolume::is_block) {
        return Err(OptionsError::BlockInPod(point.target.clone()));
    }
    if in_machine {
        machine::check_propagation(point)?;
    }
    let Kind::Bind { source, create } = &point.kind else { return Ok(()) };
    match fs::metadata(source) {
        Ok(metadata) if in_machine => Ok(machine::check_kind(source, metadata.file_type())?),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && *create => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OptionsError::NoSource(source.clone())),
        Err(error) => Err(OptionsError::Source { path: source.clone(), source: error }),
    }
}

/// Whether a machine has disks for all the block volumes. One that is mounted twice is one disk.
fn check_blocks(store: &Store, planned: &[Planned]) -> Result<(), OptionsError> {
    let (mut named, mut anonymous) = (BTreeSet::new(), 0);
    for asked in planned.iter().filter_map(|planned| planned.volume.as_ref()) {
        match &asked.name {
            Some(name) if is_block(store, name, asked)? => drop(named.insert(name)),
            None if asked.is_block() => anonymous += 1,
            Some(_) | None => {}
        }
    }
    let blocks = named.len() + anonymous;
    if blocks > MAX_BLOCKS { Err(OptionsError::TooManyBlocks(blocks)) } else { Ok(()) }
}

/// What is there already is what it was made as.
fn is_block(store: &Store, name: &str, asked: &AskedVolume) -> Result<bool, store::Error> {
    match store.db().volume(name) {
        Ok(row) => Ok(row.settings.block_bytes.is_some()),
        Err(error) if error.kind() == store::Kind::NotFound => Ok(asked.is_block()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
