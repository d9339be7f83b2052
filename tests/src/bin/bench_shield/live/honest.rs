//! An honest client and the server it speaks to: a connection counts if a byte went there and came back.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Links;
use crate::frames::PORT;
use crate::measure::leave_core;

/// How the client's connections went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Connections {
    /// Tried.
    pub(crate) tried: u32,
    /// Completed.
    pub(crate) completed: u32,
    /// Slowest of those.
    pub(crate) slowest: Duration,
}

/// Sends every byte back, until dropped.
pub(crate) struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Starts it in the server's namespace, away from `core`.
    pub(crate) fn start(links: &Links, core: usize) -> Result<Self> {
        let listener = links
            .server
            .run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)))?
            .context("listening")?;
        listener.set_nonblocking(true)?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = links.server.spawn("echo", move || {
            // Without another core to go to it shares this one.
            let _ = leave_core(core);
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    // What becomes of a connection is the client's to judge.
                    Ok((stream, _)) => drop(echo(stream)),
                    Err(_) => std::thread::sleep(Duration::from_micros(200)),
                }
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Nobody asked for its result.
            let _ = thread.join();
        }
    }
}

/// Connects `count` times, one after the other, away from `core`.
pub(crate) fn connect(links: &Links, core: usize, count: u32) -> Result<JoinHandle<Connections>> {
    links.client.spawn("client", move || {
        let _ = leave_core(core);
        let mut connections = Connections::default();
        for _ in 0..count {
            connections.tried += 1;
            let started = Instant::now();
            if exchange().is_ok() {
                connections.completed += 1;
                connections.slowest = connections.slowest.max(started.elapsed());
            }
        }
        connections
    })
}

fn exchange() -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((SERVER, PORT)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[7])?;
    stream.read_exact(&mut [0])
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    stream.write_all(&byte)
}

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 9, 1);
/// Less than the second after which a SYN is sent again.
const PATIENCE: Duration = Duration::from_millis(900);
