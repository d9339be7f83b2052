//! The detection thread: adds up what workers report and writes the blocks that follow into the kernel.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::clock;
use crate::config::Settings;
use crate::detect::{BlockDecision, Detector};
use crate::http::Site;
use crate::http::worker::Report;
use crate::xdp::{Inserted, List, Maps};

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
        .spawn(move || {
            // A panic is our own fault and must not leave weir without detection: it counts on from nothing.
            while catch_unwind(AssertUnwindSafe(|| {
                run(&inbox, &site, maps.as_ref(), &tally);
            }))
            .is_err()
            {
                tracing::error!("detection panicked; its counts start anew");
            }
        })
        .context("cannot start the detection thread")?;
    Ok(kept)
}

fn run(inbox: &Receiver<Report>, site: &ArcSwap<Site>, maps: Option<&Maps>, tally: &Tally) {
    // The site since which the rules are the same: a reload that leaves them alone lets no count and no offender go.
    let mut since = site.load_full();
    let mut detector = Detector::new(&since.rules, clock::now());
    while let Ok(report) = inbox.recv() {
        let newest = site.load_full();
        if !Arc::ptr_eq(&newest.rules, &since.rules) {
            since = newest;
            detector = Detector::new(&since.rules, clock::now());
        }
        if report.generation < since.generation {
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
    if let Some(why) = spared(*network, own_addresses()) {
        tracing::warn!(%rule, %network, %reason, "offence, not blocked: {why}");
        return;
    }
    let now_ns = clock::kernel_now_ns();
    match maps.is_allowed(*network, now_ns) {
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
        Ok(Inserted::Kept { origin, .. }) => {
            let by = origin.as_str();
            tracing::info!(%rule, %network, %reason, by, "offence, blocked already for longer");
        }
        Ok(Inserted::Added) => {
            tally.blocks.fetch_add(1, Relaxed);
            tracing::warn!(%rule, %network, seconds = duration.as_secs(), %reason, "blocked");
        }
        Err(error) => {
            tracing::error!(%rule, %network, %error, hint = %error.hint, "cannot block");
        }
    }
}

/// Why detection leaves `network` alone, if it does: blocking it would cut this host off from itself (a health check on
/// the host hits a rule) or from its neighbours and routers (an IPv6 block is a /64, and neighbour discovery comes from
/// addresses in it). Such offenders are for a person to block, by address.
fn spared(network: IpNet, mut own: impl Iterator<Item = IpAddr>) -> Option<&'static str> {
    if network.addr().is_loopback() || own.any(|address| network.contains(&address)) {
        return Some("this host's own address or network");
    }
    match network {
        IpNet::V6(v6) if v6.addr().is_unicast_link_local() => {
            Some("link-local, where the routers are")
        }
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}

/// The addresses of every interface; none if the kernel does not say.
fn own_addresses() -> impl Iterator<Item = IpAddr> {
    nix::ifaddrs::getifaddrs()
        .into_iter()
        .flatten()
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_itself_and_the_links_it_is_on_are_spared() {
        let own = ["192.0.2.1", "2001:db8:1::1", "::1", "127.0.0.1"];
        for (network, is_spared) in [
            ("127.0.0.1/32", true),
            ("127.8.9.1/32", true),
            ("::/64", true), // The /64 of ::1.
            ("192.0.2.1/32", true),
            ("192.0.2.2/32", false),
            ("2001:db8:1::/64", true),
            ("2001:db8:2::/64", false),
            ("fe80::/64", true),
            ("169.254.1.1/32", false),
        ] {
            let own = own.map(|address| address.parse().expect("an address"));
            let decided = spared(network.parse().expect("a network"), own.into_iter());
            assert_eq!(decided.is_some(), is_spared, "{network}");
        }
    }

    #[test]
    fn the_loopback_address_is_among_the_hosts_own() {
        assert!(own_addresses().any(|address| address.is_loopback()));
    }
}
