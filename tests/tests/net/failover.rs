//! Origins that die and come back.

use std::time::Duration;

use anyhow::ensure;
use weir_lab::topology::{client_v4, origin_url};
use weir_lab::{Config, Lab, Load, LoadPlan, Protocol, Weir, until};

use crate::{SOON, Test};

/// Everything to both origins; a dead one is left out for a second.
fn config() -> Config {
    Config {
        site: format!(
            r#"[[upstream]]
name = "app"
servers = ["{}", "{}"]
eject = {{ failures = 1, for = "1s" }}

[[route]]
path = "/"
upstream = "app"
"#,
            origin_url(1),
            origin_url(2)
        ),
        ..Config::default()
    }
}

#[test]
fn no_client_sees_an_error_when_an_origin_dies_and_comes_back() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &config())?;
    let plan = LoadPlan {
        clients: (0..4)
            .map(|i| lab.client(client_v4(i), Protocol::ALL[usize::from(i) % 2]))
            .collect::<anyhow::Result<_>>()?,
        paths: vec!["/".into()],
        pace: Duration::from_millis(5),
        requests_per_connection: 50,
        most_requests: 10_000,
    };
    let load = Load::start(&lab.clients, plan)?;
    let answered_by = |origin: &str| load.peek().origins.get(origin).copied().unwrap_or(0);
    until(SOON, "both origins to answer", || {
        Ok(answered_by("origin-1") > 50 && answered_by("origin-2") > 50)
    })?;
    lab.origins[1].stop();
    let before = answered_by("origin-1");
    until(SOON, "the other origin to carry on", || {
        Ok(answered_by("origin-1") > before + 100)
    })?;
    let upstreams = weir.json(&["upstreams"])?;
    let servers = &upstreams["upstreams"][0]["servers"];
    ensure!(servers[1]["failures"].as_u64() > Some(0), "{upstreams}");

    lab.origins[1].resume()?;
    let before = answered_by("origin-2");
    until(SOON, "the origin that came back to get requests", || {
        Ok(answered_by("origin-2") > before + 50)
    })?;
    let stats = load.finish()?;
    ensure!(stats.failed == 0, "{:?}", stats.failures);
    Ok(())
}

#[test]
fn without_any_origin_the_answer_says_what_is_wrong_and_by_whom() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &config())?;
    for origin in &lab.origins {
        origin.stop();
    }
    for protocol in Protocol::ALL {
        let answer = lab.get(client_v4(0), protocol, "/")?;
        ensure!(matches!(answer.status, 502 | 503), "{answer:?}");
        let why = answer.field("proxy-status");
        ensure!(why.starts_with("weir"), "{answer:?}");
        ensure!(why.contains("error="), "{answer:?}");
        ensure!(!why.contains("10.77."), "tells the origin's address: {why}");
    }
    Ok(())
}
