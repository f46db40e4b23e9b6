//! Debian's docker-registry, for as long as a case has it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hull_engine::image::Digest;
use hull_engine::registry::{Access, Repository, Settings};

use crate::{paths, unique};

/// A registry on a free port of 127.0.0.1, empty at first. Ended and removed when dropped.
pub struct Registry {
    /// `127.0.0.1:port`
    pub address: String,
    folder: PathBuf,
    child: Child,
    lines: Arc<Lines>,
}

impl Registry {
    pub fn start() -> Registry {
        Registry::with("")
    }

    /// One with more in its config file than storage, address and log: YAML.
    pub fn with(config: &str) -> Registry {
        Registry::at("127.0.0.1:0", "", config)
    }

    /// One with more in its config's section `http`, too: lines of YAML, indented by two.
    pub fn at(address: &str, http: &str, config: &str) -> Registry {
        let folder = paths::temporary().join(unique("registry"));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
             delete: {{enabled: true}}\nhttp:\n  addr: {address}\n  secret: test\n{http}\n{config}\n",
            folder.join("storage").display()
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("docker-registry: {e}; use tests/run registry"));
        let lines = Arc::new(Lines::default());
        // The access log comes on stdout, the rest on stderr.
        Lines::read(&lines, child.stdout.take().unwrap());
        Lines::read(&lines, child.stderr.take().unwrap());
        let line = lines.wait_for("msg=\"listening on ");
        let address = line.split("msg=\"listening on ").nth(1).unwrap();
        let address = address.split(['"', ',']).next().unwrap().to_owned();
        Registry { address, folder, child, lines }
    }

    /// What `hull` calls a repository here: `127.0.0.1:port/repository`.
    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.address)
    }

    /// Puts an image here with skopeo, from wherever that can read: `docker-archive:PATH`, `oci:PATH:TAG`.
    pub fn copy(&self, source: &str, name: &str, options: &[&str]) {
        let target = format!("docker://{}", self.name(name));
        let mut command = Command::new("skopeo");
        command.args(["copy", "-q", "--dest-tls-verify=false"]).args(options).args([source, &target]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The small image of the suite.
    pub fn add_busybox(&self, name: &str) {
        self.copy(&archive("docker-archive:", "busybox.tar"), name, &[]);
    }

    /// The image of seven layers.
    pub fn add_layers(&self, name: &str) {
        self.copy(&(archive("oci:", "layers") + ":layers"), name, &[]);
    }

    fn repository(&self, repository: &str) -> Repository {
        let name = self.name(repository).parse().unwrap();
        Repository::open(&Settings::default(), &name, Access::Push).unwrap()
    }

    /// Puts a blob here.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let path = self.folder.join(unique("blob"));
        fs::write(&path, bytes).unwrap();
        let digest = Digest::of(bytes);
        self.repository(repository).upload_blob(&digest, &fs::File::open(&path).unwrap(), &|_| {}).unwrap();
        digest
    }

    /// Puts a manifest or index here, by tag or by digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> Digest {
        self.repository(repository).put_manifest(reference, media_type, bytes).unwrap();
        Digest::of(bytes)
    }

    /// A manifest as the registry gives it.
    pub fn manifest(&self, repository: &str, reference: &str) -> serde_json::Value {
        let document = self.repository(repository).manifest(reference).unwrap();
        serde_json::from_slice(&document.bytes).unwrap()
    }

    /// What a name means here.
    pub fn digest(&self, repository: &str, reference: &str) -> Digest {
        self.repository(repository).manifest(reference).unwrap().digest
    }

    /// Where the registry keeps a blob's bytes.
    pub fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder.join("storage/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// The requests that were answered since the last call, as `GET /v2/...`.
    pub fn requests(&self) -> Vec<String> {
        let marker = unique("/v2/marker/");
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {marker} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        self.lines.wait_for(&marker);
        let lines = std::mem::take(&mut *self.lines.seen.lock().unwrap());
        // 127.0.0.1 - - [date] "GET /v2/... HTTP/1.1" 200 593 "" "hull/0.1.0"
        let request = |line: &String| {
            let quoted = line.split('"').nth(1)?;
            let request = quoted.strip_suffix(" HTTP/1.1")?;
            (line.contains("] \"") && !request.contains("/v2/marker/")).then(|| request.to_owned())
        };
        lines.iter().filter_map(request).collect()
    }

    /// Ends it. Its address refuses connections from then on.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where skopeo reads an image of the suite.
pub fn archive(transport: &str, name: &str) -> String {
    // skopeo takes no link to a folder.
    let path = fs::canonicalize(paths::image(name)).unwrap();
    format!("{transport}{}", path.display())
}

/// Blob requests among those of [`Registry::requests`].
pub fn blobs(requests: &[String]) -> Vec<&String> {
    requests.iter().filter(|request| request.starts_with("GET ") && request.contains("/blobs/")).collect()
}

/// The files of a folder, by name; none where there is no folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a process has written, by lines.
#[derive(Default)]
pub(crate) struct Lines {
    seen: Mutex<Vec<String>>,
    more: Condvar,
}

impl Lines {
    pub fn read(this: &Arc<Lines>, stream: impl Read + Send + 'static) {
        let this = this.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                this.seen.lock().unwrap().push(line);
                this.more.notify_all();
            }
        });
    }

    pub fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + paths::patience();
        let mut seen = self.seen.lock().unwrap();
        loop {
            if let Some(line) = seen.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "it did not say {text:?}: {seen:?}");
            seen = self.more.wait_timeout(seen, left).unwrap().0;
        }
    }
}
