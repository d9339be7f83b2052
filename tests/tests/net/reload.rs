//! A new configuration under way.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use weir_lab::topology::{client_v4, client_v6, origin_url};
use weir_lab::{Config, Lab, Load, LoadPlan, Protocol, Weir, until};

use crate::{SOON, Test};

/// Everything to the origin `number` alone.
fn only(number: u8) -> Config {
    Config {
        site: format!(
            "[[upstream]]\nname = \"only-{number}\"\nservers = [\"{}\"]\n\n[[route]]\npath = \"/\"\nupstream = \"only-{number}\"\n",
            origin_url(number)
        ),
        ..Config::default()
    }
}

fn load(lab: &Lab) -> Result<Load> {
    let sources = [client_v4(0), client_v4(1), client_v6(0), client_v6(1)];
    let clients = sources
        .into_iter()
        .flat_map(|source| Protocol::ALL.map(|protocol| lab.client(source, protocol)))
        .collect::<Result<_>>()?;
    let plan = LoadPlan {
        clients,
        paths: vec!["/".into(), "/big?bytes=200000".into(), "/slow?ms=50".into()],
        pace: Duration::from_millis(5),
        requests_per_connection: 20,
        most_requests: 10_000,
    };
    Load::start(&lab.clients, plan)
}

#[test]
fn reloading_under_load_takes_effect_and_loses_no_request() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &only(1))?;
    let load = load(&lab)?;
    for number in [2, 1, 2, 1, 2] {
        weir.rewrite(&only(number).text(&lab))?;
        weir.signal(Signal::SIGHUP)?;
        let name = format!("origin-{number}");
        until(SOON, "the new route to serve", || {
            Ok(lab.get(client_v4(5), Protocol::Http1, "/")?.origin() == name)
        })?;
        let before = load.peek().total();
        until(SOON, "more requests", || {
            Ok(load.peek().total() > before + 50)
        })?;
    }
    let stats = load.finish()?;
    ensure!(stats.failed == 0, "{:?}", stats.failures);
    ensure!(stats.succeeded > 250, "{}", stats.succeeded);
    Ok(())
}

#[test]
fn a_bad_file_changes_nothing_and_the_reason_is_told() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &only(1))?;
    let load = load(&lab)?;
    let bad = only(2)
        .text(&lab)
        .replace("[[route]]", "[[route]]\nupsteam = \"x\"");
    weir.rewrite(&bad)?;

    let output = weir.run(&["reload"])?;
    ensure!(output.code != 0, "{output:?}");
    ensure!(output.stderr.contains("upsteam"), "{output:?}");
    weir.signal(Signal::SIGHUP)?;
    until(SOON, "the refusal to be logged", || {
        Ok(weir.log().contains("upsteam"))
    })?;
    ensure!(lab.get(client_v4(5), Protocol::Http1, "/")?.origin() == "origin-1");

    weir.rewrite(&only(2).text(&lab))?;
    weir.ok(&["reload"])?;
    ensure!(lab.get(client_v4(5), Protocol::Http1, "/")?.origin() == "origin-2");
    let stats = load.finish()?;
    ensure!(stats.failed == 0, "{:?}", stats.failures);
    Ok(())
}

#[test]
fn a_reload_changes_the_lists_of_the_configuration_and_leaves_others_alone() -> Test {
    let lab = Lab::new()?;
    let shield = |block: &str| Config {
        shield: format!("block = [\"{block}\"]\n"),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &shield("192.0.2.0/24"))?;
    weir.ok(&["block", "203.0.113.7"])?;
    weir.rewrite(&shield("198.51.100.0/24").text(&lab))?;
    weir.ok(&["reload"])?;
    ensure!(weir.block_of("192.0.2.0/24")?.is_none());
    ensure!(weir.block_of("198.51.100.0/24")?.is_some());
    ensure!(weir.block_of("203.0.113.7")?.is_some());
    Ok(())
}
