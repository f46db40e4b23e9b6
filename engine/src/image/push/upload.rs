//! Layers to a registry, several at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Push, State};
use crate::image::catalog;
use crate::image::error::Result;
use crate::image::reference::Reference;
use crate::image::source::{LayerSource, Source};

/// Layers that are sent at a time, as by docker.
const WORKERS: usize = 5;
/// Repositories that a registry is asked to take a layer from.
const MAX_MOUNTS: usize = 3;

impl Push<'_> {
    /// Sends what the registry lacks. The first failure stops the rest.
    pub(super) fn layers(&self, source: &Source, name: &Reference) -> Result<()> {
        // Lowest first, and a layer that an image has twice once.
        let mut distinct: Vec<(usize, &LayerSource)> = Vec::new();
        for (index, layer) in source.layers.iter().enumerate() {
            let same = |known: &LayerSource| known.descriptor.digest == layer.descriptor.digest;
            if !distinct.iter().any(|(_, known)| same(known)) {
                distinct.push((index, layer));
            }
        }
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let worker = || {
            while let Some((index, layer)) = distinct.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.layer(*index, layer, name) {
                    Ok(state) => self.progress.is(*index, &state),
                    Err(error) => {
                        next.store(distinct.len(), Ordering::Relaxed);
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..WORKERS.min(distinct.len()) {
                scope.spawn(worker);
            }
            worker();
        });
        let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        failed.map_or(Ok(()), Err)
    }

    fn layer(&self, index: usize, layer: &LayerSource, name: &Reference) -> Result<State> {
        let digest = &layer.descriptor.digest;
        if self.repository.has_blob(digest)? {
            return Ok(State::Exists);
        }
        for from in self.elsewhere(layer, name)? {
            if self.repository.mount_blob(digest, &from)? {
                return Ok(State::Mounted(from));
            }
        }
        let file = catalog::open_blob(self.store, digest)?;
        self.repository.upload_blob(digest, &file, &|sent| self.progress.sent(index, sent))?;
        Ok(State::Pushed)
    }

    /// Other repositories of the registry that have the layer, as far as is known here: something with it
    /// was pulled from there or pushed to there.
    fn elsewhere(&self, layer: &LayerSource, name: &Reference) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for known in self.store.db().names_with_blob(&layer.descriptor.digest)? {
            let Ok(known) = known.parse::<Reference>() else { continue };
            let is_there = known.digest.is_some() && known.registry == name.registry;
            if is_there && known.repository != name.repository && !found.contains(&known.repository) {
                found.push(known.repository);
            }
        }
        found.truncate(MAX_MOUNTS);
        Ok(found)
    }
}
