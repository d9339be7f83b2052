//! What weir stores and how it says so (RFC 9111, RFC 9211).

use anyhow::ensure;
use weir_lab::topology::{client_v4, client_v6};
use weir_lab::{Config, Lab, Origin, Protocol, Weir, within};

use crate::{SOON, Test};

#[test]
fn a_fresh_response_is_served_from_the_store_to_everyone() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let asked = || lab.origins.iter().map(Origin::requests).sum::<u64>();

    let first = lab.get(client_v4(0), Protocol::Http1, "/static/a")?;
    ensure!(!first.is_hit(), "{first:?}");
    let status = first.field("cache-status");
    ensure!(
        status.starts_with("weir;") && status.contains("fwd=uri-miss"),
        "{status}"
    );
    // The store is filled when the content has gone by.
    within(SOON, "the response to be stored", || {
        let again = lab.get(client_v4(0), Protocol::Http1, "/static/a")?;
        Ok(again.is_hit().then_some(()))
    })?;

    let before = asked();
    for (source, protocol) in [
        (client_v4(1), Protocol::Http1),
        (client_v4(2), Protocol::Http2),
        (client_v6(0), Protocol::Http2),
    ] {
        let hit = lab.get(source, protocol, "/static/a")?;
        ensure!(hit.status == 200 && hit.is_hit(), "{source}: {hit:?}");
        ensure!(hit.content == first.content, "{source}: {hit:?}");
        ensure!(hit.field("age").parse::<u64>().is_ok(), "{source}: {hit:?}");
    }
    ensure!(
        asked() == before,
        "an origin was asked for a stored response"
    );

    let status = weir.json(&["status"])?;
    ensure!(status["cache"]["hits"].as_u64() >= Some(3), "{status}");
    ensure!(status["cache"]["responses"] == 1, "{status}");
    Ok(())
}

#[test]
fn what_says_nothing_about_freshness_is_not_stored() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &Config::default())?;
    let asked = || lab.origins.iter().map(Origin::requests).sum::<u64>();
    let before = asked();
    for _ in 0..3 {
        let answer = lab.get(client_v4(0), Protocol::Http2, "/page")?;
        ensure!(!answer.is_hit(), "{answer:?}");
    }
    ensure!(asked() == before + 3);
    Ok(())
}
