//! File systems in memory: `--tmpfs PATH[:OPTIONS]`, and what `--mount type=tmpfs` has in common with it.

use hull_guest::protocol::Mount;

use super::size;

const MODE: u32 = 0o1777;
/// When reading a file is written down in it (mount(8)).
const ATIME: [&str; 5] = ["noatime", "relatime", "strictatime", "nodiratime", "diratime"];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TmpfsError {
    // Docker's words.
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    NotAbsolute(String),
    #[error("invalid specification: destination can't be '/'")]
    Root,
    #[error(
        "--tmpfs \"{word}\": option \"{option}\" is not one of ro rw nosuid suid nodev dev noexec exec size=N mode=NNN \
         uid=N gid=N nr_inodes=N noatime relatime strictatime nodiratime diratime"
    )]
    Option { word: String, option: String },
}

/// Without options docker's defaults: writable, nosuid, nodev, noexec, mode 1777.
fn usual() -> Vec<String> {
    ["rw", "nosuid", "nodev", "noexec"].map(str::to_string).to_vec()
}

/// One of `--mount`, which has no other options.
pub fn mount(target: &str, readonly: bool, size: Option<u64>, mode: Option<u32>) -> Mount {
    let mut options = usual();
    if readonly {
        options.retain(|word| word != "rw");
        options.push("ro".to_string());
    }
    Mount::Tmpfs { target: target.into(), size, mode: mode.unwrap_or(MODE), options }
}

pub fn parse(word: &str) -> Result<Mount, TmpfsError> {
    let (target, options) = word.split_once(':').unwrap_or((word, ""));
    if !target.starts_with('/') {
        return Err(TmpfsError::NotAbsolute(target.to_string()));
    }
    if target.trim_matches('/').is_empty() {
        return Err(TmpfsError::Root);
    }
    let refuse = |option: &str| TmpfsError::Option { word: word.to_string(), option: option.to_string() };
    let mut flags = usual();
    let (mut bytes, mut mode) = (None, MODE);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => bytes = Some(size::parse(value).map_err(|_| refuse(option))?),
            Some(("mode", value)) => {
                mode = u32::from_str_radix(value, 8)
                    .ok()
                    .filter(|mode| *mode <= 0o7777)
                    .ok_or_else(|| refuse(option))?;
            }
            None if matches!(
                option,
                "ro" | "rw" | "nosuid" | "suid" | "nodev" | "dev" | "noexec" | "exec"
            ) =>
            {
                let root = option.trim_start_matches("no");
                flags.retain(|flag| match option {
                    "ro" | "rw" => flag != "ro" && flag != "rw",
                    _ => flag.trim_start_matches("no") != root,
                });
                flags.push(option.to_string());
            }
            Some(("uid" | "gid" | "nr_inodes", value)) if value.parse::<u32>().is_ok() => {
                flags.push(option.to_string());
            }
            None if ATIME.contains(&option) => flags.push(option.to_string()),
            _ => return Err(refuse(option)),
        }
    }
    Ok(Mount::Tmpfs { target: target.into(), size: bytes, mode, options: flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(word: &str) -> String {
        let Mount::Tmpfs { options, .. } = parse(word).unwrap() else { panic!() };
        options.join(",")
    }

    #[test]
    fn options_replace_their_opposites() {
        assert_eq!(options("/tmp"), "rw,nosuid,nodev,noexec");
        assert_eq!(options("/tmp:exec,ro"), "nosuid,nodev,exec,ro");
        assert_eq!(options("/tmp:uid=5,noatime"), "rw,nosuid,nodev,noexec,uid=5,noatime");
    }

    #[test]
    fn size_and_mode_are_read_and_the_rest_refused() {
        let Mount::Tmpfs { size, mode, .. } = parse("/a:size=64k,mode=700").unwrap() else { panic!() };
        assert_eq!((size, mode), (Some(65536), 0o700));
        for bad in ["tmp", "/", "/a:uid=x", "/a:sync", "/a:size=x", "/a:mode=9"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
