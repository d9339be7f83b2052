//! Honest (or abusive) clients at work: many connections on one thread inside a namespace, counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::{Answer, Client, Connection};
use crate::namespace::Namespace;

/// What each client does, over and over.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The clients; each works on its own.
    pub clients: Vec<Client>,
    /// Paths to get, in turn.
    pub paths: Vec<String>,
    /// Time from the start of one request of a client to the start of its next.
    pub pace: Duration,
    /// Requests on one connection before a new one is made.
    pub requests_per_connection: u32,
    /// After this many requests of each client it stops by itself.
    pub most_requests: u32,
}

/// What became of the requests.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Answered with a status below 400.
    pub succeeded: u64,
    /// Everything else.
    pub failed: u64,
    /// Failures by what went wrong; at most sixteen kinds, the rest under `other`.
    pub failures: BTreeMap<String, u64>,
    /// Answers by origin, without those that weir took from its store.
    pub origins: BTreeMap<String, u64>,
    /// Answers that weir took from its store.
    pub hits: u64,
    /// Latency of every success in microseconds, a new connection's handshakes included. Bounded by the plan's
    /// `most_requests` times its clients.
    pub latencies_us: Vec<u32>,
}

impl Stats {
    /// Adds `other`'s counts to these.
    pub fn add(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.hits += other.hits;
        for (mine, theirs) in [
            (&mut self.failures, &other.failures),
            (&mut self.origins, &other.origins),
        ] {
            for (key, count) in theirs {
                *mine.entry(key.clone()).or_default() += count;
            }
        }
        self.latencies_us.extend(&other.latencies_us);
    }

    /// Requests that ended.
    pub fn total(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// Successes in percent; 100 when there were no requests.
    pub fn success_percent(&self) -> f64 {
        if self.total() == 0 {
            return 100.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let share = self.succeeded as f64 / self.total() as f64;
        share * 100.0
    }

    /// The latency that `percent` of the successes did not exceed; `None` without successes.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        let us = sorted.get(rank - 1)?;
        Some(Duration::from_micros((*us).into()))
    }

    fn record(&mut self, result: &Result<Answer>, took: Duration) {
        match result {
            Ok(answer) if answer.status < 400 => {
                self.succeeded += 1;
                if answer.is_hit() {
                    self.hits += 1;
                } else {
                    *self.origins.entry(answer.origin()).or_default() += 1;
                }
                let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
                self.latencies_us.push(us);
            }
            Ok(answer) => self.fail(format!("status {}", answer.status)),
            Err(error) => self.fail(format!("{error:#}")),
        }
    }

    fn fail(&mut self, why: String) {
        self.failed += 1;
        let known = self.failures.len() < KINDS_OF_FAILURE || self.failures.contains_key(&why);
        let kind = if known { why } else { "other".to_owned() };
        *self.failures.entry(kind).or_default() += 1;
    }
}

/// Clients at work on a thread of their own. Dropping it stops them.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    stats: Mutex<Stats>,
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Starts `plan` inside `namespace`.
    pub fn start(namespace: &Namespace, plan: LoadPlan) -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = namespace.spawn("load", move || {
            crate::client::blocking(async {
                let mut tasks = tokio::task::JoinSet::new();
                for (index, client) in plan.clients.iter().enumerate() {
                    let (client, plan) = (client.clone(), plan.clone());
                    tasks.spawn(work(index, client, plan, Arc::clone(&theirs)));
                }
                while tasks.join_next().await.transpose()?.is_some() {}
                Ok(())
            })
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Takes out what was counted since the last call.
    pub fn take(&self) -> Stats {
        std::mem::take(&mut *self.shared.stats())
    }

    /// A look at what was counted since the last [`take`](Self::take).
    pub fn peek(&self) -> Stats {
        self.shared.stats().clone()
    }

    /// Lets every request under way end, and returns what was counted since the last [`take`](Self::take).
    pub fn finish(mut self) -> Result<Stats> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load thread does not panic")?;
        }
        Ok(self.take())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its counts are lost anyway, and a panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

async fn work(index: usize, client: Client, plan: LoadPlan, shared: Arc<Shared>) {
    let mut connection = None;
    let mut next = tokio::time::Instant::now();
    for number in 0..plan.most_requests {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        if number % plan.requests_per_connection == 0 {
            connection = None;
        }
        let path = &plan.paths[(index + number as usize) % plan.paths.len()];
        let started = Instant::now();
        let result = request(&client, &mut connection, path).await;
        shared.stats().record(&result, started.elapsed());
        // A client that fell behind does not catch up with a burst.
        next = (next + plan.pace).max(tokio::time::Instant::now());
        tokio::time::sleep_until(next).await;
    }
}

/// On the open connection, or on a new one; a connection that failed is not used again.
async fn request(
    client: &Client,
    connection: &mut Option<Connection>,
    path: &str,
) -> Result<Answer> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => client.connect().await?,
    };
    let answer = open.get(path).await?;
    *connection = Some(open);
    Ok(answer)
}

/// Failures that are told apart.
const KINDS_OF_FAILURE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_values_recorded() {
        let stats = Stats {
            latencies_us: (1..=100).rev().collect(),
            ..Stats::default()
        };
        let us = |percent| stats.percentile(percent).map(|d| d.as_micros());
        assert_eq!((us(50), us(99), us(100)), (Some(50), Some(99), Some(100)));
        assert_eq!(Stats::default().percentile(50), None);
    }

    #[test]
    fn kinds_of_failure_are_bounded() {
        let mut stats = Stats::default();
        for kind in 0..100 {
            stats.fail(format!("kind {kind}"));
        }
        assert_eq!(stats.failed, 100);
        assert_eq!(stats.failures.len(), KINDS_OF_FAILURE + 1);
    }
}
