//! Real programs, not only busybox.

use hull_tests::{DEBIAN, PYTHON, run};

#[test]
fn python_serves_http_to_itself() {
    let script = r#"
import http.server, threading, urllib.request
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.path.encode() * 1000
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
for n in range(20):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{n}") as answer:
        assert answer.read() == f"/{n}".encode() * 1000
print("served")
"#;
    assert_eq!(run([PYTHON, "python3", "-c", script]).text(), "served");
}

#[test]
fn sqlite_keeps_its_promises_on_the_writable_layer() {
    let script = r#"
import sqlite3
db = sqlite3.connect("/var/tmp/test.db")
db.execute("pragma journal_mode=wal")
db.execute("create table numbers (n integer primary key, text text)")
with db:
    db.executemany("insert into numbers values (?, ?)", ((n, str(n) * 10) for n in range(20000)))
db.close()
db = sqlite3.connect("/var/tmp/test.db")
print(db.execute("select count(*), sum(n), max(length(text)) from numbers").fetchone(), db.execute("pragma integrity_check").fetchone())
"#;
    assert_eq!(run([PYTHON, "python3", "-c", script]).text(), "(20000, 199990000, 50) ('ok',)");
}

#[test]
fn python_starts_processes_and_threads() {
    let script = "import subprocess, concurrent.futures as f\n\
                  with f.ThreadPoolExecutor(8) as pool:\n    \
                  print(sum(pool.map(lambda n: int(subprocess.check_output(['echo', str(n)])), range(40))))";
    assert_eq!(run([PYTHON, "python3", "-c", script]).text(), "780");
}

#[test]
fn first_process_that_crashes_ends_with_its_signal() {
    run([PYTHON, "python3", "-c", "import ctypes; ctypes.string_at(0)"]).exits(139);
}

#[test]
fn sort_sorts_a_million_lines_through_files() {
    let script = "seq 1000000 -1 1 > /tmp/down; sort -n -S 2M -T /var/tmp /tmp/down > /tmp/up; \
                  wc -c < /tmp/up; head -n 1 /tmp/up; tail -n 1 /tmp/up";
    assert_eq!(run([DEBIAN, "sh", "-c", script]).text(), "6888896\n1\n1000000");
}

#[test]
fn dpkg_installs_a_package() {
    let script = "set -e; mkdir -p /p/DEBIAN /p/usr/share/own; \
                  printf 'Package: own\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n' > /p/DEBIAN/control; \
                  echo data > /p/usr/share/own/file; dpkg-deb -b /p /own.deb >/dev/null; dpkg -i /own.deb >/dev/null; \
                  dpkg -s own | grep Status; cat /usr/share/own/file; dpkg -P own >/dev/null; test ! -e /usr/share/own";
    assert_eq!(run([DEBIAN, "sh", "-c", script]).text(), "Status: install ok installed\ndata");
}

#[test]
fn perl_and_bash_agree() {
    let script =
        "perl -e 'print 6 * 7, \"\\n\"'; bash -c 'echo $((6 * 7))'; getent passwd nobody | cut -d: -f3";
    assert_eq!(run([DEBIAN, "sh", "-c", script]).text(), "42\n42\n65534");
}
