//! The detection thread: adds up what workers report and writes the blocks that follow into the kernel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;

use anyhow::Context as _;
use arc_swap::ArcSwap;

use crate::clock;
use crate::config::Settings;
use crate::detect::{BlockDecision, Detector};
use crate::http::Site;
use crate::http::worker::Report;
use crate::xdp::{List, Maps};

/// What detection did since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Blocks written.
    pub(super) blocks: AtomicU64,
    /// Hits that were not counted because a bound was reached.
    pub(super) lost: AtomicU64,
}

/// Starts the thread. It ends when the last worker has dropped its end of the queue.
pub(super) fn start(
    inbox: Receiver<Report>,
    site: Arc<ArcSwap<Site>>,
    settings: &Settings,
    guarded: bool,
) -> anyhow::Result<Arc<Tally>> {
    let maps = guarded
        .then(|| Maps::open(&settings.shield.pin_dir))
        .transpose()?;
    let tally = Arc::new(Tally::default());
    let kept = Arc::clone(&tally);
    std::thread::Builder::new()
        .name("detect".to_owned())
        .spawn(move || run(&inbox, &site, maps.as_ref(), &tally))
        .context("cannot start the detection thread")?;
    Ok(kept)
}

fn run(inbox: &Receiver<Report>, site: &ArcSwap<Site>, maps: Option<&Maps>, tally: &Tally) {
    let mut current = site.load_full();
    let mut detector = Detector::new(&current.rules, clock::now());
    while let Ok(report) = inbox.recv() {
        let newest = site.load_full();
        if newest.generation != current.generation {
            current = newest;
            detector = Detector::new(&current.rules, clock::now());
        }
        if report.generation != current.generation {
            continue; // Its rule indices mean other rules; one report is 25 ms of counts.
        }
        let now = clock::now();
        for (rule, source, hits) in report.hits {
            if let Some(decision) = detector.observe(rule, source, hits, now) {
                carry_out(&decision, maps, tally);
            }
        }
        tally.lost.store(detector.untracked(), Relaxed);
    }
}

/// Writes one block into the kernel and says so.
fn carry_out(decision: &BlockDecision, maps: Option<&Maps>, tally: &Tally) {
    let BlockDecision {
        rule,
        network,
        duration,
        reason,
    } = decision;
    let Some(maps) = maps else {
        tracing::warn!(%rule, %network, %reason, "offence, not blocked: no shield");
        return;
    };
    let now_ns = clock::kernel_now_ns();
    match is_allowed(maps, decision, now_ns) {
        Ok(true) => {
            tracing::warn!(%rule, %network, %reason, "offence, not blocked: allowlisted");
            return;
        }
        Ok(false) => {}
        Err(error) => tracing::error!(%error, hint = %error.hint, "cannot read the allowlist"),
    }
    let origin = format!("detect:{rule}");
    match maps.insert(
        List::Block,
        *network,
        Some(*duration),
        &origin,
        reason,
        now_ns,
    ) {
        Ok(()) => {
            tally.blocks.fetch_add(1, Relaxed);
            tracing::warn!(%rule, %network, seconds = duration.as_secs(), %reason, "blocked");
        }
        Err(error) => {
            tracing::error!(%rule, %network, %error, hint = %error.hint, "cannot block");
        }
    }
}

fn is_allowed(
    maps: &Maps,
    decision: &BlockDecision,
    now_ns: u64,
) -> Result<bool, crate::xdp::ShieldError> {
    Ok(maps
        .entries(List::Allow, now_ns)?
        .iter()
        .any(|allowed| allowed.network.contains(&decision.network)))
}
