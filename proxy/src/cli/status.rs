//! `weir status`

use std::io;

use super::args::Format;
use super::exit::CliError;
use super::output::{Out, Tone};
use super::place::Place;
use super::table::{Align, Table, printable};
use super::units::{ago, bytes, count, duration, share};
use super::upstreams;
use crate::admin::api;

/// What the running weir says about itself.
pub(super) fn status(place: &Place, format: Format, out: &mut Out) -> Result<(), CliError> {
    let status = place.client().status()?;
    match format {
        Format::Json => out.json(&status)?,
        Format::Text => write(&status, out)?,
    }
    Ok(())
}

fn write(status: &api::Status, out: &mut Out) -> io::Result<()> {
    let state = match status.state {
        api::State::Starting => "starting",
        api::State::Serving => "serving",
        api::State::Draining => "draining",
    };
    out.line(format!(
        "weir {}, {state} for {}, process {}, {} worker(s)",
        status.version,
        duration(status.uptime_seconds),
        status.pid,
        status.workers
    ))?;
    fact(
        "configuration",
        &format!(
            "{}, generation {}",
            printable(&status.config),
            status.generation
        ),
        out,
    )?;
    shield(status, out)?;
    traffic(status, out)?;
    if !status.upstreams.is_empty() {
        out.line("")?;
        upstreams::write(&status.upstreams, out)?;
    }
    Ok(())
}

fn shield(status: &api::Status, out: &mut Out) -> io::Result<()> {
    let Some(shield) = &status.shield else {
        return fact("shield", "none ([shield] interfaces is empty)", out);
    };
    let mode = if shield.enforcing {
        "enforcing".to_owned()
    } else {
        out.tone(Tone::Alarm, "counting only, drops nothing")
    };
    fact(
        "shield",
        &format!(
            "{mode}; {} blocked, {} allowed; maps version {} in {}",
            shield.blocks, shield.allows, status.abi, shield.pin_dir
        ),
        out,
    )?;
    attack(status.attack, out)?;
    out.line("")?;
    interfaces(&shield.interfaces, out)?;
    if !shield.feeds.is_empty() {
        out.line("")?;
        feeds(&shield.feeds, out)?;
    }
    out.line("")
}

fn feeds(feeds: &[api::Feed], out: &mut Out) -> io::Result<()> {
    let mut table = Table::new([
        ("FEED", Align::Left),
        ("ENTRIES", Align::Right),
        ("READ", Align::Right),
        ("REMARK", Align::Left),
    ]);
    for feed in feeds {
        let remark = match (&feed.problem, feed.refused_lines) {
            (Some(problem), _) => format!("problem: {}", printable(problem)),
            (None, 0) => String::new(),
            (None, refused) => format!("{} line(s) refused", count(refused as u64)),
        };
        table.row([
            feed.name.clone(),
            feed.entries
                .map_or_else(|| "-".to_owned(), |entries| count(entries as u64)),
            feed.read_seconds_ago
                .map_or_else(|| "never".to_owned(), ago),
            remark,
        ]);
    }
    table.write(out)
}

fn attack(attack: api::Attack, out: &mut Out) -> io::Result<()> {
    if !attack.active {
        return fact("attack", "none", out);
    }
    let since = attack
        .active_seconds
        .map_or(String::new(), |s| format!(", for {}", duration(s)));
    let text = format!("dropping {:.0} packets/s{since}", attack.dropped_per_second);
    fact("attack", &out.tone(Tone::Alarm, &text), out)
}

fn interfaces(interfaces: &[api::Interface], out: &mut Out) -> io::Result<()> {
    let mut table = Table::new([
        ("INTERFACE", Align::Left),
        ("MODE", Align::Left),
        ("PROGRAM", Align::Right),
        ("REMARK", Align::Left),
    ]);
    for interface in interfaces {
        let mode = match interface.mode {
            api::Mode::Native => "native",
            api::Mode::Generic => "generic",
        };
        let remark = match (&interface.problem, &interface.fallback) {
            (Some(problem), _) => format!("problem: {problem}"),
            (None, Some(why)) => format!("not native: {why}"),
            (None, None) => String::new(),
        };
        table.row([
            interface.name.clone(),
            mode.to_owned(),
            interface.program_id.to_string(),
            remark,
        ]);
    }
    table.write(out)
}

fn traffic(status: &api::Status, out: &mut Out) -> io::Result<()> {
    for listener in &status.listeners {
        let transport = if listener.tls { "TLS" } else { "cleartext" };
        let text = format!(
            "{}, {transport}, HTTP/{}",
            listener.address,
            listener.http.join(" and HTTP/")
        );
        fact("listens on", &text, out)?;
    }
    let connections = status.connections;
    fact(
        "connections",
        &format!(
            "{} open, {} accepted, {} refused; TLS handshakes: {} done, {} failed",
            count(connections.open),
            count(connections.accepted),
            count(connections.refused),
            count(status.tls.handshakes),
            count(status.tls.failed)
        ),
        out,
    )?;
    if status.upgrades != api::Upgrades::default() {
        let upgrades = status.upgrades;
        let text = format!(
            "{} open, {} accepted, {} refused",
            count(upgrades.open),
            count(upgrades.accepted),
            count(upgrades.refused)
        );
        fact("upgrades", &text, out)?;
    }
    let responses = status.responses;
    fact(
        "responses",
        &format!(
            "{} 2xx, {} 3xx, {} 4xx, {} 5xx",
            count(responses.successful),
            count(responses.redirection),
            count(responses.client_error),
            count(responses.server_error)
        ),
        out,
    )?;
    let cache = status.cache;
    fact(
        "cache",
        &format!(
            "{} of {} in {} response(s), {} evicted; hit rate {} of {} look-ups",
            bytes(cache.bytes),
            bytes(cache.limit_bytes),
            count(cache.responses),
            count(cache.evicted),
            share(cache.hits, cache.hits + cache.misses),
            count(cache.hits + cache.misses)
        ),
        out,
    )?;
    fact(
        "detection",
        &format!(
            "{} rule(s), {} block(s) written, {} hit(s) lost",
            status.detect.rules,
            count(status.detect.blocks),
            count(status.detect.lost)
        ),
        out,
    )
}

/// `name` in a column of its own.
fn fact(name: &str, text: &str, out: &mut Out) -> io::Result<()> {
    out.line(format!("{name:<14} {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> api::Status {
        api::Status {
            version: "0.1.0".into(),
            abi: 1,
            pid: 42,
            uptime_seconds: 3_725.0,
            state: api::State::Serving,
            config: "/etc/weir/weir.toml".into(),
            generation: 2,
            workers: 4,
            shield: Some(api::Shield {
                enforcing: true,
                pin_dir: "/sys/fs/bpf/weir".into(),
                interfaces: vec![api::Interface {
                    name: "eth0".into(),
                    ifindex: 2,
                    mode: api::Mode::Generic,
                    fallback: Some("operation not supported".into()),
                    program_id: 77,
                    problem: None,
                }],
                blocks: 3,
                allows: 1,
                feeds: vec![api::Feed {
                    name: "drop".into(),
                    file: "/etc/weir/drop.txt".into(),
                    entries: Some(1_234),
                    read_seconds_ago: Some(60.0),
                    refused_lines: 2,
                    problem: None,
                }],
            }),
            attack: api::Attack {
                active: true,
                dropped_per_second: 1234.4,
                active_seconds: Some(65.0),
            },
            listeners: vec![api::Listener {
                address: "[::]:443".into(),
                tls: true,
                http: vec!["1.1".into(), "2".into()],
            }],
            connections: api::Connections::default(),
            tls: api::Tls::default(),
            upgrades: api::Upgrades::default(),
            responses: api::Responses {
                successful: 1_000,
                ..api::Responses::default()
            },
            upstreams: vec![],
            cache: api::Cache {
                hits: 3,
                misses: 1,
                ..api::Cache::default()
            },
            detect: api::Detect::default(),
        }
    }

    fn text(status: &api::Status) -> String {
        let (mut out, captured) = Out::capture();
        write(status, &mut out).expect("writes");
        captured.text()
    }

    #[test]
    fn status_tells_mode_attack_listeners_and_hit_rate() {
        let text = text(&status());
        for part in [
            "weir 0.1.0, serving for 1h 2m, process 42, 4 worker(s)\n",
            "shield         enforcing; 3 blocked, 1 allowed; maps version 1 in /sys/fs/bpf/weir\n",
            "attack         dropping 1234 packets/s, for 1m 5s\n",
            "eth0       generic       77  not native: operation not supported\n",
            "FEED  ENTRIES    READ  REMARK\n",
            "drop    1,234  1m ago  2 line(s) refused\n",
            "listens on     [::]:443, TLS, HTTP/1.1 and HTTP/2\n",
            "responses      1,000 2xx, 0 3xx, 0 4xx, 0 5xx\n",
            "hit rate 75.0% of 4 look-ups\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_weir_without_shield_says_so() {
        let status = api::Status {
            shield: None,
            ..status()
        };
        assert!(
            text(&status).contains("shield         none"),
            "{}",
            text(&status)
        );
    }

    #[test]
    fn a_shield_that_does_not_enforce_says_so() {
        let mut status = status();
        if let Some(shield) = &mut status.shield {
            shield.enforcing = false;
        }
        assert!(text(&status).contains("drops nothing"), "{}", text(&status));
    }
}
