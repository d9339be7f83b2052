//! What one source may send, and what becomes of the rest.

use std::net::UdpSocket;

use anyhow::{Context as _, Result, ensure};
use weir_lab::topology::{
    ATTACKER_SIDE, BOTNET_V4, attacker_v4, attacker_v6, client_v4, client_v6,
};
use weir_lab::{Config, Flood, Kind, Lab, Protocol, Report, Sources, Weir};

use crate::wire::at_gateway;
use crate::{SOON, Test};

/// Limits of `rate` packets a second and a burst of `burst` for everything but bytes.
fn limits(rate: u32, burst: u32) -> Config {
    let limit = format!("{{ rate = {rate}, burst = {burst} }}");
    Config {
        shield: format!(
            "[shield.limits]\npackets = {limit}\nsyn = {limit}\nudp = {limit}\nicmp = {limit}\nprefix_factor = 65_536\n"
        ),
        ..Config::default()
    }
}

/// `packets` of a kind from one source.
fn of(kind: Kind, source: std::net::IpAddr, packets: u64) -> Flood {
    Flood {
        kinds: vec![kind],
        ..Flood::syns(Sources::Listed(vec![source]), packets)
    }
}

/// Sends them all, and returns how many `reason` took.
fn dropped_by(reason: &str, weir: &Weir<'_>, lab: &Lab, flood: &Flood) -> Result<(u64, Report)> {
    let before = weir.counted(reason)?;
    let report = flood.send_counted(&lab.attackers, || weir.arrived(ATTACKER_SIDE))?;
    Ok((weir.counted(reason)? - before, report))
}

#[test]
fn a_source_over_its_limit_is_dropped_and_counted_and_another_is_not() -> Test {
    let lab = Lab::new()?;
    // The attackers' stack answers what the gateway sends back to it, which would count as packets.
    for (kind, reason) in [
        (Kind::Syn { port: 443 }, "rate-syn"),
        (UDP, "rate-udp"),
        (Kind::Echo, "rate-icmp"),
        (ACK, "rate-packets"),
    ] {
        for (heavy, light) in [
            (attacker_v4(5), attacker_v4(6)),
            (attacker_v6(5), client_v4(0)),
        ] {
            let mut weir = Weir::start(&lab, &limits(RATE, BURST))?;
            let (dropped, report) = dropped_by(reason, &weir, &lab, &of(kind, heavy, SENT))?;
            let most = u64::from(BURST) + u64::from(RATE) * (report.took.as_secs() + 2);
            ensure!(
                (SENT.saturating_sub(most)..=SENT - u64::from(BURST)).contains(&dropped),
                "{reason}, {heavy}: {dropped} of {SENT}"
            );
            let network = heavy.to_string();
            let sources = weir.json(&["sources", &network])?;
            let source = &sources["sources"][0];
            ensure!(
                source["drops"]["rate"].as_u64() >= Some(dropped),
                "{sources}"
            );
            ensure!(source["packets"].as_u64() >= Some(SENT), "{sources}");

            let before = weir.json(&["drops"])?["dropped"]["packets"].clone();
            ensure!(lab.get(light, Protocol::Http1, "/")?.status == 200);
            let after = weir.json(&["drops"])?["dropped"]["packets"].clone();
            // What is still under way from the heavy one may be dropped, but nothing of the light one's.
            let sources = weir.json(&["sources", &light.to_string()])?;
            ensure!(
                sources["sources"][0]["dropped"] == 0,
                "{sources}, {before} dropped before and {after} after"
            );
            weir.terminate()?;
            weir.ok(&["detach"])?;
        }
    }
    Ok(())
}

#[test]
fn a_source_over_its_bytes_is_dropped_for_them_and_others_are_not() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        shield: format!(
            "[shield.limits]\nbytes = {{ rate = {BYTE_RATE}, burst = {BYTE_BURST} }}\nprefix_factor = 65_536\n"
        ),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &config)?;
    for (heavy, header_len, others) in [
        (attacker_v4(5), 42, [attacker_v4(6), client_v4(0)]),
        (attacker_v6(5), 62, [attacker_v4(6), client_v6(0)]),
    ] {
        let large = Kind::Udp {
            port: 9,
            payload: 1400,
        };
        let flood = of(large, heavy, SENT);
        let (dropped, report) = dropped_by("rate-bytes", &weir, &lab, &flood)?;
        // Frames that its bytes are enough for: at least the burst, at most what the rate gives besides, and one each for
        // rounding.
        let frame_len = header_len + 1400;
        let fewest = BYTE_BURST / frame_len - 1;
        let most = (BYTE_BURST + BYTE_RATE * (report.took.as_secs() + 2)) / frame_len + 1;
        let passed = SENT - dropped;
        ensure!(
            (fewest..=most).contains(&passed),
            "{heavy}: {passed} of {SENT} passed, {fewest} to {most} may"
        );
        let drops = weir.json(&["drops"])?;
        let all = &drops["dropped"]["packets"];
        ensure!(
            *all == weir.counted("rate-bytes")?,
            "for nothing else: {drops}"
        );
        for other in others {
            ensure!(lab.get(other, Protocol::Http2, "/")?.status == 200);
            let sources = weir.json(&["sources", &other.to_string()])?;
            ensure!(sources["sources"][0]["dropped"] == 0, "{sources}");
        }
    }
    Ok(())
}

#[test]
fn a_failsafe_port_has_no_limits() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &limits(RATE, BURST))?;
    let flood = of(Kind::Syn { port: 22 }, attacker_v4(5), SENT);
    let passed = weir.counted("passed")?;
    flood.send_counted(&lab.attackers, || weir.arrived(ATTACKER_SIDE))?;
    ensure!(weir.counted("rate-syn")? == 0);
    ensure!(weir.counted("passed")? >= passed + SENT);
    Ok(())
}

#[test]
fn a_prefix_is_limited_when_none_of_its_sources_is_over_its_own() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        shield: format!(
            "[shield.limits]\nudp = {{ rate = {RATE}, burst = {BURST} }}\nprefix_factor = 4\n"
        ),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &config)?;
    let botnet: ipnet::Ipv4Net = BOTNET_V4.parse()?;
    let sources: Vec<_> = botnet.hosts().take(100).map(Into::into).collect();
    let flood = Flood {
        kinds: vec![UDP],
        ..Flood::syns(Sources::Listed(sources), 4_000)
    };
    let (dropped, report) = dropped_by("rate-prefix", &weir, &lab, &flood)?;
    ensure!(weir.counted("rate-udp")? == 0, "forty packets of each");
    let most = 4 * (u64::from(BURST) + u64::from(RATE) * (report.took.as_secs() + 2));
    // It has a state once it has sent a part of its limit.
    ensure!(dropped >= 4_000 - most - 256, "{dropped} of 4,000");
    // Another prefix is not.
    ensure!(lab.get(client_v4(0), Protocol::Http1, "/")?.status == 200);
    Ok(())
}

#[test]
fn limits_that_are_off_drop_nothing() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        shield: "[shield.limits]\npackets = \"off\"\nsyn = \"off\"\nudp = \"off\"\nicmp = \"off\"\nbytes = \"off\"\n".into(),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &config)?;
    for kind in [Kind::Syn { port: 443 }, UDP, Kind::Echo, ACK] {
        of(kind, attacker_v4(5), 2_000)
            .send_counted(&lab.attackers, || weir.arrived(ATTACKER_SIDE))?;
    }
    let drops = weir.json(&["drops"])?;
    ensure!(drops["dropped"]["packets"] == 0, "{drops}");
    Ok(())
}

#[test]
fn a_reload_changes_limits_and_leaves_no_gap() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &limits(RATE, BURST))?;
    let flood = Flood {
        rate: Some(10_000),
        ..of(UDP, attacker_v4(5), 600_000)
    };
    let flooding = flood.start(&lab.attackers)?;
    for burst in [2, 1, 2, 1, 2] {
        weir.rewrite(&limits(RATE, BURST * burst).text(&lab))?;
        weir.ok(&["reload"])?;
    }
    let passed = || -> Result<u64> {
        let drops = weir.json(&["drops"])?;
        let rows = drops["interfaces"].as_array().context("no interfaces")?;
        let row = rows.iter().find(|row| row["interface"] == ATTACKER_SIDE);
        let row = row.context("no such interface")?;
        row["passed"]["packets"].as_u64().context("no packets")
    };
    let so_far = passed()?;
    weir.rewrite(&Config::default().text(&lab).replace(
        "[shield.tables]",
        "[shield.limits]\nudp = \"off\"\n[shield.tables]",
    ))?;
    weir.ok(&["reload"])?;
    weir_lab::until(SOON, "the flood to pass", || Ok(passed()? > so_far + 2_000))?;
    let report = flooding.stop()?;
    // Two bursts of each limit, what the rate gave, and the neighbours' and resets' packets.
    let most = 10 * u64::from(BURST) + u64::from(RATE) * (report.took.as_secs() + 2);
    ensure!(so_far <= most, "{so_far} passed, {most} may");
    Ok(())
}

#[test]
fn a_shield_that_does_not_enforce_counts_who_is_over_a_limit_and_lets_them_by() -> Test {
    let lab = Lab::new()?;
    let mut config = limits(RATE, BURST);
    config.shield.insert_str(0, "enforce = false\n");
    let weir = Weir::start(&lab, &config)?;
    let server = lab
        .gateway
        .run(|| UdpSocket::bind(at_gateway(attacker_v4(5), 9000)))??;
    server.set_read_timeout(Some(SOON))?;
    let client = lab
        .attackers
        .run(|| UdpSocket::bind((attacker_v4(5), 0)))??;
    for number in 0..200_u8 {
        client.send_to(&[number], server.local_addr()?)?;
        let mut datagram = [0];
        server.recv(&mut datagram).context("it was dropped")?;
        ensure!(datagram == [number]);
    }
    let counted = weir.counted("rate-udp")?;
    ensure!(counted > 0);
    let drops = weir.json(&["drops"])?;
    ensure!(drops["enforcing"] == false, "{drops}");
    ensure!(
        drops["would_drop"]["packets"].as_u64() >= Some(counted),
        "{drops}"
    );
    Ok(())
}

/// Packets a second.
const RATE: u32 = 20;
const BURST: u32 = 40;
/// Bytes a second, and at once: ten thousand are many for a request and its answer.
const BYTE_RATE: u64 = 20_000;
const BYTE_BURST: u64 = 200_000;
/// Of a source that is over its limit.
const SENT: u64 = 1_000;
const UDP: Kind = Kind::Udp {
    port: 9,
    payload: 32,
};
const ACK: Kind = Kind::Tcp {
    ports: (1025, 443),
    flags: 0x10,
};
