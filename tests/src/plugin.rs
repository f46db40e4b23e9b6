//! A volume plugin by docker's protocol, for docker and for hull: volumes are folders below one of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use nix::sys::socket::{Shutdown, shutdown};
use serde_json::{Value, json};

/// Where docker and hull look for plugins' sockets.
pub const FOLDER: &str = "/run/docker/plugins";

/// What a call is answered with in place of what is right.
#[derive(Clone)]
pub enum Answer {
    /// Status 200.
    Json(Value),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, as long as the caller waits.
    Silence,
}

/// Serves until it is dropped, which removes its socket and leaves its volumes.
pub struct Plugin {
    socket: PathBuf,
    listener: UnixListener,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    root: PathBuf,
    state: Mutex<State>,
    /// Who is held, or what, has changed.
    held: Condvar,
}

#[derive(Default)]
struct State {
    /// By name, with who has them mounted.
    volumes: BTreeMap<String, BTreeSet<String>>,
    calls: Vec<String>,
    answers: BTreeMap<String, Answer>,
    /// Calls that wait before they are done.
    held: BTreeSet<String>,
    waiting: usize,
}

impl Plugin {
    /// Listens at `socket`; volumes' folders are in `root`. Both are made.
    pub fn start(socket: &Path, root: &Path) -> Self {
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        fs::create_dir_all(root).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let root = root.to_owned();
        let shared = Arc::new(Shared { root, state: Mutex::default(), held: Condvar::new() });
        let (serving, incoming) = (Arc::clone(&shared), listener.try_clone().unwrap());
        let thread = std::thread::spawn(move || {
            // Until it is shut down.
            while let Ok((stream, _)) = incoming.accept() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { socket: socket.to_owned(), listener, shared, thread: Some(thread) }
    }

    /// The same where docker and hull find it by this name. Needs root.
    pub fn named(name: &str, root: &Path) -> Self {
        Self::start(&Path::new(FOLDER).join(format!("{name}.sock")), root)
    }

    /// A volume that nobody asked for.
    pub fn add(&self, name: &str) -> PathBuf {
        self.shared.make(name)
    }

    /// What a volume shows.
    pub fn path(&self, name: &str) -> PathBuf {
        self.shared.root.join(name)
    }

    /// Answers a call so from now on.
    pub fn answer(&self, call: &str, answer: Answer) {
        self.state().answers.insert(call.to_owned(), answer);
    }

    /// Has a call hang from now on, until it is let go.
    pub fn hold(&self, call: &str) {
        self.state().held.insert(call.to_owned());
    }

    /// Does what has been held.
    pub fn let_go(&self) {
        self.state().held.clear();
        self.shared.held.notify_all();
    }

    /// Waits until so many calls hang.
    pub fn wait_for_held(&self, calls: usize) {
        let state = self.state();
        drop(self.shared.held.wait_while(state, |state| state.waiting < calls).unwrap());
    }

    /// Calls of the driver, as `Mount name id`, oldest first.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    pub fn volumes(&self) -> Vec<String> {
        self.state().volumes.keys().cloned().collect()
    }

    /// Who has a volume mounted, by the ids that came with the calls.
    pub fn mounts(&self, volume: &str) -> Vec<String> {
        self.state().volumes.get(volume).into_iter().flatten().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.socket);
    }
}

impl Shared {
    fn serve(&self, stream: UnixStream) {
        let Some((call, body)) = request(&stream) else { return };
        let special = {
            let mut state = self.state.lock().unwrap();
            if state.held.contains(&call) {
                state.waiting += 1;
                self.held.notify_all();
                state = self.held.wait_while(state, |state| state.held.contains(&call)).unwrap();
                state.waiting -= 1;
            }
            state.answers.get(&call).cloned()
        };
        let answer = match special {
            None => self.call(&call, &body),
            Some(Answer::Json(answer)) => answer,
            Some(Answer::Raw(bytes)) => {
                let _ = (&stream).write_all(&bytes);
                return;
            }
            Some(Answer::Silence) => {
                // Until the caller hangs up.
                let _ = (&stream).read(&mut [0; 1]);
                return;
            }
        };
        let answer = answer.to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.plugins.v1.2+json\r\n";
        let _ =
            write!(&stream, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len());
    }

    fn call(&self, call: &str, body: &Value) -> Value {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let (name, id) = (text("Name"), text("ID"));
        if let Some(word) = call.strip_prefix("VolumeDriver.") {
            let line = [word, &name, &id].join(" ");
            self.state.lock().unwrap().calls.push(line.trim_end().to_owned());
        }
        let told =
            |name: &str| json!({"Name": name, "Mountpoint": self.root.join(name), "Status": {"of": "test"}});
        let missing = json!({"Err": format!("there is no volume {name}")});
        let known = self.state.lock().unwrap().volumes.contains_key(&name);
        match call {
            "Plugin.Activate" => json!({"Implements": ["VolumeDriver"]}),
            "VolumeDriver.Capabilities" => json!({"Capabilities": {"Scope": "global"}}),
            "VolumeDriver.Create" => {
                self.make(&name);
                json!({"Err": ""})
            }
            "VolumeDriver.List" => {
                let volumes: Vec<_> =
                    self.state.lock().unwrap().volumes.keys().map(|name| told(name)).collect();
                json!({"Volumes": volumes, "Err": ""})
            }
            _ if !known => missing,
            "VolumeDriver.Get" => json!({"Volume": told(&name), "Err": ""}),
            "VolumeDriver.Path" => json!({"Mountpoint": self.root.join(&name), "Err": ""}),
            "VolumeDriver.Mount" => {
                self.state.lock().unwrap().volumes.entry(name.clone()).or_default().insert(id);
                json!({"Mountpoint": self.root.join(&name), "Err": ""})
            }
            "VolumeDriver.Unmount" => {
                self.state.lock().unwrap().volumes.entry(name).or_default().remove(&id);
                json!({"Err": ""})
            }
            "VolumeDriver.Remove" => {
                fs::remove_dir_all(self.root.join(&name)).unwrap();
                self.state.lock().unwrap().volumes.remove(&name);
                json!({"Err": ""})
            }
            other => json!({"Err": format!("there is no call {other}")}),
        }
    }

    fn make(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).unwrap();
        self.state.lock().unwrap().volumes.entry(name.to_owned()).or_default();
        path
    }
}

/// The call and its object. None: the caller has hung up.
fn request(stream: &UnixStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let call = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((call, serde_json::from_slice(&body).unwrap_or_default()))
}
