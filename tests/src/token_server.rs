//! A token server that docker-registry believes: it signs what it gives (RFC 7519) with a key whose
//! certificate the registry is told.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{Registry, paths, unique};

pub const USER: &str = "jim";
pub const PASSWORD: &str = "ge:h eim";
/// What it gives for a password where it is told to.
const IDENTITY: &str = "identity-token";
const ISSUER: &str = "token-server";
const SERVICE: &str = "registry";

/// Serves as long as the test's process lives; its folder goes with it. One user may do everything,
/// everybody may pull what is below `public/`.
pub struct TokenServer {
    address: String,
    folder: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request for a token.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    pub body: String,
    authorization: Option<String>,
}

impl TokenServer {
    /// `identity`: it gives identity tokens for passwords, to those that ask for one.
    pub fn start(identity: bool) -> TokenServer {
        let folder = paths::temporary().join(unique("tokens"));
        fs::create_dir_all(&folder).unwrap();
        let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tokens", "-days", "2"];
        openssl(&folder, &[&request[..], &["-keyout", "key.pem", "-out", "cert.pem"]].concat(), b"");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = TokenServer {
            address: listener.local_addr().unwrap().to_string(),
            folder: folder.clone(),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&server.asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), |request| {
                    asked.lock().unwrap().push(request.clone());
                    answer(&folder, request, identity)
                });
            }
        });
        server
    }

    /// A docker-registry that wants tokens of this server.
    pub fn registry(&self) -> Registry {
        Registry::with(&format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n    \
             rootcertbundle: {}",
            self.address,
            self.folder.join("cert.pem").display()
        ))
    }

    /// The requests since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Status and body.
fn answer(folder: &Path, asked: &Asked, identity: bool) -> (u16, Value) {
    let form =
        if asked.method == "POST" { &asked.body } else { asked.path.split_once('?').unwrap_or_default().1 };
    let fields: Vec<(&str, String)> = form.split('&').filter_map(field).collect();
    let has = |name: &str, value: &str| fields.iter().any(|(key, found)| *key == name && found == value);
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let known = match &asked.authorization {
        Some(value) => *value == basic,
        None => has("grant_type", "refresh_token") && has("refresh_token", IDENTITY),
    };
    if !known && (asked.authorization.is_some() || asked.method == "POST") {
        return (401, json!({"details": "incorrect username or password"}));
    }
    let scopes = fields.iter().filter(|(key, _)| *key == "scope").flat_map(|(_, scopes)| scopes.split(' '));
    let access: Vec<Value> = scopes.filter_map(|scope| granted(scope, known)).collect();
    let gives = identity && has("offline_token", "true") && known;
    (200, json!({"token": token(folder, &access), "refresh_token": gives.then_some(IDENTITY)}))
}

/// An entry of a token's `access` for `repository:NAME:ACTIONS`.
fn granted(scope: &str, known: bool) -> Option<Value> {
    let mut parts = scope.split(':');
    let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
    let actions: Vec<&str> = actions
        .split(',')
        .filter(|action| known || (name.starts_with("public/") && *action == "pull"))
        .collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}

fn token(folder: &Path, access: &[Value]) -> String {
    let certificate = fs::read_to_string(folder.join("cert.pem")).unwrap();
    let certificate: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
    let claims = json!({
        "iss": ISSUER, "sub": USER, "aud": SERVICE, "exp": now + 300, "nbf": now - 60, "iat": now,
        "jti": unique("token"), "access": access,
    });
    let encoded = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = openssl(folder, &["dgst", "-sha256", "-sign", "key.pem"], signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn openssl(folder: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("openssl: {e}; use tests/run registry"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {args:?}");
    output.stdout
}

/// `name=value`, decoded.
fn field(pair: &str) -> Option<(&str, String)> {
    let (name, value) = pair.split_once('=')?;
    let mut parts = value.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        decoded.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some((name, String::from_utf8(decoded).ok()?))
}

fn serve(stream: TcpStream, answer: impl FnOnce(&Asked) -> (u16, Value)) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let (status, text) = answer(&Asked { method, path, body, authorization });
    let text = text.to_string();
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", text.len());
    let _ = reader.get_mut().write_all((head + &text).as_bytes());
}
