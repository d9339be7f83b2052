//! HAProxy as the origin server, and as the next hop on the way to one.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;
use weir_lab::topology::client_v4;
use weir_lab::{Lab, Peer, Protocol, Weir, client};

use super::{all, to, verified};
use crate::Test;

#[test]
fn haproxy_as_origin_answers_over_every_version_of_http() -> Test {
    let lab = Lab::new()?;
    let pem = lab.directory().join("haproxy.pem");
    let both = std::fs::read_to_string(&lab.pki.chain)? + &std::fs::read_to_string(&lab.pki.key)?;
    std::fs::write(&pem, both)?;
    let pem = pem.display();
    let haproxy = Peer::haproxy(
        &lab,
        lab.origins[0].namespace(),
        &format!(
            "frontend f from http
bind :8081
bind :8082 proto h2
bind :8443 ssl crt {pem} alpn h2,http/1.1
capture request header x-forwarded-for len 64
http-request return status 200 content-type text/plain lf-string \"%[req.ver]\"
"
        ),
    )?;
    let tls = verified(&lab);
    let weir = Weir::start(&lab, &to("http", 8081, ""))?;
    for (scheme, port, more, version) in [
        ("http", 8081, "", "1.1"),
        ("http", 8082, "protocol = \"h2c\"\n", "2.0"),
        ("https", 8443, tls.as_str(), "2.0"),
        (
            "https",
            8443,
            &format!("{tls}protocol = \"http/1.1\"\n"),
            "1.1",
        ),
    ] {
        weir.rewrite(&to(scheme, port, more).text(&lab))?;
        weir.ok(&["reload"])?;
        let before = haproxy.requests()?.len();
        for protocol in Protocol::ALL {
            let answer = lab.get(client_v4(2), protocol, "/")?;
            ensure!(
                answer.status == 200 && answer.text() == version,
                "{scheme} {more}: {answer:?}"
            );
        }
        let logged = haproxy.first_requests(before + 2)?;
        let client = client_v4(2).to_string();
        ensure!(
            all(&logged, "forwarded")
                .iter()
                .all(|address| *address == client),
            "{logged:?}"
        );
    }
    Ok(())
}

#[test]
fn haproxy_as_next_hop_keeps_connections_and_loses_nothing() -> Test {
    const BYTES: usize = 6_000_000;
    let lab = Lab::new()?;
    let haproxy = Peer::haproxy(
        &lab,
        lab.origins[0].namespace(),
        "frontend f from http
bind :8081
default_backend origin
backend origin from http
server origin 127.0.0.1:8080
",
    )?;
    let _weir = Weir::start(&lab, &to("http", 8081, ""))?;
    for (round, protocol) in (1..).zip(Protocol::ALL) {
        let client = lab.client(client_v4(0), protocol)?;
        let before = haproxy.requests()?.len();
        lab.clients.run(|| {
            client::blocking(async {
                let mut connection = client.connect().await?;
                let upload = Full::new(Bytes::from(vec![b'u'; BYTES]));
                let answer = connection
                    .send(Request::post("/echo").body(upload)?)
                    .await?;
                let seen: Value = serde_json::from_slice(&answer.content)?;
                ensure!(seen["content_length"] == BYTES, "{protocol:?}: {seen}");
                let via = seen["fields"].as_array().context("fields")?;
                ensure!(via.iter().any(|line| line[0] == "via"), "{seen}");
                let big = connection.get(&format!("/big?bytes={BYTES}")).await?;
                ensure!(big.content.len() == BYTES, "{protocol:?}");
                let slow = connection.get("/slow?ms=50").await?;
                ensure!(
                    slow.text() == "origin-1\n".repeat(10),
                    "{protocol:?}: {slow:?}"
                );
                for _ in 0..20 {
                    let answer = connection.get("/").await?;
                    ensure!(answer.status == 200, "{answer:?}");
                }
                Ok(())
            })
        })??;
        let logged = haproxy.first_requests(round * 23)?;
        let connections: BTreeSet<_> = all(&logged[before..], "connection").into_iter().collect();
        // Next to none: one is made where a request comes before the last connection is given back.
        ensure!(connections.len() <= 3, "{protocol:?}: {logged:?}");
    }
    Ok(())
}

#[test]
fn what_haproxy_refuses_for_itself_reaches_the_client_as_it_is() -> Test {
    let lab = Lab::new()?;
    let _haproxy = Peer::haproxy(
        &lab,
        lab.origins[0].namespace(),
        "frontend f from http
bind :8081
http-request deny deny_status 403 if { path /denied }
default_backend nobody
backend nobody from http
server nobody 127.0.0.1:1
",
    )?;
    let _weir = Weir::start(&lab, &to("http", 8081, ""))?;
    for protocol in Protocol::ALL {
        let answer = lab.get(client_v4(0), protocol, "/denied")?;
        ensure!(answer.status == 403, "{protocol:?}: {answer:?}");
        let answer = lab.get(client_v4(0), protocol, "/")?;
        ensure!(answer.status == 503, "{protocol:?}: {answer:?}");
    }
    Ok(())
}
