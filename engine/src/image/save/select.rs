//! Which images are meant, and by which names they go out.

use super::Chosen;
use crate::image::error::Result;
use crate::image::reference::{self, Reference};
use crate::image::{Naming, catalog, source};
use crate::store::Store;
use crate::store::db::images::ImageRow;

/// As docker has it: a name with a tag goes out by it, one without by all the repository's tags, and
/// ids and digests without a name.
pub fn choose(store: &Store, naming: &Naming, wanted: &[String]) -> Result<Vec<Chosen>> {
    let mut chosen = Vec::new();
    for text in wanted {
        let tagged = match naming.parse(text) {
            Ok(name) if reference::is_name_only(text) => source::tags(store, &name)?,
            _ => Vec::new(),
        };
        for (row, name) in &tagged {
            add(store, &mut chosen, row, Some(name))?;
        }
        if tagged.is_empty() {
            let (row, name) = catalog::find_with_name(store, naming, text)?;
            let name = name.and_then(|name| name.parse::<Reference>().ok());
            add(store, &mut chosen, &row, name.as_ref())?;
        }
    }
    Ok(chosen)
}

fn add(store: &Store, chosen: &mut Vec<Chosen>, row: &ImageRow, name: Option<&Reference>) -> Result<()> {
    let source = source::named(store, row, name)?;
    let name = name.filter(|name| name.digest.is_none()).cloned();
    match chosen.iter_mut().find(|known| known.source.digest == source.digest) {
        Some(known) => {
            if let Some(name) = name.filter(|name| !known.names.contains(name)) {
                known.names.push(name);
            }
        }
        None => chosen.push(Chosen { source, names: name.into_iter().collect() }),
    }
    Ok(())
}
