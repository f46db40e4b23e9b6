#[path = "../../../../../tests/src/plugin.rs"]
#[allow(dead_code, reason = "the end-to-end tests' own, too")]
pub mod server;

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Instant;

use self::server::Answer;
use super::*;
use crate::volume::driver::plugin::places::OF_TEST;

/// A machine of the test's own, with the plugin "shelf".
pub struct Machine {
    pub root: tempfile::TempDir,
    pub shelf: server::Plugin,
}

impl Machine {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("run/docker/plugins/shelf.sock");
        let shelf = server::Plugin::start(&socket, &root.path().join("shelf"));
        let machine = Self { root, shelf };
        machine.enter();
        machine
    }

    /// This thread is of the machine, too.
    pub fn enter(&self) {
        OF_TEST.set(Some(self.root.path().to_owned()));
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn a_volume_is_made_mounted_and_removed_by_its_plugin() {
    let machine = Machine::new();
    let plugin = Plugin::find("shelf").unwrap();
    plugin.create("web", &BTreeMap::from([("a".to_owned(), "1".to_owned())])).unwrap();
    assert_eq!(plugin.mount("web", "sandbox").unwrap(), machine.shelf.path("web"));
    assert_eq!(machine.shelf.mounts("web"), ["sandbox"]);
    assert_eq!(plugin.path("web").unwrap(), machine.shelf.path("web"));
    assert_eq!(plugin.scope().unwrap(), Scope::Global);
    let volume = plugin.get("web").unwrap().unwrap();
    assert_eq!(volume.status.unwrap().get("of").unwrap(), "test");
    assert_eq!(plugin.list().unwrap().len(), 1);
    plugin.unmount("web", "sandbox").unwrap();
    plugin.remove("web").unwrap();
    assert!(plugin.get("web").unwrap().is_none() && machine.shelf.volumes().is_empty());
    let error = plugin.mount("web", "sandbox").unwrap_err();
    assert_eq!(error.to_string(), "VolumeDriver.Mount: there is no volume web");
    assert!(error.is_answer());
}

#[test]
fn plugins_are_found_where_docker_finds_them() {
    let machine = Machine::new();
    let socket = machine.root.path().join("elsewhere.sock");
    let unix = format!("unix://{}", socket.display());
    machine.file("etc/docker/plugins/one.spec", &format!("{unix}\n"));
    machine.file("usr/lib/docker/plugins/two.json", &format!(r#"{{"Name": "two", "Addr": "{unix}"}}"#));
    machine.file("etc/docker/plugins/three/three.spec", &unix);
    machine.file("etc/docker/plugins/far.spec", "tcp://127.0.0.1:1");
    machine.file("etc/docker/plugins/bad.json", "{");
    machine.file("etc/docker/plugins/README", "no plugin");
    machine.file("run/docker/plugins/file.sock", "no socket");
    let _four = UnixListener::bind({
        fs::create_dir(machine.root.path().join("run/docker/plugins/four")).unwrap();
        machine.root.path().join("run/docker/plugins/four/four.sock")
    });
    for name in ["one", "two", "three"] {
        assert_eq!(places::find(name).unwrap(), socket, "{name}");
    }
    assert_eq!(names(), ["bad", "far", "four", "one", "shelf", "three", "two"]);
    let text = places::find("far").unwrap_err().to_string();
    assert_eq!(
        text,
        "Volume plugin far is at tcp://127.0.0.1:1, and hull talks to plugins over unix sockets only (unix://)"
    );
    assert!(matches!(places::find("bad"), Err(PluginError::Address { .. })));
    for name in ["", ".", "..", "a/b", "../shelf", "README", "file", "none", "\0", &"a".repeat(500)] {
        assert!(matches!(places::find(name), Err(PluginError::NotFound { .. })), "{name}");
    }
}

#[test]
fn what_a_plugin_answers_is_not_believed() {
    let machine = Machine::new();
    let plugin = Plugin::find("shelf").unwrap();
    let json = |value| Answer::Json(value);
    for mountpoint in ["", "relative", "/a/../../etc", "/a\0b", &format!("/{}", "a".repeat(5000))] {
        machine.shelf.answer("VolumeDriver.Mount", json(json!({"Mountpoint": mountpoint})));
        assert!(matches!(plugin.mount("web", "s"), Err(PluginError::Answer { .. })), "{mountpoint}");
    }
    for wrong in [json!([]), json!({"Mountpoint": 1}), json!("x"), json!({"Mountpoint": null})] {
        machine.shelf.answer("VolumeDriver.Mount", json(wrong.clone()));
        assert!(matches!(plugin.mount("web", "s"), Err(PluginError::Answer { .. })), "{wrong}");
    }
    machine.shelf.answer("VolumeDriver.Create", json(json!({"Err": format!("\x1b[2J{}", "x".repeat(9000))})));
    let text = plugin.create("web", &BTreeMap::new()).unwrap_err().to_string();
    assert!(text.starts_with(r"VolumeDriver.Create: \u{1b}[2Jxx") && text.len() < 1200, "{text}");
    let volumes =
        json!([{"Name": "../a"}, {"Name": "ok"}, {"Name": "bad", "Mountpoint": "../x"}, {"Name": "x\x1by"}]);
    machine.shelf.answer("VolumeDriver.List", json(json!({"Volumes": volumes})));
    let listed: Vec<_> = plugin.list().unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!(listed, ["ok"]);
    machine.shelf.answer("VolumeDriver.Get", json(json!({"Volume": {"Name": "other"}})));
    assert!(plugin.get("web").is_err());
    machine.shelf.answer("VolumeDriver.Capabilities", json(json!({"Capabilities": {"Scope": "\x1b"}})));
    assert_eq!(plugin.scope().unwrap(), Scope::Local);
    machine.shelf.answer("Plugin.Activate", json(json!({"Implements": ["NetworkDriver"]})));
    assert!(matches!(Plugin::find("shelf"), Err(PluginError::NoVolumes { .. })));
}

#[test]
fn what_is_not_http_or_too_much_of_it_is_an_error() {
    let machine = Machine::new();
    let plugin = Plugin::find("shelf").unwrap();
    let long =
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", vec![b' '; 9_000_000].as_slice()].concat();
    let headers = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(100_000)].concat();
    for bytes in [b"".to_vec(), b"rubbish\r\n\r\n".to_vec(), long, headers, vec![0xff; 100_000]] {
        machine.shelf.answer("VolumeDriver.List", Answer::Raw(bytes));
        let error = plugin.list().unwrap_err();
        assert!(matches!(error, PluginError::Silent { .. }), "{error}");
    }
    let failed = b"HTTP/1.1 500 Oh\r\nContent-Length: 12\r\n\r\n{\"Err\":\"no\"}".to_vec();
    machine.shelf.answer("VolumeDriver.Create", Answer::Raw(failed));
    assert_eq!(plugin.create("web", &BTreeMap::new()).unwrap_err().to_string(), "VolumeDriver.Create: no");
    let moved = b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec();
    machine.shelf.answer("VolumeDriver.Create", Answer::Raw(moved));
    let text = plugin.create("web", &BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(text, "VolumeDriver.Create: volume plugin shelf answers with status 307");
}

#[test]
fn a_plugin_that_does_not_answer_is_not_waited_for_for_ever() {
    let machine = Machine::new();
    let limit = Duration::from_millis(300);
    let socket = Socket::new(places::find("shelf").unwrap());
    machine.shelf.answer("VolumeDriver.List", Answer::Silence);
    let began = Instant::now();
    assert!(socket.post("VolumeDriver.List", &json!({}), limit).is_err());
    // Nor is one that accepts nobody.
    let path = machine.root.path().join("full.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    let full = std::iter::repeat_with(|| {
        let socket = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Unix,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::SOCK_NONBLOCK,
            None,
        )
        .unwrap();
        let address = nix::sys::socket::UnixAddr::new(&path).unwrap();
        let connected = nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &address).is_ok();
        waiting.push(socket);
        connected
    });
    assert!(full.take(10_000).any(|connected| !connected), "a queue ends");
    assert!(Socket::new(path.clone()).post("VolumeDriver.List", &json!({}), limit).is_err());
    assert!(began.elapsed() < Duration::from_secs(20));
}
