//! Cookies that begin and end: by a flood, and by a reload.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use weir_lab::flood::send_frames;
use weir_lab::frame::tcp_segment;
use weir_lab::tcp::{Negotiated, Segment, Tap, tcp_of};
use weir_lab::topology::{
    BOTNET_V4, BOTNET_V6, SPOOFED_V4, SPOOFED_V6, client_v4, client_v6, gateway_mac,
};
use weir_lab::{Flood, Lab, Namespace, Sources, Weir, until, within};

use super::{START, cookies, is_syn_ack};
use crate::wire::{Answering, at_gateway};
use crate::{SOON, Test};

#[test]
fn cookies_begin_with_a_flood_and_end_after_it_and_nobody_honest_notices() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let weir = Weir::start(lab, &cookies("auto", true))?;
    lab.get_many(client_v4(0), "/", 4)?;
    ensure!(weir.counted("syn-cookie")? == 0, "nothing happens yet");
    let half_open = half_open(lab)?;

    let flooding = flood(10 * START)?.start(&lab.attackers)?;
    until(SOON, "cookies to begin", || {
        Ok(weir.counted("syn-cookie")? > 1_000)
    })?;
    complete_all(lab, half_open)?;
    for source in [client_v4(0), client_v6(0)] {
        lab.get_many(source, "/", 50)?;
    }
    flooding.stop()?;

    // More than half of what it began at is enough for it to go on, and would not be for it to begin.
    let flooding = flood(START * 3 / 4)?.start(&lab.attackers)?;
    until(HOLD, "the time after the flood to be over twice", || {
        lab.get_many(client_v4(1), "/", 1)?;
        Ok(flooding.sent() > START * 3 / 4 * 2 * HELD)
    })?;
    let before = weir.counted("syn-cookie")?;
    until(SOON, "SYNs that are still answered", || {
        Ok(weir.counted("syn-cookie")? > before)
    })?;
    flooding.stop()?;
    let before = weir.counted("syn-cookie")?;
    let half_open = self::half_open(lab)?;
    ensure!(weir.counted("syn-cookie")? > before, "they hold cookies");
    within(HOLD, "the end of cookies", || {
        let before = weir.counted("syn-cookie")?;
        lab.get_many(client_v4(1), "/", 1)?;
        Ok((weir.counted("syn-cookie")? == before).then_some(()))
    })?;
    complete_all(lab, half_open)
}

/// SYNs of both families from nowhere, so many a second, for as long as a flood may last.
fn flood(rate: u64) -> Result<Flood> {
    let v4 = Sources::Within(SPOOFED_V4.parse()?);
    let v6 = Sources::Within(SPOOFED_V6.parse()?);
    Ok(Flood {
        rate: Some(rate),
        sources: vec![v4.clone(), v6],
        ..Flood::syns(v4, 2_000_000)
    })
}

#[test]
fn half_open_connections_are_completed_in_whatever_mode_a_reload_puts_into_force() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    lab.gateway.sysctl("net/ipv4/tcp_syncookies", "1")?;
    let weir = Weir::start(lab, &cookies("off", true))?;
    let mut half_open = half_open(lab)?;
    for mode in ["always", "off", "auto", "always", "auto", "off"] {
        weir.rewrite(&cookies(mode, true).text(lab))?;
        weir.ok(&["reload"])?;
        complete_all(lab, half_open).with_context(|| format!("completed in mode {mode}"))?;
        let before = weir.counted("syn-cookie")?;
        half_open = self::half_open(lab)?;
        let answered = weir.counted("syn-cookie")? > before;
        ensure!(answered == (mode == "always"), "{mode}");
    }
    complete_all(lab, half_open)
}

fn complete_all(lab: &Lab, half_open: Vec<Segment>) -> Result<()> {
    half_open
        .into_iter()
        .try_for_each(|segment| complete(lab, segment))
}

/// SYNs of hosts of both families that wait for their SYN-ACKs; returns those.
fn half_open(lab: &Lab) -> Result<Vec<Segment>> {
    let tap = Tap::open(&lab.attackers, None)?;
    let mut answers = Vec::new();
    let v4: ipnet::Ipv4Net = BOTNET_V4.parse()?;
    let v6: ipnet::Ipv6Net = BOTNET_V6.parse()?;
    let v4 = v4.hosts().take(8).map(IpAddr::from);
    let v6 = v6.hosts().take(8).map(IpAddr::from);
    for source in v4.chain(v6) {
        // What an earlier one opened is not what this one waits for.
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let server = at_gateway(source, 443);
        let addresses = (source, server.ip());
        let syn = tcp_segment(gateway_mac(2), addresses, (port, 443), (9, 0), SYN);
        let asked = tcp_of(&syn).context("it is a SYN")?;
        let answer = within(SOON, "a SYN-ACK", || {
            // A full ring loses frames while a flood runs.
            send_frames(&lab.attackers, std::slice::from_ref(&syn))?;
            Ok(tap
                .next(RETRY, |frame| {
                    is_syn_ack(frame, server)
                        && tcp_of(frame).is_some_and(|segment| segment.destination == asked.source)
                })
                .ok())
        })?;
        answers.push(tcp_of(&answer).context("it is a SYN-ACK")?);
    }
    Ok(answers)
}

/// Answers a SYN-ACK and waits until the gateway has the connection.
fn complete(lab: &Lab, answer: Segment) -> Result<()> {
    let ack = tcp_segment(
        gateway_mac(2),
        (answer.destination.ip(), answer.source.ip()),
        (answer.destination.port(), answer.source.port()),
        (answer.acknowledgement, answer.sequence.wrapping_add(1)),
        ACK,
    );
    until(SOON, "a half-open connection to be established", || {
        // A full ring loses frames while the flood runs.
        send_frames(&lab.attackers, std::slice::from_ref(&ack))?;
        is_established(&lab.gateway, answer.source, answer.destination)
    })
}

/// Also of connections to a socket that takes both families.
fn is_established(gateway: &Namespace, local: SocketAddr, peer: SocketAddr) -> Result<bool> {
    Ok(Negotiated::of(gateway, local, peer)?.is_some())
}

/// Seconds for which cookies go on after a flood, and somewhat longer than they take to end.
const HELD: u64 = 11;
const HOLD: Duration = Duration::from_mins(1);
/// Time for a SYN-ACK to come before the SYN is sent again.
const RETRY: Duration = Duration::from_millis(500);
/// Source port of the next half-open connection.
static NEXT_PORT: AtomicU16 = AtomicU16::new(20_000);
const ACK: u8 = 0x10;
const SYN: u8 = 0x02;
