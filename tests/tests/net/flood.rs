//! Floods that the shield drops, counted to the packet.

use std::time::Duration;

use anyhow::ensure;
use weir_lab::topology::{
    ATTACKER_SIDE, BOTNET_V4, BOTNET_V6, SPOOFED_V4, SPOOFED_V6, attacker_v4, client_v4, client_v6,
};
use weir_lab::{Config, Flood, Kind, Lab, Load, LoadPlan, Protocol, Sources, Weir, until};

use crate::{SOON, Test};

#[test]
fn every_packet_of_a_flood_from_blocked_sources_is_dropped_and_counted() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        shield: format!("block = [\"{SPOOFED_V4}\", \"{SPOOFED_V6}\", \"{BOTNET_V6}\"]\n"),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &config)?;
    weir.ok(&["block", BOTNET_V4, "--reason", "botnet"])?;
    let attacker = attacker_v4(3).to_string();
    weir.ok(&["block", &attacker])?;

    for (sources, kind) in [
        (
            Sources::Within(SPOOFED_V4.parse()?),
            Kind::Syn { port: 443 },
        ),
        (
            Sources::Within(SPOOFED_V6.parse()?),
            Kind::Syn { port: 443 },
        ),
        (
            Sources::Within(BOTNET_V4.parse()?),
            Kind::Udp {
                port: 53,
                payload: 100,
            },
        ),
        (Sources::Within(BOTNET_V6.parse()?), Kind::Echo),
        (Sources::Listed(vec![attacker_v4(3)]), Kind::Echo),
    ] {
        let flood = Flood {
            kinds: vec![kind],
            ..Flood::syns(sources, 2_000)
        };
        let before = weir.counted("blocked")?;
        flood.send_counted(&lab.attackers, || weir.counted("blocked"))?;
        let blocked = weir.counted("blocked")? - before;
        ensure!(blocked == 2_000, "{flood:?}: {blocked} counted as blocked");
    }
    let sources = weir.json(&["sources", &attacker])?;
    ensure!(sources["sources"][0]["dropped"] == 2_000, "{sources}");
    ensure!(lab.get(client_v4(0), Protocol::Http2, "/")?.status == 200);
    Ok(())
}

#[test]
fn clients_are_served_while_a_flood_is_dropped() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", BOTNET_V4])?;
    let before = weir.counted("blocked")?;
    let flood = Flood {
        rate: Some(50_000),
        ..Flood::syns(Sources::Within(BOTNET_V4.parse()?), 3_000_000)
    };
    let flooding = flood.start(&lab.attackers)?;
    let plan = LoadPlan {
        clients: [client_v4(0), client_v4(1), client_v6(0)]
            .into_iter()
            .zip(Protocol::ALL.into_iter().cycle())
            .map(|(source, protocol)| lab.client(source, protocol))
            .collect::<anyhow::Result<_>>()?,
        paths: vec!["/".into(), "/static/a".into()],
        pace: Duration::from_millis(10),
        requests_per_connection: 5,
        most_requests: 10_000,
    };
    let load = Load::start(&lab.clients, plan)?;
    until(SOON, "answers while it lasts", || {
        Ok(load.peek().total() > 300 && flooding.sent() > 100_000)
    })?;
    let stats = load.finish()?;
    let report = flooding.stop()?;
    ensure!(stats.failed == 0, "{:?}", stats.failures);
    until(SOON, "the whole flood to be counted as blocked", || {
        Ok(weir.counted("blocked")? == before + report.sent)
    })
}

#[test]
fn a_shield_that_does_not_enforce_counts_what_it_would_drop_and_drops_nothing() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        shield: "enforce = false\n".into(),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &config)?;
    let client = client_v4(2);
    weir.ok(&["block", &client.to_string()])?;
    let before = weir.counted("blocked")?;
    ensure!(lab.get(client, Protocol::Http1, "/")?.status == 200);
    ensure!(weir.counted("blocked")? > before);
    let drops = weir.json(&["drops"])?;
    ensure!(drops["enforcing"] == false, "{drops}");
    Ok(())
}

#[test]
fn an_unblocked_flood_passes_and_is_counted_as_passed() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        shield: "limits = { syn = \"off\" }\n".into(),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &config)?;
    let (passed, blocked) = (weir.counted("passed")?, weir.counted("blocked")?);
    // Fewer than one source may send at once.
    Flood::syns(Sources::Listed(vec![attacker_v4(5)]), 300)
        .send_counted(&lab.attackers, || weir.arrived(ATTACKER_SIDE))?;
    ensure!(weir.counted("passed")? >= passed + 300);
    ensure!(weir.counted("blocked")? == blocked);
    let sources = weir.json(&["sources", &attacker_v4(5).to_string()])?;
    ensure!(
        sources["sources"][0]["syns"].as_u64() >= Some(300),
        "{sources}"
    );
    ensure!(sources["sources"][0]["dropped"] == 0, "{sources}");
    Ok(())
}
