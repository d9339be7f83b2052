//! A path with a link that takes smaller packets than its ends know of (RFC 1191, RFC 8201).
//!
//! ```text
//! far eth0 ──── wide0 router small0 ════ small1 clients eth0 ──── pub0 gateway
//! ```
//!
//! All links take 1,500 bytes but the double one. What is too big for it comes from the gateway, and the host before it says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use weir_lab::topology::{client_v4, client_v6, gateway_address};
use weir_lab::{Client, Config, Lab, Namespace, Protocol, Weir};

use crate::Test;
use crate::wire::Answering;

#[test]
fn a_large_response_arrives_over_a_smaller_link_with_everything_in_the_shield_on() -> Test {
    let answering = Answering::new()?;
    let lab = &answering.lab;
    let path = Path::behind_the_clients(lab)?;
    // The kernel is not to find out by itself.
    lab.gateway.sysctl("net/ipv4/tcp_mtu_probing", "0")?;
    let weir = Weir::start(lab, &everything_on())?;
    for (far, neighbour) in [(FAR_V4, client_v4(0)), (FAR_V6, client_v6(0))] {
        ensure!(known_mtu(lab, far)?.is_none(), "{far}: known before");
        let server = (gateway_address(neighbour), 443).into();
        let before = weir.counted("syn-cookie")?;
        for protocol in Protocol::ALL {
            let client = Client::new(&lab.pki, far, server, protocol)?;
            let target = format!("/big?bytes={BYTES}");
            let answer = path.far.run(|| client.get_blocking(&target))??;
            ensure!(answer.status == 200, "{far}: {}", answer.status);
            ensure!(answer.content.len() == BYTES, "{far}");
        }
        let answered = weir.counted("syn-cookie")? - before;
        ensure!(answered >= 2, "{far}: {answered} SYNs answered");
        let known = known_mtu(lab, far)?;
        ensure!(known == Some(SMALL), "{far}: {known:?}");
    }
    ensure!(weir.counted("icmp-type")? == 0);
    Ok(())
}

/// Every check that there is, all of them dropping, and every SYN answered.
fn everything_on() -> Config {
    Config {
        shield: r#"manage_sysctls = true
[shield.sanity]
malformed = "drop"
bad_flags = "drop"
spoofed = "drop"
amplification = "drop"
icmp = "drop"
quic = "drop"
closed_ports = "drop"
[shield.syn_cookies]
mode = "always"
"#
        .into(),
        ..Config::default()
    }
}

/// What the gateway has learnt of the path to `host`, in bytes.
fn known_mtu(lab: &Lab, host: IpAddr) -> Result<Option<u32>> {
    let host = host.to_string();
    let route = || Command::new("ip").args(["route", "get", &host]).output();
    let output = lab.gateway.run(route)??;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
    words
        .nth(1)
        .map(|mtu| mtu.parse().with_context(|| text.clone()))
        .transpose()
}

/// The hosts beyond the clients. The clients' namespace forwards for them.
struct Path {
    far: Namespace,
    _router: Namespace,
}

impl Path {
    fn behind_the_clients(lab: &Lab) -> Result<Self> {
        let label = lab.clients.name();
        let far = Namespace::create(format!("{label}-far"))?;
        let router = Namespace::create(format!("{label}-router"))?;
        for namespace in [&far, &router, &lab.clients] {
            // Addresses are to be of use at once.
            namespace.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        }
        for namespace in [&router, &lab.clients] {
            namespace.sysctl("net/ipv4/ip_forward", "1")?;
            namespace.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        link(&router, "wide0", 1500, (&far, "eth0"), 5)?;
        link(&router, "small0", SMALL, (&lab.clients, "small1"), 6)?;
        let (gateway_v4, gateway_v6) =
            (gateway_address(client_v4(0)), gateway_address(client_v6(0)));
        far.ip(&format!(
            "route add {gateway_v4} via 10.77.5.1\nroute add {gateway_v6} via fd77:0:0:5::1\n"
        ))?;
        router.ip(&format!(
            "route add {gateway_v4} via 10.77.6.2\nroute add {gateway_v6} via fd77:0:0:6::2\n"
        ))?;
        lab.clients.ip(
            "route add 10.77.5.0/24 via 10.77.6.1\nroute add fd77:0:0:5::/64 via fd77:0:0:6::1\n",
        )?;
        let (via_v4, via_v6) = (client_v4(0), client_v6(0));
        lab.gateway.ip(&format!(
            "route add 10.77.5.0/24 via {via_v4}\nroute add fd77:0:0:5::/64 via {via_v6} dev pub0\n"
        ))?;
        Ok(Self {
            far,
            _router: router,
        })
    }
}

/// Links `name` in `namespace` to its peer, host 1 and host 2 of the networks with this number.
fn link(
    namespace: &Namespace,
    name: &str,
    mtu: u32,
    (peer, peer_name): (&Namespace, &str),
    network: u8,
) -> Result<()> {
    let peer_namespace = peer.name();
    namespace.ip(&format!(
        "link add {name} mtu {mtu} type veth peer name {peer_name} mtu {mtu} netns {peer_namespace}\n"
    ))?;
    for (namespace, name, host) in [(namespace, name, 1), (peer, peer_name, 2)] {
        namespace.ip(&format!(
            "addr add 10.77.{network}.{host}/24 dev {name}
addr add fd77:0:0:{network}::{host}/64 dev {name} nodad
link set {name} up
"
        ))?;
    }
    Ok(())
}

/// Bytes that the small link takes.
const SMALL: u32 = 1300;
/// Of a response: thousands of segments.
const BYTES: usize = 4 << 20;
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 5, 2));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 5, 0, 0, 0, 2));
