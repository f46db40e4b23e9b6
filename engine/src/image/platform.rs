//! Which images run here.

use super::error::{Error, Result};
use super::spec::{ImageConfig, Platform};

/// This machine, in Go's words, which images use.
pub fn host() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
}

/// Refuses an image for another machine. Old images that say nothing are taken.
pub fn check(config: &ImageConfig) -> Result<()> {
    let host = host();
    let same = |said: &str, here: &str| said.is_empty() || said == here;
    if same(&config.os, &host.os) && same(&config.architecture, &host.architecture) {
        return Ok(());
    }
    let image = Platform { os: config.os.clone(), architecture: config.architecture.clone(), variant: None };
    Err(Error::Platform {
        image: crate::text::escape(&image.to_string()).to_string(),
        host: host.to_string(),
    })
}
