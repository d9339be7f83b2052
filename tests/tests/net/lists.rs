//! The lists as an operator edits them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use weir_lab::topology::{client_v4, client_v6};
use weir_lab::{Config, Lab, Protocol, Weir, until};

use crate::{SOON, Test};

/// A client at `source` is answered, if not at once then soon.
pub(crate) fn serves(lab: &Lab, source: IpAddr) -> Result<()> {
    until(SOON, "an answer", || is_served(lab, source))
}

/// Whether a client at `source` is answered, with little patience: a block shows in time. That it is not answered on a busy
/// machine proves nothing, so who should be is asked for with [`serves`].
pub(crate) fn is_served(lab: &Lab, source: IpAddr) -> Result<bool> {
    let client = lab
        .client(source, Protocol::Http1)?
        .patience(Duration::from_millis(800));
    let answer = lab.namespace_of(source).run(|| client.get_blocking("/"))?;
    Ok(answer.is_ok_and(|answer| answer.status == 200))
}

#[test]
fn block_and_unblock_take_effect_at_once_for_both_families() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    for (source, prefix) in [
        (client_v4(1), "10.77.1.12/31"),
        (client_v6(1), "fd77:0:0:1::/64"),
    ] {
        let address = source.to_string();
        for network in [address.as_str(), prefix] {
            serves(&lab, source).with_context(|| format!("{network} before"))?;
            weir.ok(&["block", network, "--for", "10m", "--reason", "a test"])?;
            ensure!(!is_served(&lab, source)?, "{network} is blocked");
            let entry = weir.block_of(network)?.context("the entry is listed")?;
            ensure!(entry["origin"] == "cli", "{entry}");
            ensure!(entry["reason"] == "a test", "{entry}");
            let left = entry["expires_in_seconds"].as_f64().context("an end")?;
            ensure!((500.0..=600.0).contains(&left), "{entry}");
            weir.ok(&["unblock", network])?;
            ensure!(weir.block_of(network)?.is_none(), "{network} is unlisted");
            serves(&lab, source).with_context(|| format!("{network} after"))?;
        }
    }
    Ok(())
}

#[test]
fn a_block_for_a_while_does_not_end_one_without_end_and_says_so() -> Test {
    let lab = Lab::new()?;
    let (listed, address) = ("203.0.113.0/24", "203.0.113.7");
    let config = Config {
        shield: format!("block = [\"{listed}\"]\n"),
        ..Config::default()
    };
    let mut weir = Weir::start(&lab, &config)?;
    let is_the_configurations = |weir: &Weir| -> Test {
        let entry = weir.block_of(listed)?.context("still listed")?;
        ensure!(entry["origin"] == "config", "{entry}");
        ensure!(entry["expires_in_seconds"].is_null(), "{entry}");
        Ok(())
    };
    let told = weir.ok(&["block", listed, "--for", "10m"])?;
    ensure!(
        told.contains("already blocked by config without end"),
        "{told}"
    );
    is_the_configurations(&weir)?;
    // What is the operator's own is the operator's to cut short.
    for duration in ["1h", "10m"] {
        let told = weir.ok(&["block", address, "--for", duration])?;
        ensure!(told.contains(&format!("blocked for {duration}")), "{told}");
    }
    weir.ok(&["unblock", listed])?;
    ensure!(weir.block_of(listed)?.is_none(), "removed by name");
    weir.ok(&["reload"])?;
    weir.kill()?;
    let told = weir.ok(&["block", listed, "--for", "10m"])?;
    ensure!(
        told.contains("already blocked by config without end"),
        "{told}"
    );
    is_the_configurations(&weir)
}

#[test]
fn allow_beats_block() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    for (source, prefix) in [
        (client_v4(1), "10.77.1.0/24"),
        (client_v6(1), "fd77:0:0:1::/64"),
    ] {
        let address = source.to_string();
        weir.ok(&["block", prefix])?;
        ensure!(!is_served(&lab, source)?, "{source} is blocked");
        weir.ok(&["allow", &address])?;
        serves(&lab, source).with_context(|| format!("{source} is allowed"))?;
        weir.ok(&["disallow", &address])?;
        ensure!(!is_served(&lab, source)?, "{source} is blocked again");
    }
    ensure!(weir.counted("allowed")? > 0);
    Ok(())
}

#[test]
fn a_block_ends_when_its_time_is_over_even_when_no_weir_runs() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    let source = client_v4(3);
    let address = source.to_string();
    let begun = Instant::now();
    weir.ok(&["block", &address, "--for", "3s"])?;
    let served = is_served(&lab, source)?;
    ensure!(!served || begun.elapsed() >= BLOCK);
    until(SOON, "the block to end", || is_served(&lab, source))?;

    let begun = Instant::now();
    weir.ok(&["block", &address, "--for", "3s"])?;
    weir.kill()?;
    let blocked = weir.counted("blocked")?;
    is_served(&lab, source)?;
    ensure!(
        weir.counted("blocked")? > blocked || begun.elapsed() >= BLOCK,
        "passed although weir is dead"
    );
    // Nobody answers now, but the shield lets the packets by: they count as passed.
    until(SOON, "the block to end without weir", || {
        let before = weir.counted("blocked")?;
        is_served(&lab, source)?;
        Ok(weir.counted("blocked")? == before)
    })?;
    ensure!(
        weir.block_of(&address)?.is_none(),
        "an ended block is not listed"
    );
    Ok(())
}

#[test]
fn what_is_not_a_network_is_refused_by_name() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    for wrong in ["10.77.1.999", "10.77.1.0/33", "everyone"] {
        let output = weir.run(&["block", wrong])?;
        ensure!(output.code == 2, "{output:?}");
        ensure!(output.stderr.contains(wrong), "{output:?}");
    }
    Ok(())
}

/// Of `--for 3s`.
const BLOCK: Duration = Duration::from_secs(3);
