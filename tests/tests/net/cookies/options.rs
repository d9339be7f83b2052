//! What a connection that began with a cookie knows of its client's options.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use weir_lab::tcp::{Echo, Negotiated, connect, echoes};
use weir_lab::topology::{client_v4, client_v6};
use weir_lab::{Lab, Weir};

use super::{PORT, cookies};
use crate::Test;
use crate::wire::{Answering, at_gateway};

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
