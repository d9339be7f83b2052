//! The PROXY protocol, both versions, both ways, with nginx and HAProxy at the other end.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use weir_lab::peer::Nginx;
use weir_lab::topology::{client_v4, client_v6, gateway_address};
use weir_lab::{Client, Config, Lab, Output, Peer, Protocol, Weir, peer, until};

use super::{all, to};
use crate::{SOON, Test};

/// One request over a connection of its own to each of `servers`, which names nobody.
fn get(lab: &Lab, servers: &[SocketAddr]) -> Result<()> {
    for &server in servers {
        for protocol in Protocol::ALL {
            let client = Client::new(&lab.pki, client_v4(3), server, protocol)?;
            let answer = lab.clients.run(|| client.get_blocking("/echo"))??;
            ensure!(answer.status == 200, "{server} {protocol:?}: {answer:?}");
        }
    }
    Ok(())
}

#[test]
fn nginx_and_haproxy_hear_from_weir_who_the_client_is() -> Test {
    let lab = Lab::new()?;
    let there = lab.origins[0].namespace();
    let http = "server { listen 8081 proxy_protocol; return 200 $proxy_protocol_addr; }\n";
    let nginx = Peer::nginx(
        &lab,
        there,
        Nginx {
            http,
            ..Nginx::default()
        },
    )?;
    let haproxy = Peer::haproxy(
        &lab,
        there,
        "frontend f from http\nbind :8082 accept-proxy\nhttp-request return status 200 content-type text/plain lf-string \"%[src]\"\n",
    )?;
    let weir = Weir::start(&lab, &to("http", 8081, "send_proxy_protocol = \"v1\"\n"))?;
    let mut asked = 0;
    for version in ["v1", "v2"] {
        for (peer, port) in [(&nginx, 8081), (&haproxy, 8082)] {
            let more = format!("send_proxy_protocol = \"{version}\"\n");
            weir.rewrite(&to("http", port, &more).text(&lab))?;
            weir.ok(&["reload"])?;
            let before = peer.requests()?.len();
            let mut clients = Vec::new();
            // Two clients in turn over both families: no connection that names one may carry the other's request.
            for source in [client_v4(0), client_v4(1), client_v6(0), client_v4(0)] {
                for protocol in Protocol::ALL {
                    let answer = lab.get(source, protocol, "/")?;
                    ensure!(
                        answer.status == 200,
                        "{version} {port} {source}: {answer:?}"
                    );
                    ensure!(
                        answer.text() == source.to_string(),
                        "{version} {port}: {answer:?}"
                    );
                    clients.push(source.to_string());
                }
            }
            let logged = peer.first_requests(before + clients.len())?;
            ensure!(
                all(&logged[before..], "client") == clients,
                "{version}: {logged:?}"
            );
            asked += clients.len();
        }
    }
    ensure!(nginx.requests()?.len() + haproxy.requests()?.len() == asked);
    Ok(())
}

/// weir that wants a header from the client address 4, and from nobody else.
fn behind(lab: &Lab) -> Config {
    Config {
        listen: format!("proxy_protocol_from = [\"{}/32\"]\n", client_v4(4)),
        log: format!(
            "format = \"json\"\naccess = \"{}\"\n",
            access_log(lab).display()
        ),
        ..Config::default()
    }
}

fn access_log(lab: &Lab) -> std::path::PathBuf {
    lab.directory().join("access.log")
}

/// The clients in the access log, once it has `count` lines.
fn logged_clients(lab: &Lab, count: usize) -> Result<Vec<String>> {
    let mut clients = Vec::new();
    until(SOON, "the requests to be logged", || {
        let text = std::fs::read_to_string(access_log(lab)).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str::<serde_json::Value>);
        // The last one may be half written.
        clients = lines
            .map_while(Result::ok)
            .filter_map(|line| line["client"].as_str().map(str::to_owned))
            .collect();
        Ok(clients.len() >= count)
    })?;
    Ok(clients)
}

#[test]
fn weir_behind_haproxy_and_nginx_knows_the_client_and_nobody_else_may_name_one() -> Test {
    let lab = Lab::new()?;
    let weir = gateway_address(client_v4(0));
    let (here, between) = (client_v4(5), client_v4(4));
    let _weir = Weir::start(&lab, &behind(&lab))?;
    let _haproxy = Peer::haproxy(
        &lab,
        &lab.clients,
        &format!(
            "listen v1 from tcp
bind {here}:8441
server weir {weir}:443 send-proxy source {between}
listen v2 from tcp
bind {here}:8442
server weir {weir}:443 send-proxy-v2 source {between}
listen more from tcp
bind {here}:8443
server weir {weir}:443 send-proxy-v2 proxy-v2-options unique-id,crc32c source {between}
unique-id-format %[uuid()]
listen stranger from tcp
bind {here}:8444
server weir {weir}:443 send-proxy source {here}
listen silent from tcp
bind {here}:8445
server weir {weir}:443 source {between}
"
        ),
    )?;
    let _nginx = Peer::nginx(
        &lab,
        &lab.clients,
        Nginx {
            stream: &format!(
                "server {{ listen {here}:8446; proxy_pass {weir}:443; proxy_bind {between}; proxy_protocol on; }}\n"
            ),
            ..Nginx::default()
        },
    )?;
    let through = |port| SocketAddr::from((here, port));
    get(&lab, &[8441, 8442, 8443, 8446].map(through))?;
    // What nobody stands before is who it is.
    lab.get(client_v4(3), Protocol::Http1, "/")?;
    let clients = logged_clients(&lab, 9)?;
    ensure!(clients == vec![client_v4(3).to_string(); 9], "{clients:?}");

    // Neither a stranger's header nor a listed peer without one gets as far as TLS.
    for port in [8444, 8445] {
        let client = Client::new(&lab.pki, client_v4(3), through(port), Protocol::Http1)?;
        let answer = lab.clients.run(|| client.get_blocking("/"))?;
        ensure!(answer.is_err(), "{port}: {answer:?}");
    }
    let asked: u64 = lab.origins.iter().map(weir_lab::Origin::requests).sum();
    ensure!(asked == 9, "the origins were asked {asked} times");
    Ok(())
}

#[test]
fn the_origin_behind_both_hops_learns_of_the_client_alone() -> Test {
    let lab = Lab::new()?;
    let weir = gateway_address(client_v4(0));
    let (here, between) = (client_v4(5), client_v4(4));
    let _weir = Weir::start(&lab, &behind(&lab))?;
    let _haproxy = Peer::haproxy(
        &lab,
        &lab.clients,
        &format!(
            "listen v2 from tcp\nbind {here}:8442\nserver weir {weir}:443 send-proxy-v2 source {between}\n"
        ),
    )?;
    let to = format!("weir.test:443:{here}:8442");
    let authority = lab.pki.authority.display().to_string();
    let source = client_v4(3).to_string();
    let output: Output = peer::run(
        &lab.clients,
        "curl",
        &[
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "60",
            "--interface",
            &source,
            "--connect-to",
            &to,
            "--cacert",
            &authority,
            "-H",
            "X-Forwarded-For: 192.0.2.9",
            "https://weir.test/echo",
        ],
    )?;
    ensure!(output.code == 0, "{output:?}");
    let seen: serde_json::Value = serde_json::from_str(&output.stdout)?;
    let fields = seen["fields"].to_string();
    ensure!(
        fields.contains(&format!("[\"x-forwarded-for\",\"{source}\"]")),
        "{seen}"
    );
    ensure!(!fields.contains("192.0.2.9"), "{seen}");
    ensure!(
        !fields.contains(&between.to_string()) && !fields.contains(&here.to_string()),
        "{seen}"
    );
    Ok(())
}

/// curl's own header (`--haproxy-protocol`), as it stands before TLS.
#[test]
fn curl_that_names_itself_in_a_header_is_heard_from_the_listed_address_only() -> Test {
    let lab = Lab::new()?;
    let weir = gateway_address(client_v4(0));
    let _weir = Weir::start(&lab, &behind(&lab))?;
    let authority = lab.pki.authority.display().to_string();
    let to = format!("weir.test:443:{weir}:443");
    for (source, welcome) in [(client_v4(4), true), (client_v4(0), false)] {
        let source = source.to_string();
        let output = peer::run(
            &lab.clients,
            "curl",
            &[
                "-sS",
                "--noproxy",
                "*",
                "--max-time",
                "60",
                "--interface",
                &source,
                "--connect-to",
                &to,
                "--cacert",
                &authority,
                "--haproxy-protocol",
                "https://weir.test/",
            ],
        )?;
        ensure!((output.code == 0) == welcome, "{source}: {output:?}");
    }
    Ok(())
}
