//! What files are to a guest.

use std::fs;

use crate::fixture::{Server, allowed};

#[test]
fn folder_is_read_and_written() {
    if !allowed() {
        return;
    }
    let mut server = Server::start();
    let source = server.source("source");
    fs::write(source.join("greeting"), "hello").unwrap();
    server.share("data", &source).unwrap();
    let mut guest = server.mount();
    assert_eq!(guest.contents("data/greeting").unwrap(), b"hello");
    let data = guest.walk("data").unwrap();
    let (file, handle) = guest.create(data.node, "new", libc::O_RDWR, 0o640).unwrap();
    assert_eq!(guest.write(file.node, handle, 0, b"from the guest", 0).unwrap(), 14);
    assert_eq!(fs::read(source.join("new")).unwrap(), b"from the guest");
    assert_eq!(guest.names(data.node).unwrap(), [".", "..", "greeting", "new"]);
}
