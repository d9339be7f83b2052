//! SYN cookies: SYNs answered by the shield, and connections that the kernel makes of what comes back.

mod clients;
mod options;
mod switch;

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use socket2::Protocol as Transport;
use weir_lab::flood::send_frames;
use weir_lab::frame::{self, tagged, tcp_checksums_are_right};
use weir_lab::tcp::{Tap, socket, tcp_of};
use weir_lab::topology::{attacker_v4, attacker_v6, client_v4, client_v6, gateway_mac};
use weir_lab::{Config, Kind, Lab, Weir};

use crate::wire::{Answering, at_gateway};
use crate::{SOON, Test};

fn cookies(mode: &str, manage: bool) -> Config {
    Config {
        shield: format!(
            "manage_sysctls = {manage}\n[shield.syn_cookies]\nmode = \"{mode}\"\nstart = {START}\n"
        ),
        ..Config::default()
    }
}

#[test]
fn clients_are_served_through_cookies_over_both_families() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let weir = Weir::start(lab, &cookies("always", true))?;
    for source in [client_v4(0), client_v6(0), attacker_v4(0), attacker_v6(0)] {
        let before = weir.counted("syn-cookie")?;
        lab.get_many(source, "/", 8)?;
        let answered = weir.counted("syn-cookie")? - before;
        ensure!(answered >= 8, "{source}: {answered} of 8 SYNs answered");
    }
    ensure!(weir.counted("bad-cookie")? == 0);
    Ok(())
}

#[test]
fn clients_are_served_through_cookies_in_generic_mode() -> Test {
    let lab = Lab::new()?;
    let mut config = cookies("always", true);
    config.shield.insert_str(0, "mode = \"generic\"\n");
    let weir = Weir::start(&lab, &config)?;
    for source in [client_v4(0), client_v6(0)] {
        let before = weir.counted("syn-cookie")?;
        lab.get_many(source, "/", 8)?;
        ensure!(weir.counted("syn-cookie")? >= before + 8);
    }
    Ok(())
}

#[test]
fn where_the_kernel_makes_no_cookies_for_it_the_shield_answers_nothing_and_says_why() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    lab.gateway.sysctl("net/ipv4/tcp_syncookies", "1")?;
    let weir = Weir::start(lab, &cookies("always", false))?;
    lab.get_many(client_v4(0), "/", 4)?;
    lab.get_many(client_v6(0), "/", 4)?;
    ensure!(weir.counted("syn-cookie")? == 0);
    let log = weir.log();
    ensure!(
        log.contains("net.ipv4.tcp_syncookies is 1") && log.contains("manage_sysctls"),
        "{log}"
    );
    Ok(())
}

#[test]
fn switches_that_weir_set_go_back_on_detach_and_not_before() -> Test {
    let lab = Lab::new()?;
    lab.gateway.sysctl("net/ipv4/tcp_syncookies", "1")?;
    lab.gateway.sysctl("net/ipv4/tcp_timestamps", "1")?;
    let mut weir = Weir::start(&lab, &cookies("auto", true))?;
    ensure!(switches(&lab)? == ["2", "2"], "{:?}", switches(&lab)?);
    weir.terminate()?;
    ensure!(switches(&lab)? == ["2", "2"], "cookies go on without weir");
    weir.resume()?;
    weir.kill()?;
    weir.ok(&["detach"])?;
    ensure!(switches(&lab)? == ["1", "1"], "{:?}", switches(&lab)?);
    Ok(())
}

/// `tcp_syncookies` and `tcp_timestamps` of the gateway.
fn switches(lab: &Lab) -> Result<[String; 2]> {
    lab.gateway.run(|| {
        let read = |name| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
        let [cookies, timestamps] = [read("tcp_syncookies")?, read("tcp_timestamps")?];
        anyhow::Ok([cookies.trim().to_owned(), timestamps.trim().to_owned()])
    })?
}

#[test]
fn a_port_without_a_listener_is_refused() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let weir = Weir::start(lab, &cookies("always", true))?;
    for source in [client_v4(0), client_v6(0)] {
        let refused = lab.clients.run(|| {
            let socket = socket((source, 0).into(), Transport::TCP)?;
            anyhow::Ok(socket.connect_timeout(&at_gateway(source, PORT).into(), SOON))
        })??;
        let error = refused.err().context("somebody listens")?;
        ensure!(
            error.kind() == std::io::ErrorKind::ConnectionRefused,
            "{source}: {error}"
        );
    }
    ensure!(weir.counted("syn-cookie")? == 0);
    Ok(())
}

#[test]
fn a_tagged_syn_is_answered_in_its_vlan_with_right_checksums() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let weir = Weir::start(lab, &cookies("always", true))?;
    for source in [attacker_v4(0), attacker_v6(0)] {
        let tap = Tap::open(&lab.attackers, Some(VLAN))?;
        let server = at_gateway(source, 443);
        let syn = frame::frame(
            Kind::Syn { port: 443 },
            gateway_mac(2),
            source,
            server.ip(),
            7,
        );
        let asked = tcp_of(&syn).context("it is a SYN")?;
        send_frames(&lab.attackers, &[tagged(&syn, VLAN)])?;
        let answer = tap.next(SOON, |frame| is_syn_ack(frame, server))?;
        let segment = tcp_of(&answer).context("it is a SYN-ACK")?;
        ensure!(segment.destination == asked.source, "{segment:?}");
        ensure!(segment.acknowledgement == asked.sequence + 1, "{segment:?}");
        ensure!(answer[..6] == syn[6..12] && answer[6..12] == syn[..6]);
        ensure!(tcp_checksums_are_right(&answer), "{answer:02x?}");
    }
    ensure!(weir.counted("syn-cookie")? == 2);
    Ok(())
}

fn is_syn_ack(frame: &[u8], from: SocketAddr) -> bool {
    tcp_of(frame).is_some_and(|segment| segment.source == from && segment.flags & 0x3f == SYN_ACK)
}

/// SYNs a second at which cookies begin.
const START: u64 = 1_000;
const PORT: u16 = 8080;
const VLAN: u16 = 77;
const SYN_ACK: u8 = 0x12;
