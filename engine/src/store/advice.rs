//! What a user can do about a failure of the machine.

use std::io;

use rusqlite::{ErrorCode, ffi};

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
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return "" };
    match failure.code {
        // The index in shared memory is a file, too.
        _ if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => FULL,
        ErrorCode::DiskFull => FULL,
        ErrorCode::ReadOnly => READ_ONLY,
        ErrorCode::CannotOpen => {
            ": readers, too, need to write the files beside it that end in -wal and -shm"
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            ": it is damaged. Move it away and load the images again, or restore a copy"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disks_are_told_from_read_only_ones_and_other_failures() {
        let on_io = |errno| on_io(&io::Error::from_raw_os_error(errno));
        assert_eq!([libc::ENOSPC, libc::EDQUOT].map(on_io), [FULL, FULL]);
        assert_eq!([libc::EROFS, libc::EIO].map(on_io), [READ_ONLY, ""]);
        let on_database = |code| on_database(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!([ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE].map(on_database), [FULL, FULL]);
        let read_only = [ffi::SQLITE_READONLY, ffi::SQLITE_READONLY_DIRECTORY, ffi::SQLITE_READONLY_CANTINIT];
        assert_eq!(read_only.map(on_database), [READ_ONLY; 3]);
        assert_eq!([ffi::SQLITE_BUSY, ffi::SQLITE_IOERR_READ].map(on_database), ["", ""]);
        assert!(on_database(ffi::SQLITE_CANTOPEN_FULLPATH).contains("-shm"));
    }
}
