//! Settings and limits for tests: nothing sleeps, and what must end ends soon.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::image::spec::{Descriptor, media_type};
use crate::image::{Digest, Reference};
use crate::registry::limits::Limits;
use crate::registry::proxy::Proxies;
use crate::registry::server::Surroundings;
use crate::registry::{Access, Error, Repository, Settings};
use crate::resolve::Resolver;

pub struct World {
    pub around: Surroundings,
    pub settings: Settings,
    pub slept: Arc<Mutex<Vec<Duration>>>,
    /// Of docker's config.json.
    pub logins: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let slept: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let sleeps = Arc::clone(&slept);
        let limits = Limits {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(5),
            silence: Duration::from_secs(10),
            sleep: Arc::new(move |wait| sleeps.lock().unwrap().push(wait)),
            ..Limits::default()
        };
        let resolver = Resolver::default();
        let around = Surroundings { limits: Arc::new(limits), proxies: Proxies::default(), resolver };
        let logins = tempfile::tempdir().unwrap();
        let settings = Settings { docker_config: Some(logins.path().to_owned()), ..Settings::default() };
        Self { around, settings, slept, logins }
    }

    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = (*self.around.limits).clone();
        change(&mut limits);
        self.around.limits = Arc::new(limits);
        self
    }

    pub fn open(&self, registry: &str) -> Repository {
        self.try_open(registry, Access::Pull).unwrap()
    }

    pub fn open_to_push(&self, registry: &str) -> Repository {
        self.try_open(registry, Access::Push).unwrap()
    }

    pub fn try_open(&self, registry: &str, access: Access) -> Result<Repository, Error> {
        let name = Reference {
            registry: registry.to_owned(),
            repository: "some/image".to_owned(),
            tag: Some("latest".to_owned()),
            digest: None,
        };
        Repository::open_in(&self.around, &self.settings, &name, access)
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

pub fn descriptor(bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(bytes);
    let size = bytes.len();
    let text = format!(r#"{{"mediaType":"{}","digest":"{digest}","size":{size}}}"#, media_type::OCI_LAYER);
    serde_json::from_str(&text).unwrap()
}

pub const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{}}"#;
