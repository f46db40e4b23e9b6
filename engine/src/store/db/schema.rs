//! Tables, and the steps between releases. A step only adds, with defaults: supervisors of older
//! releases keep writing while newer ones run. The one exception is `created` of sandboxes and
//! containers, which the second step turns from seconds into nanoseconds.

use rusqlite::{Connection, TransactionBehavior};

/// Steps in order; the database's `user_version` counts those done.
const STEPS: [&str; 4] = [FIRST, LIFE, NETWORKS, VOLUMES];

#[allow(clippy::cast_possible_truncation)] // a handful
pub const VERSION: u32 = STEPS.len() as u32;

/// Bytes.
const PAGE: u32 = 1024;

/// - `images`: one a config digest, docker's image id. `hidden`: removed by force while containers
///   still need its layers; collected with the last of them.
/// - `names`: canonical `repository:tag` and `repository@digest`, each with the manifest it means.
/// - `layers`: `bytes` is the size of the layer file, `tar_bytes` of what it was made from.
/// - `blobs`: files in `blobs/`, and the image that keeps them.
const FIRST: &str = "
CREATE TABLE images (
    id TEXT PRIMARY KEY,
    manifest TEXT NOT NULL,
    chain TEXT NOT NULL,
    created TEXT NOT NULL DEFAULT '',
    added INTEGER NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    tar_bytes INTEGER NOT NULL,
    entries INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE image_layers (
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL REFERENCES layers(diff_id),
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_diff_id ON image_layers(diff_id);
CREATE TABLE blobs (
    digest TEXT NOT NULL,
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (image, digest)
) WITHOUT ROWID;
CREATE INDEX blobs_digest ON blobs(digest);
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    manifest TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX names_image ON names(image);
CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    uid INTEGER UNIQUE,
    boot_id TEXT NOT NULL,
    mode TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL REFERENCES images(id),
    sandbox TEXT REFERENCES sandboxes(id),
    mode TEXT NOT NULL,
    state TEXT NOT NULL,
    created INTEGER NOT NULL,
    exit_code INTEGER,
    config TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX containers_image ON containers(image);
CREATE INDEX containers_sandbox ON containers(sandbox);
";

/// - Times are nanoseconds since 1970; 0: never.
/// - `stopped`: a user stopped it, the restart policy holds off. `health`: JSON, or empty.
/// - `pods`: a pod's sandbox has the pod's id.
/// - `events`: `attributes` is a JSON object of strings. The highest id is never removed, so ids only
///   grow without AUTOINCREMENT, which would write one more page an event.
const LIFE: &str = "
CREATE TABLE pods (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    mode TEXT NOT NULL,
    created INTEGER NOT NULL,
    config TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    attributes TEXT NOT NULL
);
ALTER TABLE containers ADD COLUMN pod TEXT REFERENCES pods(id);
ALTER TABLE containers ADD COLUMN started INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN finished INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN pid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN oom_killed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN error TEXT NOT NULL DEFAULT '';
ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN health TEXT NOT NULL DEFAULT '';
CREATE INDEX containers_pod ON containers(pod);
UPDATE containers SET created = created * 1000000000 WHERE created < 1000000000000;
UPDATE sandboxes SET created = created * 1000000000 WHERE created < 1000000000000;
";

/// - `endpoints`: `owner` is a sandbox's id, and so a container's or a pod's. `ipv4`, `ipv6` and `mac` are there
///   while the sandbox is up: an address has one owner at a time. A network may go from under an endpoint
///   whose sandbox is not up: as docker's, its container does not start then.
/// - `published`: there while the sandbox is up.
/// - `egress`: the nflog group that is told of what a sandbox is refused, from its first start on.
const NETWORKS: &str = "
CREATE TABLE networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    driver TEXT NOT NULL,
    created INTEGER NOT NULL,
    config TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    network TEXT NOT NULL,
    owner TEXT NOT NULL,
    position INTEGER NOT NULL,
    config TEXT NOT NULL,
    ipv4 TEXT,
    ipv6 TEXT,
    mac TEXT,
    UNIQUE (owner, network),
    UNIQUE (owner, position),
    UNIQUE (network, ipv4),
    UNIQUE (network, ipv6)
) WITHOUT ROWID;
CREATE TABLE published (
    owner TEXT NOT NULL,
    protocol TEXT NOT NULL,
    port INTEGER NOT NULL,
    address TEXT NOT NULL,
    host_port INTEGER NOT NULL,
    PRIMARY KEY (owner, protocol, port, address, host_port)
) WITHOUT ROWID;
CREATE TABLE egress (
    owner TEXT PRIMARY KEY,
    log_group INTEGER NOT NULL
) WITHOUT ROWID;
";

/// - `volume_users`: which containers were made with a volume; it is not removed as long as there is one.
/// - `volume_mounts`: there while a sandbox has its driver keep a volume mounted.
const VOLUMES: &str = "
CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    driver TEXT NOT NULL,
    created INTEGER NOT NULL,
    config TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE volume_users (
    volume TEXT NOT NULL REFERENCES volumes(name),
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (volume, container)
) WITHOUT ROWID;
CREATE INDEX volume_users_container ON volume_users(container);
CREATE TABLE volume_mounts (
    volume TEXT NOT NULL,
    sandbox TEXT NOT NULL,
    PRIMARY KEY (volume, sandbox)
) WITHOUT ROWID;
CREATE INDEX volume_mounts_sandbox ON volume_mounts(sandbox);
";

/// Runs the steps that are missing, in one transaction. The caller holds the writers' lock.
pub fn migrate(connection: &mut Connection, done: u32) -> rusqlite::Result<()> {
    // Whoever opens the database while nobody else has it open reads the whole log again, and pages
    // are what the log grows by: small rows, small pages. Has no effect on a database with content.
    connection.pragma_update(None, "page_size", PAGE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in STEPS.iter().skip(done as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
