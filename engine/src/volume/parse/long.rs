//! `--mount KEY=VALUE,...`

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use hull_guest::protocol::{Mount, Propagation};
use serde_json::{Map, Value, json};

use super::csv::{self, CsvError};
use super::short::source_path;
use super::{AskedMount, AskedVolume, MountError, ParseError, Source, against_here, checked, flags, target};
use crate::container::size;
use crate::container::tmpfs;

/// What the client itself finds wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error(transparent)]
    Csv(#[from] CsvError),
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    #[error("unexpected key '{key}' in '{field}'")]
    Key { key: String, field: String },
    #[error("invalid value for {key}: {value}")]
    Value { key: String, value: String },
    #[error(
        "invalid value for bind-recursive: {0} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
    )]
    Recursive(String),
    #[error("option 'bind-recursive={option}' requires '{needed}' to be specified in conjunction")]
    Needs { option: &'static str, needed: &'static str },
    #[error(
        "bind-recursive=writable is not available: what is mounted below a read-only source is read-only, too"
    )]
    Writable,
    #[error("type is required")]
    NoType,
    #[error("target is required")]
    NoTarget,
    #[error("cannot mix '{options}-*' options with mount type '{kind}'")]
    Mixed { options: &'static str, kind: String },
}

#[derive(Debug)]
pub enum Long {
    Mount(Box<AskedMount>),
    Tmpfs(Mount),
}

/// And what inspect shows of it.
pub fn parse(word: &str) -> Result<(Long, Value), ParseError> {
    let refuse = |source| ParseError::Argument { word: word.to_string(), source };
    let fields = csv::fields(word).map_err(|error| refuse(error.into()))?;
    let mut read = Fields { kind: "volume".to_string(), ..Fields::default() };
    fields.iter().try_for_each(|field| read.take(field)).map_err(refuse)?;
    read.check().map_err(refuse)?;
    read.into_mount()
}

/// What the fields say; of each the last.
#[derive(Debug, Default)]
struct Fields {
    kind: String,
    source: String,
    target: String,
    readonly: bool,
    consistency: String,
    bind: Option<BindFields>,
    volume: Option<VolumeFields>,
    tmpfs: Option<TmpfsFields>,
}

#[derive(Debug, Default)]
struct BindFields {
    propagation: String,
    recursive: Recursive,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Recursive {
    #[default]
    Enabled,
    Disabled,
    Writable,
    Readonly,
}

#[derive(Debug, Default)]
struct VolumeFields {
    nocopy: bool,
    driver: String,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    subpath: String,
}

#[derive(Debug, Default)]
struct TmpfsFields {
    bytes: u64,
    mode: Option<u32>,
}

impl Fields {
    fn take(&mut self, field: &str) -> Result<(), FieldError> {
        let Some((key, value)) = field.split_once('=') else { return self.flag(field) };
        let key = key.to_lowercase();
        let refused = || FieldError::Value { key: key.clone(), value: value.to_string() };
        let yes = || boolean(value).ok_or_else(refused);
        match key.as_str() {
            "type" => self.kind = value.to_lowercase(),
            "source" | "src" => self.source = value.to_string(),
            "target" | "dst" | "destination" => self.target = value.to_string(),
            "readonly" | "ro" => self.readonly = yes()?,
            "consistency" => {
                self.consistency = value.to_lowercase();
                let known = ["", "default", "consistent", "cached", "delegated"];
                if !known.contains(&self.consistency.as_str()) {
                    return Err(refused());
                }
            }
            "bind-propagation" => self.bind().propagation = value.to_lowercase(),
            "bind-nonrecursive" => self.nonrecursive(yes()?),
            "bind-recursive" => self.bind().recursive = recursive(value)?,
            "volume-nocopy" => self.volume().nocopy = yes()?,
            "volume-driver" => self.volume().driver = value.to_string(),
            "volume-label" => set(&mut self.volume().labels, value),
            "volume-opt" => set(&mut self.volume().options, value),
            "volume-subpath" => self.volume().subpath = value.to_string(),
            // Of a block volume: the same as a volume-opt, whose only plain word it is.
            "size" if self.kind == "volume" => set(&mut self.volume().options, &format!("size={value}")),
            "tmpfs-size" => self.tmpfs().bytes = size::parse(value).map_err(|_| refused())?,
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                self.tmpfs().mode = Some(mode.ok_or_else(refused)?);
            }
            _ => return Err(FieldError::Key { key, field: field.to_string() }),
        }
        Ok(())
    }

    /// A field that is a key alone.
    fn flag(&mut self, field: &str) -> Result<(), FieldError> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => self.readonly = true,
            "volume-nocopy" => self.volume().nocopy = true,
            "bind-nonrecursive" => self.nonrecursive(true),
            _ => return Err(FieldError::NoValue(field.to_string())),
        }
        Ok(())
    }

    fn bind(&mut self) -> &mut BindFields {
        self.bind.get_or_insert_default()
    }

    fn volume(&mut self) -> &mut VolumeFields {
        self.volume.get_or_insert_default()
    }

    fn tmpfs(&mut self) -> &mut TmpfsFields {
        self.tmpfs.get_or_insert_default()
    }

    fn nonrecursive(&mut self, yes: bool) {
        self.bind().recursive = if yes { Recursive::Disabled } else { Recursive::Enabled };
    }

    /// What has to go together, or must not.
    fn check(&self) -> Result<(), FieldError> {
        if self.kind.is_empty() {
            return Err(FieldError::NoType);
        }
        if self.target.is_empty() {
            return Err(FieldError::NoTarget);
        }
        let given = [
            ("bind", self.bind.is_some()),
            ("volume", self.volume.is_some()),
            ("tmpfs", self.tmpfs.is_some()),
        ];
        if let Some((options, _)) = given.iter().find(|(kind, given)| *given && self.kind != *kind) {
            return Err(FieldError::Mixed { options, kind: self.kind.clone() });
        }
        let Some(bind) = &self.bind else { return Ok(()) };
        let option = match bind.recursive {
            Recursive::Enabled | Recursive::Disabled => return Ok(()),
            Recursive::Writable => "writable",
            Recursive::Readonly => "readonly",
        };
        if !self.readonly {
            return Err(FieldError::Needs { option, needed: "readonly" });
        }
        match bind.recursive {
            Recursive::Writable => Err(FieldError::Writable),
            _ if bind.propagation != "rprivate" => {
                Err(FieldError::Needs { option, needed: "bind-propagation=rprivate" })
            }
            _ => Ok(()),
        }
    }

    fn into_mount(self) -> Result<(Long, Value), ParseError> {
        let kind = match self.kind.as_str() {
            "bind" => "bind",
            "volume" => "volume",
            "tmpfs" => "tmpfs",
            _ => return Err(ParseError::UnknownType(self.kind)),
        };
        let config = |source| ParseError::Config { kind, source };
        let target = target(&self.target).map_err(config)?;
        checked(&self.source).map_err(config)?;
        let mut shown = self.shown();
        let mount = match kind {
            "bind" => self.bind_mount(target, &mut shown)?,
            "volume" => Long::Mount(Box::new(self.volume_mount(target).map_err(config)?)),
            _ if !self.source.is_empty() => return Err(config(MountError::Field("Source"))),
            _ => {
                let TmpfsFields { bytes, mode } = self.tmpfs.unwrap_or_default();
                let bytes = Some(bytes).filter(|bytes| *bytes > 0);
                Long::Tmpfs(tmpfs::mount(&target, self.readonly, bytes, mode))
            }
        };
        Ok((mount, Value::Object(shown)))
    }

    fn bind_mount(self, target: String, shown: &mut Map<String, Value>) -> Result<Long, ParseError> {
        let config = |source| ParseError::Config { kind: "bind", source };
        let source = match self.source.as_str() {
            "" => return Err(config(MountError::NoSource)),
            word if word.starts_with('.') => against_here(word)?,
            word if word.starts_with('/') => word.to_string(),
            word => return Err(config(MountError::Relative(word.to_string()))),
        };
        shown.insert("Source".to_string(), json!(source));
        let bind = self.bind.unwrap_or_default();
        let propagation = match bind.propagation.as_str() {
            "" => Propagation::Private,
            word => {
                flags::propagation(word).ok_or_else(|| config(MountError::Propagation(word.to_string())))?
            }
        };
        Ok(Long::Mount(Box::new(AskedMount {
            source: Source::Bind { path: source_path(&source), create: false },
            target,
            readonly: self.readonly,
            propagation,
            recursive: bind.recursive != Recursive::Disabled,
            subpath: None,
            mode: String::new(),
        })))
    }

    fn volume_mount(self, target: String) -> Result<AskedMount, MountError> {
        let volume = self.volume.unwrap_or_default();
        let name = Some(self.source).filter(|name| !name.is_empty());
        if name.is_none() && self.readonly {
            return Err(MountError::ReadonlyAnonymous);
        }
        let subpath = Some(volume.subpath).filter(|path| !path.is_empty());
        Ok(AskedMount {
            source: Source::Volume(AskedVolume {
                name,
                driver: Some(volume.driver).filter(|driver| !driver.is_empty()),
                labels: volume.labels,
                options: volume.options,
                nocopy: volume.nocopy,
            }),
            target,
            readonly: self.readonly,
            propagation: Propagation::Private,
            recursive: true,
            subpath: subpath.as_deref().map(inside).transpose()?,
            mode: String::new(),
        })
    }

    /// As docker's API has it: what was not said is not there.
    fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        let mut put = |key: &str, value: Value| drop(shown.insert(key.to_string(), value));
        put("Type", json!(self.kind));
        if !self.source.is_empty() {
            put("Source", json!(self.source));
        }
        put("Target", json!(self.target));
        if self.readonly {
            put("ReadOnly", json!(true));
        }
        if !self.consistency.is_empty() {
            put("Consistency", json!(self.consistency));
        }
        if let Some(bind) = &self.bind {
            let mut options = Map::new();
            if !bind.propagation.is_empty() {
                options.insert("Propagation".to_string(), json!(bind.propagation));
            }
            match bind.recursive {
                Recursive::Disabled => drop(options.insert("NonRecursive".to_string(), json!(true))),
                Recursive::Readonly => {
                    drop(options.insert("ReadOnlyForceRecursive".to_string(), json!(true)))
                }
                Recursive::Enabled | Recursive::Writable => {}
            }
            put("BindOptions", Value::Object(options));
        }
        if let Some(volume) = &self.volume {
            put("VolumeOptions", volume.shown());
        }
        if let Some(tmpfs) = &self.tmpfs {
            let mut options = Map::new();
            if tmpfs.bytes > 0 {
                options.insert("SizeBytes".to_string(), json!(tmpfs.bytes));
            }
            options.extend(tmpfs.mode.map(|mode| ("Mode".to_string(), json!(mode))));
            put("TmpfsOptions", Value::Object(options));
        }
        shown
    }
}

impl VolumeFields {
    fn shown(&self) -> Value {
        let mut options = Map::new();
        if self.nocopy {
            options.insert("NoCopy".to_string(), json!(true));
        }
        if !self.labels.is_empty() {
            options.insert("Labels".to_string(), json!(self.labels));
        }
        if !self.subpath.is_empty() {
            options.insert("Subpath".to_string(), json!(self.subpath));
        }
        let mut driver = Map::new();
        if !self.driver.is_empty() {
            driver.insert("Name".to_string(), json!(self.driver));
        }
        if !self.options.is_empty() {
            driver.insert("Options".to_string(), json!(self.options));
        }
        if !driver.is_empty() {
            options.insert("DriverConfig".to_string(), Value::Object(driver));
        }
        Value::Object(options)
    }
}

/// Go's strconv.ParseBool.
fn boolean(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn recursive(word: &str) -> Result<Recursive, FieldError> {
    match word {
        "enabled" => Ok(Recursive::Enabled),
        "disabled" => Ok(Recursive::Disabled),
        "writable" => Ok(Recursive::Writable),
        "readonly" => Ok(Recursive::Readonly),
        _ => Err(FieldError::Recursive(word.to_string())),
    }
}

/// `KEY=VALUE`; without a key it is nothing.
fn set(map: &mut BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !key.is_empty() {
        map.insert(key.to_string(), value.to_string());
    }
}

/// A relative path that does not leave the volume.
fn inside(word: &str) -> Result<PathBuf, MountError> {
    checked(word)?;
    let mut clean = PathBuf::new();
    for component in Path::new(word).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            // Even where another name leads back: docker takes those, and a link in the volume may mean anything.
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(MountError::Subpath);
            }
        }
    }
    Ok(clean)
}
