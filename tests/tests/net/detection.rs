//! What weir learns at layer 7 it blocks in the kernel.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use weir_lab::topology::{attacker_v4, attacker_v6, client_v4, gateway_address};
use weir_lab::{Client, Config, Lab, Protocol, Weir, client, until, within};

use crate::lists::{is_served, serves};
use crate::{SOON, Test};

/// More than this many requests in a minute are an offence. They take a moment; but those of more than half a window ago may be
/// forgotten, and a slow machine must not get there.
const LIMIT: u32 = 50;
/// From the request that breaks the rule to the block (issue 2). The quickest of several has to keep to it: others may have
/// waited for a core.
const REACTION: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config {
        detect: format!(
            r#"[[detect]]
name = "hammering"
count = "requests"
limit = {LIMIT}
window = "1m"
block_for = "5s"

[[detect]]
name = "login-bruteforce"
count = "responses"
where = {{ path = "/login", status = [401] }}
limit = 5
window = "1m"
block_for = "10m"
"#
        ),
        ..Config::default()
    }
}

/// Requests `path` over one connection until `count` were answered.
fn hammer(lab: &Lab, client: &Client, path: &str, count: u32) -> Result<()> {
    lab.attackers.run(|| {
        client::blocking(async {
            let mut connection = client.connect().await?;
            for number in 1..=count {
                connection
                    .get(path)
                    .await
                    .with_context(|| format!("request {number} of {count}"))?;
            }
            Ok(())
        })
    })?
}

#[test]
fn a_source_that_breaks_a_rule_is_blocked_within_a_second_and_for_as_long_as_the_rule_says() -> Test
{
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &config())?;
    let mut quickest = Duration::MAX;
    for (attacker, protocol, network) in [
        (attacker_v4(0), Protocol::Http1, "10.77.2.11"),
        (attacker_v4(1), Protocol::Http2, "10.77.2.12"),
        (attacker_v6(0), Protocol::Http2, "fd77:0:0:2::/64"),
    ] {
        let client = lab.client(attacker, protocol)?;
        // At the limit, nothing happens.
        hammer(&lab, &client, "/", LIMIT)?;
        ensure!(weir.block_of(network)?.is_none(), "blocked at the limit");

        hammer(&lab, &client, "/", 1)?;
        let broken = Instant::now();
        let entry = within(SOON, "the block", || weir.block_of(network))?;
        quickest = quickest.min(broken.elapsed());
        ensure!(entry["origin"] == "detect:hammering", "{entry}");
        ensure!(
            !entry["reason"].as_str().unwrap_or("").is_empty(),
            "{entry}"
        );
        let dropped = weir.counted("blocked")?;
        ensure!(!is_served(&lab, attacker)?, "{attacker} is blocked");
        ensure!(
            weir.counted("blocked")? > dropped,
            "its packets are dropped"
        );
        serves(&lab, client_v4(0)).context("others go on")?;
        until(SOON, "the block to end", || is_served(&lab, attacker))?;
    }
    ensure!(quickest <= REACTION, "{quickest:?}");
    Ok(())
}

#[test]
fn a_reload_that_leaves_the_rules_alone_forgets_nothing_that_was_counted() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &config())?;
    let attacker = attacker_v4(4);
    let client = lab.client(attacker, Protocol::Http2)?;
    hammer(&lab, &client, "/", LIMIT)?;
    weir.ok(&["reload"])?;
    hammer(&lab, &client, "/", 1)?;
    within(SOON, "the block", || weir.block_of(&attacker.to_string()))?;
    Ok(())
}

#[test]
fn a_client_on_the_host_itself_breaks_rules_without_being_blocked() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &config())?;
    for own in [
        gateway_address(client_v4(0)),
        gateway_address(attacker_v6(0)),
    ] {
        let client = lab.client(own, Protocol::Http2)?;
        lab.gateway.run(|| {
            client::blocking(async {
                let mut connection = client.connect().await?;
                for _ in 0..=LIMIT {
                    connection.get("/").await?;
                }
                Ok(())
            })
        })??;
    }
    // An offence that comes later is dealt with later: after this block the others were judged.
    hammer(
        &lab,
        &lab.client(attacker_v4(3), Protocol::Http2)?,
        "/",
        LIMIT + 1,
    )?;
    within(SOON, "the block", || {
        weir.block_of(&attacker_v4(3).to_string())
    })?;
    let blocks = weir.json(&["list", "block"])?;
    let entries = blocks["entries"].as_array().context("no entries")?;
    ensure!(entries.len() == 1, "{blocks}");
    Ok(())
}

#[test]
fn only_responses_that_the_rule_names_count_against_a_source() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &config())?;
    let (attacker, honest) = (attacker_v4(2), client_v4(1));
    for _ in 0..10 {
        let answer = lab.get(honest, Protocol::Http2, "/")?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    let client = lab.client(attacker, Protocol::Http2)?;
    hammer(&lab, &client, "/login", 6)?;
    let entry = within(SOON, "the block", || weir.block_of(&attacker.to_string()))?;
    ensure!(entry["origin"] == "detect:login-bruteforce", "{entry}");
    ensure!(weir.block_of(&honest.to_string())?.is_none());
    ensure!(!is_served(&lab, attacker)?);
    serves(&lab, honest)?;
    Ok(())
}
