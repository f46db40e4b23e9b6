//! What a user can do about a failure of the machine.

use std::io;

use rusqlite::ErrorCode;

const FULL: &str = ": the disk is full. Nothing was changed; free some space there and try again";
const READ_ONLY: &str = ": it is on a read-only file system, or not yours to write. Nothing was changed; \
    mount it read-write, or use another root folder";

/// Follows an error's text, or is empty.
pub(super) fn on_io(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FULL,
        io::ErrorKind::ReadOnlyFilesystem => READ_ONLY,
        _ => "",
    }
}

/// Follows an error's text, or is empty.
pub(super) fn on_database(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => FULL,
        Some(ErrorCode::ReadOnly) => READ_ONLY,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ": it is damaged. Move it away and load the images again, or restore a copy"
        }
        _ => "",
    }
}
