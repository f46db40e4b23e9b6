//! `image inspect` in Docker's shape.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::catalog;
use super::digest::Digest;
use super::error::Result;
use super::reference::Reference;
use super::spec::RunConfig;
use crate::store::Store;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    pub id: Digest,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub comment: String,
    pub created: String,
    pub author: String,
    pub config: RunConfig,
    pub architecture: String,
    pub os: String,
    /// Sum of the layers' uncompressed sizes.
    pub size: u64,
    #[serde(rename = "RootFS")]
    pub root_fs: InspectRootFs,
    pub metadata: Metadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectRootFs {
    #[serde(rename = "Type")]
    pub kind: String,
    pub layers: Vec<Digest>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metadata {
    /// When the image came into the store.
    pub last_tag_time: String,
}

pub fn inspect(store: &Store, wanted: &str) -> Result<Inspect> {
    let row = catalog::find(store, wanted)?;
    let config = catalog::config(store, &row.id)?;
    let names: Vec<Reference> = row.names.iter().filter_map(|(name, _)| name.parse().ok()).collect();
    let (digests, tags): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.digest.is_some());
    let seconds = u64::try_from(row.added).unwrap_or(0);
    Ok(Inspect {
        id: row.id,
        repo_tags: tags.into_iter().map(Reference::familiar).collect(),
        repo_digests: digests.into_iter().map(Reference::familiar).collect(),
        comment: config.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
        created: config.created.unwrap_or_default(),
        author: config.author,
        config: config.config,
        architecture: config.architecture,
        os: config.os,
        size: row.bytes,
        root_fs: InspectRootFs { kind: config.rootfs.kind, layers: config.rootfs.diff_ids },
        metadata: Metadata { last_tag_time: rfc3339(UNIX_EPOCH + std::time::Duration::from_secs(seconds)) },
    })
}

/// A time as images write it: RFC 3339, UTC, nanoseconds.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

/// Year, month and day of a day since 1970. Years are counted from March, so that a leap day is a
/// year's last, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(at(1_700_000_000), "2023-11-14T22:13:20.000000000Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000000000Z");
    }
}
