//! Origins that are known by name, and names that change.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use weir_lab::names::Failure;
use weir_lab::topology::{client_v4, origin_url};
use weir_lab::{Config, Lab, NameServer, Protocol, Weir, until};

use crate::{SOON, Test};

fn config(server: &str) -> Config {
    Config {
        site: format!(
            "[[upstream]]\nname = \"app\"\nservers = [\"{server}\"]\n\n[[route]]\npath = \"/\"\nupstream = \"app\"\n"
        ),
        ..Config::default()
    }
}

fn address(origin: u8) -> Result<Ipv4Addr> {
    let url = origin_url(origin);
    let authority = url.strip_prefix("http://").context("a URL")?;
    let address: std::net::SocketAddr = authority.parse()?;
    match address.ip() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => anyhow::bail!("origins have IPv4 addresses"),
    }
}

/// Who answers a request on a new connection.
fn answered_by(lab: &Lab) -> Result<String> {
    let answer = lab.get(client_v4(0), Protocol::Http1, "/")?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.origin())
}

/// Waits until the name server was asked `more` times from now on.
fn asked(names: &NameServer, more: u64) -> Test {
    let before = names.heard();
    until(SOON, "the name to be looked up again", || {
        Ok(names.heard() >= before + more)
    })
}

#[test]
fn a_name_that_moves_is_followed_and_one_that_cannot_be_looked_up_stays() -> Test {
    let lab = Lab::new()?;
    let names = lab.name_server()?;
    names.set_addresses("app.lab", &[address(1)?]);
    let site = config("http://app.lab:8080").site;
    // A connection that is made is used for a while.
    let site = site.replace("\n\n", "\ntimeouts = { max_age = \"1s\" }\n\n");
    let config = Config { site, ..config("") };
    let weir = Weir::start(&lab, &config)?;
    // The first request finds the name looked up.
    ensure!(answered_by(&lab)? == "origin-1");

    names.set_addresses("app.lab", &[address(2)?]);
    until(SOON, "the other address to be used", || {
        Ok(answered_by(&lab)? == "origin-2")
    })?;
    for failure in Failure::ALL {
        names.fail(failure);
        asked(&names, 4)?;
        for _ in 0..10 {
            ensure!(answered_by(&lab)? == "origin-2", "{failure:?}");
        }
    }
    until(SOON, "the failure to be told", || {
        Ok(weir.log().contains("name not found"))
    })
}

#[test]
fn the_servers_of_a_service_come_and_go_with_its_records() -> Test {
    let lab = Lab::with_origins(3)?;
    let names = lab.name_server()?;
    let hosts = ["one.lab", "two.lab", "three.lab"];
    for (number, host) in (1..).zip(hosts) {
        names.set_addresses(host, &[address(number)?]);
    }
    names.set_service("_http._tcp.app.lab", &[(hosts[0], 8080), (hosts[1], 8080)]);
    let weir = Weir::start(&lab, &config("srv+http://_http._tcp.app.lab"))?;
    let first: Vec<_> = (0..4).map(|_| answered_by(&lab)).collect::<Result<_>>()?;
    for origin in ["origin-1", "origin-2"] {
        ensure!(first.iter().any(|name| name == origin), "{first:?}");
    }
    weir.ok(&["drain", "app/two.lab"])?;

    names.set_service("_http._tcp.app.lab", &[(hosts[1], 8080), (hosts[2], 8080)]);
    until(SOON, "the new server to answer", || {
        Ok(answered_by(&lab)? == "origin-3")
    })?;
    // One is gone, and one was taken out before the change.
    for _ in 0..10 {
        ensure!(answered_by(&lab)? == "origin-3");
    }
    let servers = weir.json(&["upstreams"])?;
    let servers = &servers["upstreams"][0]["servers"];
    ensure!(servers.as_array().map(Vec::len) == Some(2), "{servers}");

    // A reload knows what was found.
    weir.ok(&["reload"])?;
    ensure!(answered_by(&lab)? == "origin-3");
    Ok(())
}
