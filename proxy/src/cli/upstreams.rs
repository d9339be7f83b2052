//! `weir upstreams`

use std::io;

use super::args::Format;
use super::exit::CliError;
use super::output::{Out, Tone};
use super::place::Place;
use super::table::{Align, Table};
use super::units;
use crate::admin::api;

/// Every upstream and its servers.
pub(super) fn upstreams(place: &Place, format: Format, out: &mut Out) -> Result<(), CliError> {
    let upstreams = place.client().upstreams()?;
    match format {
        Format::Json => out.json(&upstreams)?,
        Format::Text => write(&upstreams.upstreams, out)?,
    }
    Ok(())
}

/// As a table; also part of `weir status`.
pub(super) fn write(upstreams: &[api::Upstream], out: &mut Out) -> io::Result<()> {
    let total: u64 = upstreams
        .iter()
        .flat_map(|u| &u.servers)
        .map(|s| s.requests)
        .sum();
    let mut table = Table::new([
        ("UPSTREAM", Align::Left),
        ("SERVER", Align::Left),
        ("WEIGHT", Align::Right),
        ("REQUESTS", Align::Right),
        ("SHARE", Align::Right),
        ("FAILURES", Align::Right),
        ("OPEN", Align::Right),
        ("HEALTH", Align::Left),
    ]);
    let mut out_of_use = 0;
    for upstream in upstreams {
        for server in &upstream.servers {
            out_of_use += usize::from(server.health != api::Health::Healthy);
            table.row([
                upstream.name.clone(),
                server.server.clone(),
                server.weight.to_string(),
                units::count(server.requests),
                units::share(server.requests, total),
                units::count(server.failures),
                units::count(server.connections),
                health(server),
            ]);
        }
    }
    table.write(out)?;
    if out_of_use > 0 {
        out.line(out.tone(Tone::Alarm, &format!("{out_of_use} server(s) left out")))?;
    }
    Ok(())
}

fn health(server: &api::Server) -> String {
    match server.health {
        api::Health::Healthy => "healthy".to_owned(),
        api::Health::Drained => "drained".to_owned(),
        api::Health::Ejected => server.ejected_for_seconds.map_or_else(
            || "ejected".to_owned(),
            |left| format!("ejected, {} left", units::duration(left)),
        ),
        api::Health::Unhealthy => server.reason.as_ref().map_or_else(
            || "unhealthy".to_owned(),
            |reason| format!("unhealthy: {reason}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, requests: u64, ejected_for_seconds: Option<f64>) -> api::Server {
        api::Server {
            server: name.into(),
            weight: 1,
            health: ejected_for_seconds.map_or(api::Health::Healthy, |_| api::Health::Ejected),
            ejected_for_seconds,
            reason: None,
            requests,
            failures: 0,
            connections: 2,
            in_flight: 0,
        }
    }

    #[test]
    fn servers_show_their_share_and_how_long_they_are_left_out() {
        let upstream = api::Upstream {
            name: "app".into(),
            servers: vec![
                server("10.0.0.11:8080", 3_000, None),
                server("10.0.0.12:8080", 1_000, Some(12.0)),
            ],
        };
        let (mut out, captured) = Out::capture();
        write(&[upstream], &mut out).expect("writes");
        assert_eq!(
            captured.text(),
            "UPSTREAM  SERVER          WEIGHT  REQUESTS  SHARE  FAILURES  OPEN  HEALTH\n\
             app       10.0.0.11:8080       1     3,000  75.0%         0     2  healthy\n\
             app       10.0.0.12:8080       1     1,000  25.0%         0     2  ejected, 12s left\n\
             1 server(s) left out\n"
        );
    }
}
