//! The running weir's state as the admin API tells it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::admin::api;
use crate::balance::{Health, Upstream};
use crate::http::Site;
use crate::http::worker::Counters;
use crate::net::{ListenSettings, Transport};
use crate::xdp::AttachedMode;
use crate::{clock, xdp};

use super::control::ControlPlane;
use super::guard::Guard;

/// The whole state.
pub(super) fn of(control: &ControlPlane) -> api::Status {
    let settings = control.settings.borrow();
    let site = control.shared.site.load();
    let counters = &control.counters;
    api::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        abi: weir_common::ABI_VERSION,
        pid: std::process::id(),
        uptime_seconds: clock::now()
            .saturating_duration_since(control.started)
            .as_secs_f64(),
        state: control.state.get(),
        config: control.source.path.display().to_string(),
        generation: site.generation,
        workers: counters.len(),
        shield: control
            .guard
            .as_ref()
            .map(|guard| shield_state(guard, &settings.shield)),
        attack: control.drop_rate.borrow().to_api(clock::now()),
        listeners: settings.listen.iter().map(listener).collect(),
        connections: api::Connections {
            open: counters
                .iter()
                .map(|worker| worker.open.load(Relaxed) as u64)
                .sum(),
            accepted: sum(counters.iter().map(|worker| &worker.accepted)),
            refused: sum(counters.iter().map(|worker| &worker.refused)),
        },
        upgrades: api::Upgrades {
            open: control.shared.upgrades.open() as u64,
            accepted: control.shared.upgrades.total(),
            refused: control.shared.upgrades.refused(),
        },
        tls: api::Tls {
            handshakes: sum(counters.iter().map(|worker| &worker.handshakes)),
            failed: sum(counters.iter().map(|worker| &worker.handshakes_failed)),
        },
        responses: responses(counters.iter().map(AsRef::as_ref)),
        upstreams: upstreams(&site).upstreams,
        cache: cache(control, settings.cache.memory),
        detect: api::Detect {
            rules: settings.detect.len(),
            blocks: control.detection.blocks.load(Relaxed),
            lost: control.detection.lost.load(Relaxed)
                + sum(counters.iter().map(|worker| &worker.reports_lost)),
        },
    }
}

/// Every upstream and its servers.
pub(super) fn upstreams(site: &Site) -> api::Upstreams {
    api::Upstreams {
        upstreams: site.upstreams.iter().map(|one| upstream(one)).collect(),
    }
}

fn upstream(upstream: &Upstream) -> api::Upstream {
    let now = clock::now();
    let servers = upstream.servers.iter().enumerate().map(|(index, server)| {
        let (health, ejected, reason) = match upstream.health(index, now) {
            Health::Healthy => (api::Health::Healthy, None, None),
            Health::Ejected(left) => (api::Health::Ejected, Some(left.as_secs_f64()), None),
            Health::Unhealthy(reason) => (api::Health::Unhealthy, None, Some(reason.to_string())),
            Health::Drained => (api::Health::Drained, None, None),
        };
        api::Server {
            server: server.authority.clone(),
            weight: server.settings.weight,
            health,
            ejected_for_seconds: ejected,
            reason,
            requests: server.requests.load(Relaxed),
            failures: server.failures.load(Relaxed),
            connections: server.connections.load(Relaxed) as u64,
            in_flight: server.in_flight().into(),
        }
    });
    api::Upstream {
        name: upstream.settings.name.clone(),
        servers: servers.collect(),
    }
}

fn shield_state(guard: &Guard, settings: &xdp::Settings) -> api::Shield {
    let shield = guard.shield.borrow();
    // Lists that cannot be read are reported by the commands that read them; here they count as empty.
    let census = guard.sweep.census(shield.maps()).unwrap_or_default();
    let interfaces = shield.interfaces().iter().map(|interface| api::Interface {
        name: interface.name.clone(),
        ifindex: interface.ifindex,
        mode: match interface.mode {
            AttachedMode::Native => api::Mode::Native,
            AttachedMode::Generic => api::Mode::Generic,
        },
        fallback: interface.fallback.clone(),
        program_id: interface.program_id,
        problem: shield
            .troubles()
            .find(|(name, _)| *name == interface.name)
            .map(|(_, why)| why.to_owned()),
    });
    api::Shield {
        enforcing: settings.enforce,
        pin_dir: settings.pin_dir.display().to_string(),
        interfaces: interfaces.collect(),
        blocks: census.blocks,
        allows: census.allows,
        feeds: guard.feeds.to_api(clock::now()),
    }
}

fn listener(settings: &ListenSettings) -> api::Listener {
    api::Listener {
        address: settings.address.to_string(),
        tls: settings.transport == Transport::Tls,
        http: settings.http.names().map(str::to_owned).collect(),
    }
}

fn responses<'a>(workers: impl Iterator<Item = &'a Counters>) -> api::Responses {
    let mut classes = [0; 5];
    for worker in workers {
        for (class, counter) in classes.iter_mut().zip(&worker.responses) {
            *class += counter.load(Relaxed);
        }
    }
    let [
        informational,
        successful,
        redirection,
        client_error,
        server_error,
    ] = classes;
    api::Responses {
        informational,
        successful,
        redirection,
        client_error,
        server_error,
    }
}

fn cache(control: &ControlPlane, limit_bytes: u64) -> api::Cache {
    let stats = control.shared.store.stats();
    api::Cache {
        limit_bytes,
        bytes: stats.bytes,
        responses: stats.responses,
        hits: stats.hits,
        misses: stats.misses,
        evicted: stats.evicted,
    }
}

fn sum<'a>(counters: impl Iterator<Item = &'a AtomicU64>) -> u64 {
    counters.map(|counter| counter.load(Relaxed)).sum()
}
