//! A bounded packet generator: raw frames through an `AF_PACKET` socket, counted exactly, paced, with an end in packets
//! and in time. Sources outside the lab's own and the ranges reserved for such use are refused.

mod generator;

use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid;

use crate::frame::Kind;
use crate::namespace::Namespace;
use crate::topology::{BOTNET_V4, BOTNET_V6, SPOOFED_V4, SPOOFED_V6};
use crate::wait;

use generator::{Generator, open_socket};

/// Where the packets of a flood say they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// These, in turn.
    Listed(Vec<IpAddr>),
    /// Pseudo-random addresses of this prefix; the same ones each time, tens of thousands of them.
    Within(IpNet),
}

/// What to send, from the attackers' link to the gateway's address there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flood {
    /// Each in turn.
    pub kinds: Vec<Kind>,
    /// Each in turn.
    pub sources: Vec<Sources>,
    /// Packets in total; at most [`MOST_PACKETS`].
    pub packets: u64,
    /// Packets per second; `None` = as fast as it goes.
    pub rate: Option<u64>,
    /// Core to stay on; `None` = any.
    pub core: Option<usize>,
    /// Ends then even if not everything was sent; at most [`LONGEST`].
    pub deadline: Duration,
}

/// How a flood ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Frames that the kernel took.
    pub sent: u64,
    /// Time from the first to the last.
    pub took: Duration,
}

impl Flood {
    /// `packets` SYNs to the HTTPS port from `sources`.
    pub fn syns(sources: Sources, packets: u64) -> Self {
        Self {
            kinds: vec![Kind::Syn { port: 443 }],
            sources: vec![sources],
            packets,
            rate: None,
            core: None,
            deadline: LONGEST,
        }
    }

    /// Sends everything, in bursts of at most [`BURST`] frames, and after each waits until `arrived` returns what it did
    /// at the start plus what was sent: no ring on the way can overflow, so what was sent is what the gateway got.
    pub fn send_counted(
        &self,
        attackers: &Namespace,
        mut arrived: impl FnMut() -> Result<u64>,
    ) -> Result<Report> {
        self.check()?;
        let started = Instant::now();
        let before = arrived()?;
        let mut generator = attackers.run(|| Generator::open(self))??;
        let mut sent = 0;
        while sent < self.packets {
            let burst = (self.packets - sent).min(BURST as u64);
            let mut left = usize::try_from(burst).expect("at most BURST");
            while left > 0 {
                left -= generator.burst(left)?;
            }
            sent += burst;
            let limit = self.deadline.saturating_sub(started.elapsed());
            wait::until(limit, "the burst to arrive at the gateway", || {
                Ok(arrived()? >= before + sent)
            })?;
        }
        Ok(Report {
            sent,
            took: started.elapsed(),
        })
    }

    /// Starts sending on a thread of its own.
    pub fn start(self, attackers: &Namespace) -> Result<Flooding> {
        self.check()?;
        let progress = Arc::<Progress>::default();
        let theirs = Arc::clone(&progress);
        let thread = attackers.spawn("flood", move || self.run(&theirs))?;
        Ok(Flooding {
            progress,
            thread: Some(thread),
        })
    }

    fn run(&self, progress: &Progress) -> Result<Report> {
        if let Some(core) = self.core {
            let mut cores = CpuSet::new();
            cores.set(core)?;
            sched_setaffinity(Pid::from_raw(0), &cores)?;
        }
        let mut generator = Generator::open(self)?;
        let started = Instant::now();
        let mut sent: u64 = 0;
        while sent < self.packets
            && started.elapsed() < self.deadline
            && !progress.stop.load(Ordering::Relaxed)
        {
            let due = self.due(started.elapsed());
            if due <= sent {
                std::thread::sleep(PACING_STEP);
                continue;
            }
            let burst = (due - sent).min(BURST as u64);
            sent += generator.burst(usize::try_from(burst).expect("at most BURST"))? as u64;
            progress.sent.store(sent, Ordering::Relaxed);
        }
        Ok(Report {
            sent,
            took: started.elapsed(),
        })
    }

    /// Packets that should have been sent after `elapsed`.
    fn due(&self, elapsed: Duration) -> u64 {
        let due = self.rate.map_or(u128::MAX, |rate| {
            elapsed.as_micros() * u128::from(rate) / 1_000_000
        });
        u64::try_from(due).unwrap_or(u64::MAX).min(self.packets)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            !self.kinds.is_empty() && !self.sources.is_empty(),
            "a flood of nothing"
        );
        ensure!(
            self.packets <= MOST_PACKETS,
            "more than {MOST_PACKETS} packets"
        );
        ensure!(self.deadline <= LONGEST, "longer than {LONGEST:?}");
        let own = [
            SPOOFED_V4,
            SPOOFED_V6,
            BOTNET_V4,
            BOTNET_V6,
            ATTACKERS_V4,
            ATTACKERS_V6,
        ]
        .map(|net| net.parse::<IpNet>().expect("constants are prefixes"));
        for sources in &self.sources {
            let nets = match sources {
                Sources::Within(net) => vec![*net],
                Sources::Listed(list) => list.iter().copied().map(IpNet::from).collect(),
            };
            ensure!(!nets.is_empty(), "a flood from nowhere");
            for net in nets {
                ensure!(
                    own.iter().any(|range| range.contains(&net)),
                    "{net} is not a source that the lab may use"
                );
            }
        }
        Ok(())
    }
}

/// A flood under way. Dropping it ends it.
#[derive(Debug)]
pub struct Flooding {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<Result<Report>>>,
}

#[derive(Debug, Default)]
struct Progress {
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Flooding {
    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.progress.sent.load(Ordering::Relaxed)
    }

    /// Ends it now.
    pub fn stop(self) -> Result<Report> {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits for its own end.
    pub fn finish(mut self) -> Result<Report> {
        let thread = self.thread.take().expect("taken only here and on drop");
        thread.join().expect("the generator does not panic")
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Nobody asked for its result.
            let _ = thread.join();
        }
    }
}

/// Sends `frames` from the attackers' link as they are.
pub fn send_frames(attackers: &Namespace, frames: &[Vec<u8>]) -> Result<()> {
    attackers.run(|| {
        let socket = open_socket()?;
        frames.iter().try_for_each(|frame| {
            let length = send(socket.as_raw_fd(), frame, MsgFlags::empty())?;
            ensure!(length == frame.len(), "the frame was cut");
            Ok(())
        })
    })?
}

/// Most packets of one flood.
pub const MOST_PACKETS: u64 = 50_000_000;
/// Longest flood.
pub const LONGEST: Duration = Duration::from_mins(1);
/// Frames in one system call: half of what a veth ring holds.
pub const BURST: usize = 128;
const PACING_STEP: Duration = Duration::from_micros(200);
const ATTACKERS_V4: &str = "10.77.2.0/24";
const ATTACKERS_V6: &str = "fd77:0:0:2::/64";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_outside_the_lab_and_the_reserved_ranges_are_refused() {
        for (sources, allowed) in [
            ("198.18.0.0/15", true),
            ("198.19.255.0/24", true),
            ("198.16.0.0/14", false),
            ("2001:db8:1::/48", true),
            ("10.77.2.128/25", true),
            ("10.77.1.0/24", false),
            ("192.0.2.0/24", false),
        ] {
            let net = sources.parse().expect("a prefix");
            let flood = Flood::syns(Sources::Within(net), 1);
            assert_eq!(flood.check().is_ok(), allowed, "{sources}");
        }
    }

    #[test]
    fn pacing_never_asks_for_more_than_the_total() {
        let flood = Flood {
            rate: Some(1000),
            ..Flood::syns(Sources::Within(SPOOFED_V4.parse().expect("a prefix")), 500)
        };
        assert_eq!(flood.due(Duration::from_millis(100)), 100);
        assert_eq!(flood.due(Duration::from_secs(10)), 500);
    }
}
