//! Packets that nobody honest sends, and those that look odd and must pass.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use weir_lab::flood::send_frames;
use weir_lab::frame::{frame, tcp_segment, too_big};
use weir_lab::tcp::{Echo, Negotiated, Tap, connect, echoes, is_timeout, tcp_of};
use weir_lab::topology::{
    ATTACKER_SIDE, BOTNET_V6, SPOOFED_V4, SPOOFED_V6, attacker_v4, attacker_v6, client_v4,
    client_v6, gateway_address, gateway_mac,
};
use weir_lab::{Config, Flood, Kind, Lab, Namespace, Protocol, Sources, Weir, until};

use crate::wire::at_gateway;
use crate::{SOON, Test};

fn shield(lines: &str) -> Config {
    Config {
        shield: lines.into(),
        ..Config::default()
    }
}

/// Whether a datagram of `size` bytes from `source` reaches a socket of the gateway. If not, it is counted under `reason`;
/// without one, it has to.
fn is_delivered(
    lab: &Lab,
    weir: &Weir<'_>,
    source: IpAddr,
    size: usize,
    reason: Option<&str>,
) -> Result<bool> {
    let server = lab
        .gateway
        .run(|| UdpSocket::bind(at_gateway(source, 9000)))??;
    server.set_read_timeout(Some(Duration::from_millis(20)))?;
    let clients = lab.namespace_of(source);
    let client = clients.run(|| UdpSocket::bind((source, 0)))??;
    let counted = || reason.map_or(Ok(0), |reason| weir.counted(reason));
    let before = counted()?;
    client.send_to(&vec![7; size], server.local_addr()?)?;
    let mut delivered = false;
    until(SOON, "the datagram to arrive or be dropped", || {
        delivered = match server.recv(&mut vec![0; size]) {
            Ok(length) => length == size,
            Err(error) if is_timeout(&error) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(delivered || counted()? > before)
    })?;
    Ok(delivered)
}

#[test]
fn fragments_are_dropped_unless_the_configuration_lets_them_by() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    for (fragments, passes) in [("drop", false), ("pass", true), ("count", true)] {
        let config = shield(&format!("fragments = \"{fragments}\"\n"));
        weir.rewrite(&config.text(&lab))?;
        weir.ok(&["reload"])?;
        for source in [client_v4(0), client_v6(0)] {
            let before = weir.counted("fragment")?;
            let reason = Some("fragment").filter(|_| !passes);
            let delivered = is_delivered(&lab, &weir, source, 4_000, reason)?;
            ensure!(delivered == passes, "{fragments}, {source}");
            let counted = weir.counted("fragment")? > before;
            ensure!(counted == (fragments != "pass"), "{fragments}, {source}");
            ensure!(is_delivered(&lab, &weir, source, 1_000, None)?, "whole");
        }
    }
    Ok(())
}

#[test]
fn path_mtu_discovery_works_for_a_source_over_its_icmp_limit() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(
        &lab,
        &shield("limits = { icmp = { rate = 1, burst = 2 } }\n"),
    )?;
    for (source, mtu, mss) in [
        (attacker_v4(0), 1300, 1300 - 40 - 12),
        (attacker_v6(0), 1280, 1280 - 60 - 12),
    ] {
        let server = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
        let tap = Tap::open(&lab.attackers, None)?;
        let mut stream = lab
            .attackers
            .run(|| connect((source, 0).into(), server.address()))??;
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        let syn_ack = tap.next(SOON, |frame| {
            tcp_of(frame).is_some_and(|segment| {
                segment.source == peer && segment.destination == local && segment.flags & 2 != 0
            })
        })?;
        let segment = tcp_of(&syn_ack).context("it is a SYN-ACK")?;
        let mss_now = || -> Result<u32> {
            let negotiated = Negotiated::of(&lab.gateway, peer, local)?;
            Ok(negotiated.context("the connection is gone")?.mss)
        };
        let before = mss_now()?;
        ensure!(before > mss, "{before}");

        let refused = weir.counted("rate-icmp")?;
        let flood = Flood {
            kinds: vec![Kind::Echo],
            ..Flood::syns(Sources::Listed(vec![source]), 100)
        };
        flood.send_counted(&lab.attackers, || weir.arrived(ATTACKER_SIDE))?;
        ensure!(weir.counted("rate-icmp")? > refused, "over its limit");
        let refused = weir.counted("rate-icmp")?;
        // A router quotes what was too big: here an empty segment of the gateway's, but in its window.
        let quoted = tcp_segment(
            [0; 6],
            (peer.ip(), local.ip()),
            (peer.port(), local.port()),
            (segment.sequence.wrapping_add(1), 0),
            0x10,
        );
        let report = too_big(gateway_mac(2), (source, peer.ip()), mtu, &quoted);
        send_frames(&lab.attackers, &[report])?;
        until(SOON, "the segments to shrink", || Ok(mss_now()? == mss))?;
        ensure!(weir.counted("rate-icmp")? == refused);
        echoes(&mut stream)?;
    }
    Ok(())
}

#[test]
fn neighbours_are_discovered_under_a_flood_and_when_they_are_blocked() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let neighbour = attacker_v6(3);
    let gateway = gateway_address(neighbour);
    let flood = Flood {
        kinds: vec![Kind::Echo, UDP],
        sources: vec![
            Sources::Within(BOTNET_V6.parse()?),
            Sources::Within(SPOOFED_V6.parse()?),
            Sources::Listed(vec![attacker_v6(4)]),
        ],
        rate: Some(20_000),
        ..Flood::syns(Sources::Within(BOTNET_V6.parse()?), 1_000_000)
    };
    let flooding = flood.start(&lab.attackers)?;
    forget(&lab, neighbour)?;
    let sent = flooding.sent();
    until(SOON, "some of the flood", || {
        Ok(flooding.sent() > sent + 1_000)
    })?;
    ensure!(lab.get(client_v6(0), Protocol::Http1, "/")?.status == 200);
    discovers(&lab.gateway, ATTACKER_SIDE, neighbour)?;
    discovers(&lab.attackers, "eth0", gateway)?;

    weir.ok(&["block", "fd77:0:0:2::/64"])?;
    ensure!(flooding.sent() > sent);
    forget(&lab, neighbour)?;
    discovers(&lab.gateway, ATTACKER_SIDE, neighbour)?;
    discovers(&lab.attackers, "eth0", gateway)?;
    weir.ok(&["unblock", "fd77:0:0:2::/64"])?;
    let report = flooding.stop()?;
    ensure!(report.sent > 1_000);
    Ok(())
}

/// Both sides forget each other.
fn forget(lab: &Lab, neighbour: IpAddr) -> Result<()> {
    let gateway = gateway_address(neighbour);
    lab.gateway
        .ip(&format!("neigh del {neighbour} dev {ATTACKER_SIDE}"))?;
    lab.attackers.ip(&format!("neigh del {gateway} dev eth0"))
}

/// Sends `address` something that nobody waits for, until its link-layer address is known: from its answer, or because it
/// asked for ours.
fn discovers(namespace: &Namespace, interface: &str, address: IpAddr) -> Result<()> {
    let socket = namespace.run(|| UdpSocket::bind("[::]:0"))??;
    until(SOON, "a neighbour to be discovered", || {
        // Refused, perhaps, by who was discovered.
        let _ = socket.send_to(b"?", (address, 9));
        let output = namespace.run(|| {
            Command::new("ip")
                .args([
                    "-6",
                    "neigh",
                    "show",
                    &address.to_string(),
                    "dev",
                    interface,
                ])
                .output()
        })??;
        Ok(String::from_utf8_lossy(&output.stdout).contains("lladdr"))
    })
}

#[test]
fn impossible_packets_are_dropped_and_counted_under_what_is_wrong_with_them() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let tcp = |flags| Kind::Tcp {
        ports: (1025, 443),
        flags,
    };
    for (source, own) in [
        (attacker_v4(0), gateway_address(client_v4(0))),
        (attacker_v6(0), gateway_address(client_v6(0))),
    ] {
        let destination = gateway_address(source);
        let loopback: IpAddr = if source.is_ipv4() {
            "127.0.0.1".parse()?
        } else {
            "::1".parse()?
        };
        for (reason, from, kind) in [
            ("spoofed", own, Kind::Echo),
            ("spoofed", destination, UDP),
            ("spoofed", loopback, tcp(2)),
            ("amplification", source, Kind::UdpFrom { ports: (53, 5000) }),
            (
                "amplification",
                source,
                Kind::UdpFrom {
                    ports: (11211, 443),
                },
            ),
            ("bad-flags", source, tcp(0)),
            ("bad-flags", source, tcp(0x03)),
            ("bad-flags", source, tcp(0x06)),
            ("bad-flags", source, tcp(0x29)),
        ] {
            let before = weir.counted(reason)?;
            let bytes = frame(kind, gateway_mac(2), from, destination, 1);
            send_frames(&lab.attackers, &[bytes])?;
            until(SOON, "the packet to be counted", || {
                Ok(weir.counted(reason)? == before + 1)
            })
            .with_context(|| format!("{kind:?} from {from} under {reason}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_host_with_thousands_of_addresses_is_guarded_and_knows_them_all() -> Test {
    let lab = Lab::new()?;
    let own = |n: u32| Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(198, 19, 0, 0)) + n);
    let lines: Vec<String> = (0..5_000)
        .map(|n| format!("address add {}/32 dev lo\n", own(n)))
        .collect();
    let file = lab.directory().join("addresses");
    std::fs::write(&file, lines.concat())?;
    let status = lab
        .gateway
        .run(|| Command::new("ip").arg("-batch").arg(&file).status())??;
    ensure!(status.success(), "{status}");
    let weir = Weir::start(&lab, &Config::default())?;
    let destination = gateway_address(attacker_v4(0));
    for n in [0, 2_500, 4_999] {
        let before = weir.counted("spoofed")?;
        let bytes = frame(Kind::Echo, gateway_mac(2), own(n).into(), destination, 1);
        send_frames(&lab.attackers, &[bytes])?;
        until(SOON, "the packet to be counted", || {
            Ok(weir.counted("spoofed")? == before + 1)
        })?;
    }
    Ok(())
}

#[test]
fn datagrams_that_nobody_waits_for_are_dropped_on_demand() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &shield("sanity = { closed_ports = \"drop\" }\n"))?;
    for source in [attacker_v4(0), attacker_v6(0)] {
        let before = weir.counted("port-closed")?;
        let destination = gateway_address(source);
        let bytes = frame(UDP, gateway_mac(2), source, destination, 1);
        send_frames(&lab.attackers, &[bytes])?;
        until(SOON, "the datagram to be counted", || {
            Ok(weir.counted("port-closed")? == before + 1)
        })?;
        ensure!(is_delivered(&lab, &weir, source, 100, Some("port-closed"))?);
        ensure!(weir.counted("port-closed")? == before + 1);
    }
    Ok(())
}

/// A long header (RFC 9000 §17.2) of the type Initial, or of version 2 (RFC 9369 §3.2), in a datagram of `size`.
fn initial(version: u32, size: usize) -> Vec<u8> {
    let first = if version == 2 { 0xd3 } else { 0xc3 };
    let version: u32 = if version == 2 { 0x6b33_43cf } else { version };
    let mut bytes = vec![first];
    bytes.extend(version.to_be_bytes());
    bytes.resize(size, 8);
    bytes
}

#[test]
fn what_opens_no_quic_connection_is_dropped_where_quic_is_expected_and_nowhere_else() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let wireguard = [vec![1, 0, 0, 0], vec![7; 144]].concat();
    let datagrams = [
        ("a short Initial", initial(1, 1_199), false),
        ("a short Initial of version 2", initial(2, 60), false),
        ("an unknown version", initial(0xff00_001d, 1_200), false),
        ("an Initial", initial(1, 1_200), true),
        ("an Initial of version 2", initial(2, 1_200), true),
        (
            "a Handshake packet",
            [vec![0xe3, 0, 0, 0, 1], vec![8; 40]].concat(),
            true,
        ),
        ("a short header", vec![0x43; 40], true),
        ("a WireGuard handshake", wireguard, true),
        (
            "a DTLS hello",
            [vec![22, 0xfe, 0xfd], vec![0; 60]].concat(),
            true,
        ),
    ];
    for source in [client_v4(0), client_v6(0)] {
        for port in [443, 444] {
            let server = lab
                .gateway
                .run(|| UdpSocket::bind(at_gateway(source, port)))??;
            server.set_read_timeout(Some(Duration::from_millis(20)))?;
            let client = lab
                .namespace_of(source)
                .run(|| UdpSocket::bind((source, 0)))??;
            for (what, datagram, passes) in &datagrams {
                let before = weir.counted("quic-invalid")?;
                client.send_to(datagram, server.local_addr()?)?;
                let mut delivered = false;
                until(SOON, "the datagram to arrive or be dropped", || {
                    delivered = match server.recv(&mut [0; 1_500]) {
                        Ok(length) => length == datagram.len(),
                        Err(error) if is_timeout(&error) => false,
                        Err(error) => return Err(error.into()),
                    };
                    Ok(delivered || weir.counted("quic-invalid")? > before)
                })?;
                let expected = *passes || port == 444;
                ensure!(delivered == expected, "{what} from {source} to {port}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_host_without_an_address_may_ask_for_one() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", SPOOFED_V4])?;
    let ask = |ports| {
        let kind = Kind::UdpFrom { ports };
        let nobody = Ipv4Addr::UNSPECIFIED.into();
        frame(kind, [0xff; 6], nobody, Ipv4Addr::BROADCAST.into(), 1)
    };
    let passed = weir.counted("passed")?;
    send_frames(&lab.attackers, &[ask((68, 67))])?;
    until(
        SOON,
        "DHCP to pass",
        || Ok(weir.counted("passed")? > passed),
    )?;
    ensure!(weir.counted("spoofed")? == 0);
    send_frames(&lab.attackers, &[ask((68, 68))])?;
    until(SOON, "anything else to be counted", || {
        Ok(weir.counted("spoofed")? == 1)
    })
}

const PORT: u16 = 8080;
const UDP: Kind = Kind::Udp {
    port: 9,
    payload: 32,
};
