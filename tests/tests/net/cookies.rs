//! SYN cookies: SYNs answered by the shield, and connections that the kernel makes of what comes back.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::Protocol as Transport;
use weir_lab::flood::send_frames;
use weir_lab::frame::{self, tagged, tcp_checksums_are_right, tcp_segment};
use weir_lab::tcp::{Echo, Negotiated, Segment, Tap, connect, echoes, socket, tcp_of};
use weir_lab::topology::{
    BOTNET_V4, SPOOFED_V4, SPOOFED_V6, attacker_v4, attacker_v6, client_v4, client_v6, gateway_mac,
};
use weir_lab::{Config, Flood, Kind, Lab, Namespace, Sources, Weir, until, within};

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

/// Connects from `source` to an echo server in the gateway, sees that it answers, and says what the client and the server
/// negotiated.
fn negotiate(lab: &Lab, source: IpAddr, server: &Echo) -> Result<[Negotiated; 2]> {
    let clients = lab.namespace_of(source);
    let stream = clients.run(|| {
        let mut stream = connect((source, 0).into(), server.address())?;
        echoes(&mut stream)?;
        anyhow::Ok(stream)
    })??;
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    let client = Negotiated::of(clients, local, peer)?.context("no connection at the client")?;
    let server = Negotiated::of(&lab.gateway, peer, local)?.context("none at the server")?;
    Ok([client, server])
}

/// The same without cookies and with them, in a lab that `prepare` sets up; and whether XDP answered the second time.
fn negotiated_without_and_with(
    manage: bool,
    source: IpAddr,
    prepare: impl Fn(&Lab) -> Result<()>,
) -> Result<([Negotiated; 2], [Negotiated; 2], u64)> {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    prepare(lab)?;
    let server = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
    let weir = Weir::start(lab, &cookies("off", manage))?;
    let without = negotiate(lab, source, &server)?;
    ensure!(weir.counted("syn-cookie")? == 0);
    weir.rewrite(&cookies("always", manage).text(lab))?;
    weir.ok(&["reload"])?;
    let with = negotiate(lab, source, &server)?;
    Ok((without, with, weir.counted("syn-cookie")?))
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
fn a_connection_through_a_cookie_has_the_options_of_one_without() -> Test {
    for source in [client_v4(0), client_v6(0)] {
        let (without, with, answered) = negotiated_without_and_with(true, source, |_| Ok(()))?;
        ensure!(answered > 0, "{source} was not answered by the shield");
        ensure!(with == without, "{source}: {with:?}, without {without:?}");
        ensure!(
            with[0].scales.is_some() && with[0].sack && with[0].timestamps,
            "{with:?}"
        );
    }
    Ok(())
}

#[test]
fn small_segments_of_a_client_are_remembered_in_the_cookie() -> Test {
    for (source, mtu, mss) in [
        // Cookies know a few sizes: the next smaller one counts.
        (client_v4(0), 1400, 1300 - 12),
        (client_v6(0), 1280, 1220 - 12),
    ] {
        let (without, with, answered) = negotiated_without_and_with(true, source, |lab| {
            lab.clients.ip(&format!("link set eth0 mtu {mtu}"))
        })?;
        ensure!(answered > 0, "{source} was not answered by the shield");
        ensure!(
            with[0] == without[0],
            "{source}: {with:?}, without {without:?}"
        );
        ensure!(with[1].mss == mss, "{source}: {with:?}");
    }
    Ok(())
}

#[test]
fn without_timestamps_a_cookie_carries_the_segment_size_alone() -> Test {
    for source in [client_v4(0), client_v6(0)] {
        let (_, with, answered) = negotiated_without_and_with(true, source, |lab| {
            lab.clients.sysctl("net/ipv4/tcp_timestamps", "0")
        })?;
        ensure!(answered > 0, "{source} was not answered by the shield");
        is_mss_only(source, &with)?;
    }
    Ok(())
}

#[test]
fn timestamps_with_an_offset_are_not_trusted_with_options() -> Test {
    for source in [client_v4(0), client_v6(0)] {
        let (_, with, answered) = negotiated_without_and_with(false, source, |lab| {
            lab.gateway.sysctl("net/ipv4/tcp_syncookies", "2")?;
            lab.gateway.sysctl("net/ipv4/tcp_timestamps", "1")
        })?;
        ensure!(answered > 0, "{source} was not answered by the shield");
        is_mss_only(source, &with)?;
    }
    Ok(())
}

fn is_mss_only(source: IpAddr, ends: &[Negotiated; 2]) -> Result<()> {
    let expected = Negotiated {
        mss: if source.is_ipv4() { 1460 } else { 1440 },
        scales: None,
        sack: false,
        timestamps: false,
    };
    ensure!(
        ends.iter().all(|end| *end == expected),
        "{source}: {ends:?}"
    );
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
fn multipath_clients_fall_back_and_are_answered() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let weir = Weir::start(lab, &cookies("always", true))?;
    for source in [client_v4(0), client_v6(0)] {
        let server = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
        let before = weir.counted("syn-cookie")?;
        lab.clients.run(|| {
            let socket = socket((source, 0).into(), Transport::MPTCP)?;
            socket.connect_timeout(&server.address().into(), SOON)?;
            echoes(&mut TcpStream::from(socket))
        })??;
        ensure!(weir.counted("syn-cookie")? > before, "{source}");
    }
    Ok(())
}

#[test]
fn clients_that_open_fast_are_answered() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    // Both sides may, and no listener has to ask for it.
    for namespace in [&lab.clients, &lab.gateway] {
        namespace.sysctl("net/ipv4/tcp_fastopen", "1027")?;
    }
    let weir = Weir::start(lab, &cookies("off", true))?;
    for source in [client_v4(0), client_v6(0)] {
        let server = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
        // Without cookies first, so that the client knows one of fast open's own.
        for mode in ["off", "always"] {
            weir.rewrite(&cookies(mode, true).text(lab))?;
            weir.ok(&["reload"])?;
            let before = weir.counted("syn-cookie")?;
            for _ in 0..3 {
                lab.clients.run(|| open_fast(source, server.address()))??;
            }
            let answered = weir.counted("syn-cookie")? > before;
            ensure!(answered == (mode == "always"), "{source}, {mode}");
        }
    }
    Ok(())
}

/// Connects in both ways that there are of sending content in the SYN, and sees that it is echoed.
fn open_fast(source: IpAddr, server: SocketAddr) -> Result<()> {
    let with_message = socket((source, 0).into(), Transport::TCP)?;
    with_message.send_to_with_flags(b"hello", &server.into(), MSG_FASTOPEN)?;
    let with_connect = socket((source, 0).into(), Transport::TCP)?;
    setsockopt(&with_connect, sockopt::TcpFastOpenConnect, &true)?;
    with_connect.connect(&server.into())?;
    with_connect.send(b"hello")?;
    for socket in [with_message, with_connect] {
        let mut answer = [0; 5];
        TcpStream::from(socket).read_exact(&mut answer)?;
        ensure!(&answer == b"hello");
    }
    Ok(())
}

#[test]
fn a_port_is_used_again_while_the_server_remembers_its_last_connection() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let weir = Weir::start(lab, &cookies("always", true))?;
    for source in [client_v4(0), client_v6(0)] {
        let server = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
        let before = weir.counted("syn-cookie")?;
        for round in 0..30 {
            lab.clients
                .run(|| {
                    let mut stream = connect((source, 40_000).into(), server.address())?;
                    echoes(&mut stream)?;
                    // It closes first, and keeps the pair of addresses in TIME-WAIT.
                    stream.write_all(b"!")?;
                    ensure!(stream.read(&mut [0])? == 0);
                    Ok(())
                })?
                .with_context(|| format!("{source}, connection {round}"))?;
        }
        ensure!(weir.counted("syn-cookie")? > before, "{source}");
    }
    Ok(())
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

#[test]
fn cookies_begin_with_a_flood_and_end_after_it_and_nobody_honest_notices() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let weir = Weir::start(lab, &cookies("auto", true))?;
    lab.get_many(client_v4(0), "/", 4)?;
    ensure!(weir.counted("syn-cookie")? == 0, "nothing happens yet");
    let half_open = half_open(lab)?;

    let flood = |rate| Flood {
        rate: Some(rate),
        sources: vec![
            Sources::Within(SPOOFED_V4.parse().expect("a prefix")),
            Sources::Within(SPOOFED_V6.parse().expect("a prefix")),
        ],
        ..Flood::syns(
            Sources::Within(SPOOFED_V4.parse().expect("a prefix")),
            2_000_000,
        )
    };
    let flooding = flood(10 * START).start(&lab.attackers)?;
    until(SOON, "cookies to begin", || {
        Ok(weir.counted("syn-cookie")? > 1_000)
    })?;
    for segment in half_open {
        complete(lab, segment)?;
    }
    for source in [client_v4(0), client_v6(0)] {
        lab.get_many(source, "/", 50)?;
    }
    flooding.stop()?;

    // More than half of what it began at is enough for it to go on, and would not be for it to begin.
    let flooding = flood(START * 3 / 4).start(&lab.attackers)?;
    until(HOLD, "the time after the flood to be over twice", || {
        lab.get_many(client_v4(1), "/", 1)?;
        Ok(flooding.sent() > START * 3 / 4 * 2 * HELD)
    })?;
    let before = weir.counted("syn-cookie")?;
    until(SOON, "SYNs that are still answered", || {
        Ok(weir.counted("syn-cookie")? > before)
    })?;
    flooding.stop()?;
    within(HOLD, "the end of cookies", || {
        let before = weir.counted("syn-cookie")?;
        lab.get_many(client_v4(1), "/", 1)?;
        Ok((weir.counted("syn-cookie")? == before).then_some(()))
    })
}

/// SYNs of hosts that wait for their SYN-ACKs; returns those.
fn half_open(lab: &Lab) -> Result<Vec<Segment>> {
    let tap = Tap::open(&lab.attackers, None)?;
    let mut answers = Vec::new();
    let botnet: ipnet::Ipv4Net = BOTNET_V4.parse()?;
    let server = at_gateway(attacker_v4(0), 443);
    for source in botnet.hosts().take(8) {
        let kind = Kind::Syn { port: 443 };
        let syn = frame::frame(kind, gateway_mac(2), source.into(), server.ip(), 9);
        send_frames(&lab.attackers, &[syn])?;
        let answer = tap.next(SOON, |frame| {
            is_syn_ack(frame, server)
                && tcp_of(frame).is_some_and(|segment| segment.destination.ip() == source)
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

/// SYNs a second at which cookies begin.
const START: u64 = 1_000;
/// Seconds for which cookies go on after a flood, and somewhat longer than they take to end.
const HELD: u64 = 11;
const HOLD: Duration = Duration::from_secs(40);
const PORT: u16 = 8080;
const VLAN: u16 = 77;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
/// `linux/socket.h`
const MSG_FASTOPEN: i32 = 0x2000_0000;
