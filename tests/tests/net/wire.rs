//! What several subjects need of the network around weir.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};
use weir_lab::topology::gateway_address;
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
