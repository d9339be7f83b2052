//! Honest clients, honest origins.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Version};
use serde_json::Value;
use weir_lab::topology::{ATTACKER_SIDE, client_v4, client_v6, origin_url};
use weir_lab::{Answer, Config, Lab, Protocol, Weir, client, until};

use crate::{SOON, Test};

#[test]
fn clients_over_both_protocols_and_families_get_answers_of_both_origins() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &Config::default())?;
    for source in [client_v4(0), client_v6(0)] {
        for protocol in Protocol::ALL {
            let client = lab.client(source, protocol)?;
            let answers = lab.clients.run(|| {
                client::blocking(async {
                    let mut connection = client.connect().await?;
                    let mut answers = Vec::new();
                    for _ in 0..20 {
                        answers.push(connection.get("/").await?);
                    }
                    Ok(answers)
                })
            })??;
            let case = format!("{source} {protocol:?}");
            let version = match protocol {
                Protocol::Http1 => Version::HTTP_11,
                Protocol::Http2 => Version::HTTP_2,
            };
            for answer in &answers {
                ensure!(answer.status == 200, "{case}: {answer:?}");
                ensure!(answer.version == version, "{case}: {answer:?}");
            }
            let origins: BTreeSet<_> = answers.iter().map(Answer::origin).collect();
            let both = BTreeSet::from(["origin-1".to_owned(), "origin-2".to_owned()]);
            ensure!(origins == both, "{case}: {origins:?}");
        }
    }
    Ok(())
}

#[test]
fn the_origin_learns_who_asked_and_the_client_does_not_learn_who_answered() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &Config::default())?;
    for (source, protocol, via) in [
        (client_v4(1), Protocol::Http1, "1.1 weir"),
        (client_v6(1), Protocol::Http2, "2.0 weir"),
    ] {
        let client = lab.client(source, protocol)?;
        let request = Request::get("/echo")
            .header("x-forwarded-for", "192.0.2.66")
            .header("x-custom", "kept")
            .body(Full::default())?;
        let answer = lab.clients.run(|| client.send_blocking(request))??;
        let seen: Value = serde_json::from_slice(&answer.content)?;
        let field = |name: &str| received_field(&seen, name);
        ensure!(field("x-forwarded-for") == source.to_string(), "{seen}");
        ensure!(field("x-forwarded-proto") == "https", "{seen}");
        ensure!(field("x-forwarded-host") == "weir.test", "{seen}");
        ensure!(field("forwarded").contains("proto=https"), "{seen}");
        ensure!(field("forwarded").contains(&source.to_string()), "{seen}");
        ensure!(field("via").starts_with(via), "{seen}");
        ensure!(field("x-custom") == "kept", "{seen}");
        ensure!(!field("x-request-id").is_empty(), "{seen}");
        ensure!(answer.field("via").contains("weir"), "{answer:?}");
        for hidden in ["server", "x-powered-by"] {
            ensure!(
                !answer.field(hidden).contains("origin"),
                "{hidden}: {answer:?}"
            );
        }
    }
    Ok(())
}

/// The values of every field line `name` in what `/echo` saw.
fn received_field(seen: &Value, name: &str) -> String {
    let lines = seen["fields"].as_array().map_or(&[][..], Vec::as_slice);
    let values: Vec<_> = lines
        .iter()
        .filter(|line| line[0] == name)
        .filter_map(|line| line[1].as_str())
        .collect();
    values.join(", ")
}

#[test]
fn large_content_streams_both_ways() -> Test {
    const BYTES: usize = 8 << 20;
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &Config::default())?;
    for protocol in Protocol::ALL {
        let client = lab.client(client_v4(0), protocol)?;
        let content = Full::new(Bytes::from(vec![b'u'; BYTES]));
        let request = Request::post("/echo").body(content)?;
        let answer = lab.clients.run(|| client.send_blocking(request))??;
        ensure!(answer.status == 200, "{answer:?}");
        let seen: Value = serde_json::from_slice(&answer.content)?;
        ensure!(seen["content_length"] == BYTES, "{protocol:?}: {seen}");

        let down = lab.get(client_v4(0), protocol, &format!("/big?bytes={BYTES}"))?;
        ensure!(down.status == 200, "{protocol:?}: status {}", down.status);
        ensure!(down.content.len() == BYTES, "{protocol:?}");
        ensure!(
            down.content.iter().all(|byte| *byte == b'x'),
            "{protocol:?}"
        );
    }
    Ok(())
}

#[test]
fn status_and_upstreams_tell_what_is_going_on() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    lab.get_many(client_v4(0), "/", 10)?;
    let status = weir.json(&["status"])?;
    ensure!(status["state"] == "serving", "{status}");
    ensure!(status["shield"]["enforcing"] == true, "{status}");
    ensure!(status["workers"] == 2, "{status}");
    let interfaces = status["shield"]["interfaces"]
        .as_array()
        .context("interfaces")?;
    ensure!(interfaces.len() == 2, "{status}");
    ensure!(interfaces.iter().all(|i| i["mode"] == "native"), "{status}");
    ensure!(status["listeners"][0]["address"] == "[::]:443", "{status}");

    until(SOON, "all requests to be accounted for", || {
        let upstreams = weir.json(&["upstreams"])?;
        let servers = upstreams["upstreams"][0]["servers"]
            .as_array()
            .context("servers")?;
        for (server, number) in servers.iter().zip(1..) {
            let name = server["server"].as_str().context("server")?;
            ensure!(origin_url(number).ends_with(name), "{upstreams}");
            ensure!(server["health"] == "healthy", "{upstreams}");
        }
        Ok(servers
            .iter()
            .filter_map(|s| s["requests"].as_u64())
            .sum::<u64>()
            == 10)
    })?;
    let text = weir.ok(&["status"])?;
    ensure!(text.contains("pub0") && text.contains("native"), "{text}");
    Ok(())
}

#[test]
fn traffic_that_is_not_ip_passes_and_is_counted() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let before = weir.counted("non-ip")?;
    let request = weir_lab::frame::arp_request([10, 77, 2, 11].into(), [10, 77, 2, 1].into());
    weir_lab::flood::send_frames(&lab.attackers, &vec![request; 25])?;
    until(SOON, "25 ARP requests to be counted", || {
        Ok(weir.counted("non-ip")? >= before + 25)
    })?;
    // Passing means that the gateway answers for an address nobody entered by hand.
    lab.attackers
        .ip("neigh del 10.77.2.1 dev eth0\nneigh flush dev eth0")?;
    lab.get(weir_lab::topology::attacker_v4(0), Protocol::Http1, "/")
        .with_context(|| format!("{ATTACKER_SIDE} must let ARP through"))?;
    Ok(())
}
