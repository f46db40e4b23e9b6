//! Which images run here, and which of an index's is meant.

use super::error::{Error, Result};
use super::spec::{Descriptor, ImageConfig, Platform};
use crate::text::escape;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not a platform: os/architecture or os/architecture/variant, such as linux/arm64")]
pub struct BadPlatform(String);

/// This machine, in Go's words, which images use.
pub fn host() -> Platform {
    let architecture = usual_architecture(std::env::consts::ARCH);
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
}

/// Reads what `--platform` says.
pub fn parse(word: &str) -> Result<Platform, BadPlatform> {
    let bad = || BadPlatform(word.chars().take(100).collect());
    let sound = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let parts: Vec<_> = word.split('/').collect();
    if !parts.iter().all(sound) {
        return Err(bad());
    }
    let (os, architecture, variant) = match parts[..] {
        [os, architecture] => (os, architecture, None),
        [os, architecture, variant] => (os, architecture, Some(variant.to_lowercase())),
        _ => return Err(bad()),
    };
    let architecture = architecture.to_lowercase();
    Ok(Platform {
        os: os.to_lowercase(),
        architecture: usual_architecture(&architecture).to_owned(),
        variant,
    })
}

/// What Go calls an architecture that others call otherwise.
fn usual_architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i386" => "386",
        other => other,
    }
}

/// Refuses an image for another machine. Old images that say nothing are taken.
pub fn check(config: &ImageConfig) -> Result<()> {
    let host = host();
    if fits(config, &host) {
        return Ok(());
    }
    Err(Error::Platform { image: shown(config), host: host.to_string() })
}

/// Whether an image is for a platform. What it does not say fits.
pub fn fits(config: &ImageConfig, wanted: &Platform) -> bool {
    let same = |said: &str, wanted: &str| said.is_empty() || said == wanted;
    same(&config.os, &wanted.os) && same(&config.architecture, &wanted.architecture)
}

/// What an image says it is for.
pub fn shown(config: &ImageConfig) -> String {
    let platform =
        Platform { os: config.os.clone(), architecture: config.architecture.clone(), variant: None };
    escape(&platform.to_string()).to_string()
}

/// The manifest of an index for a platform: of several the one of the variant wanted, else the plainest.
/// One without a platform is taken if it is the only one; attestations say "unknown/unknown".
pub fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    let rank = |descriptor: &Descriptor| {
        let platform = descriptor.platform.as_ref()?;
        let same =
            platform.os == wanted.os && usual_architecture(&platform.architecture) == wanted.architecture;
        same.then(|| variant_rank(wanted, platform.variant.as_deref())).flatten()
    };
    // The first of the best: `min_by_key` keeps the earlier of equals.
    let best = manifests.iter().filter_map(|descriptor| Some((rank(descriptor)?, descriptor)));
    match (best.min_by_key(|(rank, _)| *rank), manifests) {
        (Some((_, found)), _) => Ok(found),
        (None, [only]) if only.platform.is_none() => Ok(only),
        _ => {
            let offered: Vec<_> =
                manifests.iter().filter_map(|m| m.platform.as_ref()).map(|p| p.to_string()).collect();
            let offered = if offered.is_empty() { "no platform".to_owned() } else { offered.join(", ") };
            Err(Error::NoPlatform { offered: escape(&offered).to_string(), wanted: wanted.to_string() })
        }
    }
}

/// How well a variant suits, best first; `None`: not at all.
fn variant_rank(wanted: &Platform, offered: Option<&str>) -> Option<u8> {
    // What no variant means: containerd's platforms package.
    let usual = match wanted.architecture.as_str() {
        "arm64" => "v8",
        "arm" => "v7",
        _ => "v1",
    };
    let offered = offered.filter(|variant| !variant.is_empty()).unwrap_or(usual);
    match &wanted.variant {
        Some(wanted) => (offered == wanted).then_some(0),
        None if offered == usual => Some(0),
        None => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    fn offered(platforms: &[&str]) -> Vec<Descriptor> {
        let descriptor = |platform: &&str| Descriptor {
            media_type: String::new(),
            digest: Digest::of(platform.as_bytes()),
            size: 1,
            annotations: Default::default(),
            platform: Some(parse(platform).unwrap()),
        };
        platforms.iter().map(descriptor).collect()
    }

    #[track_caller]
    fn chosen(wanted: &str, platforms: &[&str]) -> String {
        let offered = offered(platforms);
        let found = choose(&offered, &parse(wanted).unwrap());
        found.map_or_else(|error| error.to_string(), |found| found.platform.as_ref().unwrap().to_string())
    }

    #[test]
    fn platforms_are_read_and_bad_ones_refused() {
        assert_eq!(parse("linux/amd64").unwrap().to_string(), "linux/amd64");
        assert_eq!(parse("Linux/x86_64").unwrap().to_string(), "linux/amd64");
        assert_eq!(parse("linux/arm/v7").unwrap().to_string(), "linux/arm/v7");
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux/\x1b[2J"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_platform_asked_for_is_chosen() {
        let all = ["unknown/unknown", "linux/arm64/v8", "linux/amd64/v3", "linux/amd64", "linux/arm/v6"];
        assert_eq!(chosen("linux/amd64", &all), "linux/amd64");
        assert_eq!(chosen("linux/amd64/v3", &all), "linux/amd64/v3");
        assert_eq!(chosen("linux/arm64", &all), "linux/arm64/v8");
        assert_eq!(chosen("linux/arm", &all), "linux/arm/v6");
        let refused = chosen("linux/arm/v7", &all);
        assert!(refused.contains("linux/arm/v6") && refused.contains("linux/arm/v7"), "{refused}");
        assert_eq!(chosen("linux/amd64", &["linux/amd64/v3"]), "linux/amd64/v3");
    }
}
