//! Active health checks: one task for each server, so that a slow one delays no other.

use std::rc::Rc;
use std::sync::Arc;

use super::{Context, Task};
use crate::balance::{HealthSettings, Turn, Upstream, fraction, jittered};
use crate::clock;
use crate::http::probe::{Failed, Way, probe};

/// The checks of an upstream.
pub(super) fn tasks(
    context: &Rc<Context>,
    upstream: &Arc<Upstream>,
    settings: &HealthSettings,
) -> Vec<Task> {
    (0..upstream.servers.len())
        .map(|index| {
            let (context, upstream) = (Rc::clone(context), Arc::clone(upstream));
            let settings = settings.clone();
            Task::spawn(async move { check(&context, &upstream, index, &settings).await })
        })
        .collect()
}

async fn check(
    context: &Context,
    upstream: &Arc<Upstream>,
    index: usize,
    settings: &HealthSettings,
) {
    // The first checks come soon, but not all at once.
    let first = settings.interval.min(settings.timeout);
    tokio::time::sleep(first.mul_f64(fraction(context.number()))).await;
    loop {
        let began = clock::now();
        round(context, upstream, index, settings).await;
        let next = began + jittered(settings.interval, context.number());
        tokio::time::sleep_until(next.into()).await;
    }
}

async fn round(
    context: &Context,
    upstream: &Arc<Upstream>,
    index: usize,
    settings: &HealthSettings,
) {
    // Closed never: the semaphore lives as long as the thread.
    let _one_of_few = context.probes.acquire().await;
    let server = &upstream.servers[index];
    // TLS is made anew by a reload that changes nothing of the upstream, too.
    let site = context.site.load_full();
    let Some(way) = Way::of(&site, upstream) else {
        return;
    };
    let failed = probe(server, way, settings).await.err();
    let name = &upstream.settings.name;
    if let Some(starved @ Failed::Starved) = failed {
        tracing::warn!(
            upstream = name,
            server = server.authority,
            reason = %starved,
            "health not checked"
        );
        return;
    }
    let reason = failed.map(|why| why.to_string());
    let reason = reason.as_deref();
    let outcome = reason.map_or(Ok(()), Err);
    match upstream.probed(index, outcome, clock::now()) {
        Some(Turn::Down) => tracing::warn!(
            upstream = name,
            server = server.authority,
            reason,
            "origin server unhealthy"
        ),
        Some(Turn::Up) => tracing::info!(
            upstream = name,
            server = server.authority,
            "origin server healthy again"
        ),
        None => {}
    }
}
