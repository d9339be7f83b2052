//! What several subjects need of the network around weir.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};
use weir_lab::pipe::feed;
use weir_lab::topology::{BOTNET_V4, BOTNET_V6, gateway_address};
use weir_lab::{Lab, Namespace};

use crate::shield::load_foreign;

/// A lab whose outer ends take what the shield answers: a veth hands frames that an XDP program sends to an interface that
/// has a program, too.
pub(crate) struct Answering {
    pub(crate) lab: Lab,
    _passing: Vec<Ebpf>,
}

impl Answering {
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let passing = [&lab.clients, &lab.attackers]
            .into_iter()
            .map(pass_everything)
            .collect::<Result<_>>()?;
        Ok(Self {
            lab,
            _passing: passing,
        })
    }
}

/// Attaches a program that passes everything: weir's own without settings enforces nothing.
fn pass_everything(namespace: &Namespace) -> Result<Ebpf> {
    namespace.run(|| {
        let mut ebpf = load_foreign()?;
        let program: &mut Xdp = ebpf.program_mut("weir").context("no program")?.try_into()?;
        program.load()?;
        program.attach("eth0", XdpMode::Driver)?;
        Ok(ebpf)
    })?
}

/// `port` at the gateway's address on the link of `peer`.
pub(crate) fn at_gateway(peer: std::net::IpAddr, port: u16) -> SocketAddr {
    (gateway_address(peer), port).into()
}

/// From now on, [counts](leaked) what of the botnet reaches the gateway's network stack.
pub(crate) fn watch(lab: &Lab) -> Result<()> {
    nft(
        lab,
        &format!(
            "table inet watch {{
                counter leaked {{}}
                chain arriving {{
                    type filter hook prerouting priority -400;
                    ip saddr {BOTNET_V4} counter name leaked
                    ip6 saddr {BOTNET_V6} counter name leaked
                }}
            }}"
        ),
    )
    .map(drop)
}

/// Packets that have reached it.
pub(crate) fn leaked(lab: &Lab) -> Result<u64> {
    let text = nft(lab, "list counter inet watch leaked")?;
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    Ok(words.nth(1).context("no packets")?.parse()?)
}

fn nft(lab: &Lab, commands: &str) -> Result<String> {
    let nft = || feed(Command::new("nft").args(["-f", "-"]), commands);
    lab.gateway.run(nft)?
}
