//! The socket in the file system.

use std::os::unix::fs::PermissionsExt;

use super::super::client::Client;
use super::super::socket::{BindErrorKind, Listener};
use super::running::{RunDir, Running, unix};

#[test]
fn the_socket_has_its_mode_and_goes_with_the_server() {
    let (dir, running) = unix();
    let mode = std::fs::metadata(dir.socket())
        .expect("is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(running);
    assert!(!dir.socket().exists());
}

#[test]
fn a_stale_socket_is_replaced() {
    let dir = RunDir::new();
    std::fs::create_dir_all(&dir.0).expect("a directory");
    drop(std::os::unix::net::UnixListener::bind(dir.socket()).expect("binds"));
    let _running = Running::start(Listener::unix(&dir.0).expect("replaces it"));
    Client::new(&dir.0).status().expect("answers");
}

#[test]
fn a_directory_in_use_is_refused() {
    let (dir, _running) = unix();
    let error = Listener::unix(&dir.0).expect_err("locked");
    assert_eq!(error.kind, BindErrorKind::Running);
    Client::new(&dir.0)
        .status()
        .expect("the first one still answers");
}

#[test]
fn a_socket_that_someone_else_answers_on_is_left_alone() {
    let dir = RunDir::new();
    std::fs::create_dir_all(&dir.0).expect("a directory");
    let _other = std::os::unix::net::UnixListener::bind(dir.socket()).expect("binds");
    let error = Listener::unix(&dir.0).expect_err("taken");
    assert_eq!(error.kind, BindErrorKind::Running);
    assert!(dir.socket().exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = RunDir::new();
    std::fs::create_dir_all(&dir.0).expect("a directory");
    std::fs::write(dir.socket(), "precious").expect("writes");
    let error = Listener::unix(&dir.0).expect_err("no socket");
    assert!(error.message.contains("no socket"), "{error}");
    assert!(dir.socket().exists());
}
