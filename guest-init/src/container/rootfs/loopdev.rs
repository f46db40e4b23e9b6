//! Loop devices, for kernels whose EROFS does not mount files.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use crate::error::{StepError, shown};
use crate::loopdev::{self, Access, LoopDevice};

/// Puts a read-only loop device over the file at `backing`.
pub fn attach(backing: &[u8]) -> Result<LoopDevice, StepError> {
    let failed = |why: String| {
        let file = shown(backing);
        StepError::setup(format!(
            "Failed to put {file} on a loop device, as this kernel's EROFS needs it: {why}"
        ))
    };
    let file = File::open(OsStr::from_bytes(backing)).map_err(|error| failed(error.to_string()))?;
    loopdev::attach(&file, Access::ReadOnly).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        failed(format!("{error}{}", cause.unwrap_or_default()))
    })
}
