//! `weir drain`: finds the server that is meant.

use crate::admin::{Failure, FailureKind, api};
use crate::balance::Upstream;
use crate::clock;
use crate::http::Site;

/// Leaves a server out, or takes it in again.
pub(super) fn set(
    site: &Site,
    request: &api::DrainRequest,
    drained: bool,
) -> Result<api::Drained, Failure> {
    let upstream = site
        .upstreams
        .iter()
        .find(|upstream| upstream.settings.name == request.upstream)
        .ok_or_else(|| {
            let names = site.upstreams.iter().map(|one| one.settings.name.as_str());
            let names: Vec<_> = names.collect();
            not_found(
                format!("there is no upstream `{}`", request.upstream),
                format!("upstreams: {}", names.join(", ")),
            )
        })?;
    let index = find(upstream, &request.server)?;
    let changed = upstream.drain(index, drained, clock::now());
    let server = &upstream.servers[index];
    if changed {
        let news = if drained { "drained" } else { "undrained" };
        tracing::info!(
            upstream = upstream.settings.name,
            server = server.authority,
            "origin server {news} from the command line"
        );
    }
    Ok(api::Drained {
        upstream: upstream.settings.name.clone(),
        server: server.authority.clone(),
        drained,
        changed,
        in_flight: server.in_flight().into(),
    })
}

/// By `host:port`, or by the host if that is enough.
fn find(upstream: &Upstream, name: &str) -> Result<usize, Failure> {
    let servers = &upstream.servers;
    if let Some(index) = servers.iter().position(|server| server.authority == name) {
        return Ok(index);
    }
    let mut of_host = servers
        .iter()
        .enumerate()
        .filter(|(_, server)| server.settings.host == name);
    match (of_host.next(), of_host.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some(_), Some(_)) => Err(not_found(
            format!("`{name}` is more than one server"),
            "name its port, too",
        )),
        (None, _) => Err(not_found(
            format!(
                "upstream `{}` has no server `{name}`",
                upstream.settings.name
            ),
            "`weir upstreams` shows them",
        )),
    }
}

fn not_found(error: String, hint: impl Into<String>) -> Failure {
    Failure::new(FailureKind::NotFound, error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{Scheme, Secret, ServerSettings, UpstreamSettings};

    #[test]
    fn a_server_is_found_by_its_authority_or_by_a_host_that_is_unique() {
        let servers = [("a", 80), ("b", 80), ("b", 81)].map(|(host, port)| ServerSettings {
            scheme: Scheme::Http,
            host: host.into(),
            port,
            weight: 1,
        });
        let settings = UpstreamSettings::new("app", servers.to_vec());
        let upstream = Upstream::new(settings, Secret::new([7; 16]), clock::now());
        for (name, index) in [
            ("a:80", Some(0)),
            ("a", Some(0)),
            ("b:81", Some(2)),
            ("b", None),
            ("c", None),
        ] {
            assert_eq!(find(&upstream, name).ok(), index, "{name}");
        }
    }
}
