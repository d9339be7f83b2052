//! A name server (RFC 1035) in the gateway's namespace, on 127.0.0.1: A and SRV records with a second to live, which tests
//! change as they go. What it does not know does not exist.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;

/// The name server. Stopped when dropped.
#[derive(Debug)]
pub struct NameServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    zone: Mutex<Zone>,
    /// What it does in place of answering.
    failure: Mutex<Option<Failure>>,
    heard: AtomicU64,
    stop: AtomicBool,
}

/// What a name server does that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Says that it failed (SERVFAIL).
    Broken,
    /// Says that the name is there, and gives no record of it.
    NoRecords,
    /// Says that there is no such name (NXDOMAIN).
    NoName,
    /// Hears queries and says nothing.
    Silence,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Broken, Self::NoRecords, Self::NoName, Self::Silence];

    /// The answer's RCODE (RFC 1035 §4.1.1).
    fn code(self) -> Option<u8> {
        match self {
            Self::Broken => Some(2),
            Self::NoRecords => Some(0),
            Self::NoName => Some(3),
            Self::Silence => None,
        }
    }
}

/// Record data by name and type.
#[derive(Debug, Default)]
struct Zone(BTreeMap<(String, u16), Vec<Vec<u8>>>);

impl NameServer {
    /// Starts answering in `namespace`.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let socket = namespace
            .run(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT)))?
            .context("the name server cannot listen")?;
        socket.set_read_timeout(Some(LOOK_UP))?;
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || theirs.serve(&socket));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// From now on `name` has these addresses.
    pub fn set_addresses(&self, name: &str, addresses: &[Ipv4Addr]) {
        let data = addresses.iter().map(|address| address.octets().to_vec());
        self.zone().0.insert((name.to_owned(), A), data.collect());
    }

    /// From now on `name` has SRV records (RFC 2782) of these hosts and ports, all of the same priority and weight.
    pub fn set_service(&self, name: &str, targets: &[(&str, u16)]) {
        let data = targets.iter().map(|(host, port)| {
            let mut data = vec![0, 0, 0, 1];
            data.extend(port.to_be_bytes());
            data.extend(labels(host));
            data
        });
        self.zone().0.insert((name.to_owned(), SRV), data.collect());
    }

    /// Answers nothing from now on, or nothing of use.
    pub fn fail(&self, failure: Failure) {
        *lock(&self.shared.failure) = Some(failure);
    }

    /// Queries that came so far.
    pub fn heard(&self) -> u64 {
        self.shared.heard.load(Ordering::Relaxed)
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        lock(&self.shared.zone)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the name server does not panic");
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut datagram = [0; 512];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, client)) = socket.recv_from(&mut datagram) else {
                continue;
            };
            self.heard.fetch_add(1, Ordering::Relaxed);
            if let Some(answer) = self.answer(&datagram[..length]) {
                // Who asked may be gone.
                let _ = socket.send_to(&answer, client);
            }
        }
    }

    /// To a query with one question; `None` for anything else.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = name(query.get(12..)?)?;
        let question = query.get(12..12 + end + 4)?;
        let kind = u16::from_be_bytes([question[end], question[end + 1]]);
        let zone = lock(&self.zone);
        let failure = *lock(&self.failure);
        let (code, records) = if let Some(failure) = failure {
            (failure.code()?, None)
        } else {
            let exists = zone.0.keys().any(|(known, _)| *known == name);
            (if exists { 0 } else { 3 }, zone.0.get(&(name, kind)))
        };
        let count = u16::try_from(records.map_or(0, Vec::len)).ok()?;
        let mut answer = query.get(..2)?.to_vec();
        // A response, recursion desired and available.
        answer.extend([0x81, 0x80 | code, 0, 1]);
        answer.extend(count.to_be_bytes());
        answer.extend([0, 0, 0, 0]);
        answer.extend(question);
        for data in records.into_iter().flatten() {
            // The name: where it stands in the question.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(TTL_SECONDS.to_be_bytes());
            answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }
}

/// The name that `question` begins with, in lower case, and its length in bytes.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = 0;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = question.get(at..at + length)?;
        labels.push(std::str::from_utf8(label).ok()?.to_ascii_lowercase());
        at += length;
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label has at most 63 bytes"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

const PORT: u16 = 53;
const A: u16 = 1;
const SRV: u16 = 33;
const TTL_SECONDS: u32 = 1;
/// How often the server looks whether it is to stop.
const LOOK_UP: Duration = Duration::from_millis(50);
