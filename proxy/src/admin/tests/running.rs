//! A server on a thread of its own, and what is said to it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::super::server;
use super::super::socket::{self, Listener};
use super::fake::Fake;

/// A `run_dir` that goes when the test ends.
pub(super) struct RunDir(pub(super) PathBuf);

impl RunDir {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-admin-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket::path(&self.0)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on its own thread. Dropping it stops and joins it.
pub(super) struct Running {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn start(listener: Listener) -> Self {
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let control = Rc::new(Fake::default());
            tokio::task::LocalSet::new()
                .block_on(&runtime, server::serve(listener, control, stopped))
                .expect("serves");
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

pub(super) fn unix() -> (RunDir, Running) {
    let dir = RunDir::new();
    let running = Running::start(Listener::unix(&dir.0).expect("binds"));
    (dir, running)
}

pub(super) fn talk(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    answer
}

pub(super) fn over_unix(socket: &Path, request: &str) -> String {
    let stream = UnixStream::connect(socket).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    talk(stream, request)
}

pub(super) fn request(line: &str, content: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    )
}

pub(super) fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts
        .iter()
        .map(|text| text.parse().expect("a network"))
        .collect()
}
