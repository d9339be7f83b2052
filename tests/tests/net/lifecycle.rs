//! Stops, crashes and restarts.

use anyhow::{Context as _, ensure};
use http_body_util::BodyExt as _;
use nix::sys::signal::Signal;
use weir_lab::topology::{ATTACKER_SIDE, BOTNET_V4, attacker_v4, client_v4};
use weir_lab::{Config, Flood, Lab, Protocol, Sources, Weir, client, until};

use crate::{SOON, Test};

fn botnet(packets: u64) -> anyhow::Result<Flood> {
    Ok(Flood::syns(Sources::Within(BOTNET_V4.parse()?), packets))
}

#[test]
fn drops_go_on_and_can_be_read_when_weir_was_killed() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    let attacker = attacker_v4(3).to_string();
    weir.ok(&["block", BOTNET_V4, &attacker])?;
    weir.kill()?;

    let before = weir.counted("blocked")?;
    botnet(2_000)?.send_counted(&lab.attackers, || weir.counted("blocked"))?;
    let blocked = weir.counted("blocked")? - before;
    ensure!(blocked == 2_000, "{blocked} were counted as blocked");
    let drops = weir.json(&["drops", "--by", "prefix", "--top", "3"])?;
    ensure!(drops["rows"][0]["dropped"] == 2_000, "{drops}");
    ensure!(weir.block_of(BOTNET_V4)?.is_some());
    // The lists can be edited as well, and the kernel obeys.
    weir.ok(&["unblock", BOTNET_V4])?;
    let before = weir.counted("blocked")?;
    botnet(100)?.send_counted(&lab.attackers, || weir.arrived(ATTACKER_SIDE))?;
    ensure!(weir.counted("blocked")? == before);

    let status = weir.run(&["status"])?;
    ensure!(status.code == 3, "no weir runs: {status:?}");
    Ok(())
}

#[test]
fn a_restart_takes_over_with_all_entries_and_counters_and_misses_no_packet() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", BOTNET_V4, "--reason", "kept"])?;
    botnet(500)?.send_counted(&lab.attackers, || weir.counted("blocked"))?;
    let before = weir.counted("blocked")?;
    ensure!(before == 500, "{before} were counted as blocked");

    // Paced so that it spans a graceful stop, the time without weir, and the take-over.
    let flood = Flood {
        rate: Some(20_000),
        ..botnet(60_000)?
    };
    let flooding = flood.start(&lab.attackers)?;
    let status = weir.terminate()?;
    ensure!(status.success(), "{status}");
    weir.resume()?;
    weir.kill()?;
    weir.resume()?;
    let report = flooding.finish()?;
    until(SOON, "every packet of the flood to be counted", || {
        Ok(weir.counted("blocked")? >= before + report.sent)
    })?;
    let blocked = weir.counted("blocked")? - before;
    ensure!(
        blocked == report.sent,
        "{blocked} of {} blocked",
        report.sent
    );
    let entry = weir.block_of(BOTNET_V4)?.context("the entry is kept")?;
    ensure!(entry["reason"] == "kept", "{entry}");
    ensure!(lab.get(client_v4(0), Protocol::Http2, "/")?.status == 200);
    Ok(())
}

#[test]
fn a_graceful_stop_finishes_the_response_under_way() -> Test {
    let lab = Lab::new()?;
    for protocol in Protocol::ALL {
        let mut weir = Weir::start(&lab, &Config::default())?;
        let client = lab.client(client_v4(0), protocol)?;
        let (began, begun) = std::sync::mpsc::channel();
        let slow = lab.clients.spawn("slow", move || {
            client::blocking(async {
                let mut connection = client.connect().await?;
                let response = connection.begin(client::get("/slow?ms=1000")?).await?;
                began.send(())?;
                Ok(response.into_body().collect().await?.to_bytes())
            })
        })?;
        begun.recv_timeout(SOON)?;
        let status = weir.terminate()?;
        let content = slow.join().expect("the client does not panic")?;
        let pieces = content.split(|byte| *byte == b'\n').count() - 1;
        ensure!(pieces == 10, "{protocol:?}: {pieces} of 10 pieces came");
        ensure!(status.success(), "{protocol:?}: {status}");
    }
    Ok(())
}

#[test]
fn sigquit_stops_now() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    let client = lab.client(client_v4(0), Protocol::Http1)?;
    let (began, begun) = std::sync::mpsc::channel();
    let slow = lab.clients.spawn("slow", move || {
        client::blocking(async {
            let mut connection = client.connect().await?;
            let request = client::get("/slow?ms=60000")?;
            let response = connection.begin(request).await?;
            began.send(())?;
            Ok(response.into_body().collect().await?.to_bytes())
        })
    })?;
    begun.recv_timeout(SOON)?;
    weir.signal(Signal::SIGQUIT)?;
    weir.wait_for_exit(SOON)?;
    let content = slow.join().expect("the client does not panic");
    ensure!(content.is_err(), "the response was finished: {content:?}");
    Ok(())
}

#[test]
fn a_second_weir_on_the_same_pins_is_refused_and_changes_nothing() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let before = weir.json(&["status"])?["shield"]["interfaces"].clone();
    let elsewhere = lab.directory().join("second-run");
    let elsewhere = elsewhere.to_str().context("not UTF-8")?;
    let output = weir.run(&["run", "--run-dir", elsewhere])?;
    ensure!(output.code == 1, "{output:?}");
    ensure!(output.stderr.contains("another running weir"), "{output:?}");
    ensure!(weir.json(&["status"])?["shield"]["interfaces"] == before);
    Ok(())
}
