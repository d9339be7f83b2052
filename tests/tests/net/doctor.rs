//! `weir doctor`, on a host that is fit and on one that is not.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use weir_lab::topology::{ATTACKER_SIDE, CLIENT_SIDE};
use weir_lab::{Config, Lab, Weir};

use crate::Test;

#[test]
fn the_doctor_finds_no_problem_where_weir_runs_and_knows_its_programs() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let report = weir.json(&["doctor"])?;
    ensure!(report["ok"] == true && report["problems"] == 0, "{report}");
    for interface in [CLIENT_SIDE, ATTACKER_SIDE] {
        let program = finding(&report, "program", Some(interface))?;
        ensure!(program["severity"] == "ok", "{program}");
        let native = finding(&report, "native", Some(interface))?;
        ensure!(native["severity"] == "ok", "{native}");
    }
    Ok(())
}

#[test]
fn the_doctor_says_what_stands_in_the_way_and_a_problem_makes_it_fail() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        interfaces: vec![CLIENT_SIDE.into(), "lo".into(), "nope0".into()],
        ..Config::default()
    };
    let weir = Weir::prepare(&lab, &config.text(&lab))?;
    lab.gateway.sysctl("net/ipv4/tcp_syncookies", "1")?;
    let output = weir.run(&["doctor", "--json"])?;
    ensure!(output.code == 1, "{output:?}");
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(report["ok"] == false && report["problems"] == 1, "{report}");
    let missing = finding(&report, "exists", Some("nope0"))?;
    ensure!(missing["severity"] == "problem", "{missing}");
    let loopback = finding(&report, "native", Some("lo"))?;
    ensure!(loopback["severity"] == "note", "{loopback}");
    let cookies = finding(&report, "syn-cookies", None)?;
    let fix = cookies["fix"].as_str().unwrap_or_default();
    ensure!(
        fix.starts_with("sysctl -w net.ipv4.tcp_syncookies=2"),
        "{cookies}"
    );

    lab.gateway.sysctl("net/ipv4/tcp_syncookies", "2")?;
    let text = weir.run(&["doctor"])?;
    let fixed = "net.ipv4.tcp_syncookies is 2";
    ensure!(text.code == 1 && text.stdout.contains(fixed), "{text:?}");
    Ok(())
}

/// The finding of `check` about `interface`, or about the host.
fn finding<'a>(report: &'a Value, check: &str, interface: Option<&str>) -> Result<&'a Value> {
    let findings = report["findings"].as_array().context("no findings")?;
    findings
        .iter()
        .find(|finding| finding["check"] == check && finding["interface"].as_str() == interface)
        .with_context(|| format!("nothing about {check} of {interface:?}: {report}"))
}
