//! `[shield.sanity]`, and `shield.fragments`, which is a policy of the same kind.

use weir_common::Policy;

use crate::config::reader::Table;
use crate::config::value::Refusal;
use crate::xdp::Sanity;

/// What to do with each class of packets.
pub(super) fn sanity(shield: &mut Table<'_>) -> Sanity {
    let fragments = policy(shield, "fragments", Policy::Drop);
    let mut table = shield.section("sanity");
    if let Some(node) = table.take("fragments") {
        node.refuse(Refusal::invalid(
            "fragments is a key of [shield] itself",
            "move it to [shield]",
        ));
    }
    let sanity = Sanity {
        malformed: policy(&mut table, "malformed", Policy::Drop),
        fragments,
        bad_flags: policy(&mut table, "bad_flags", Policy::Drop),
        spoofed: policy(&mut table, "spoofed", Policy::Drop),
        amplification: policy(&mut table, "amplification", Policy::Drop),
        icmp: policy(&mut table, "icmp", Policy::Drop),
        quic: policy(&mut table, "quic", Policy::Drop),
        closed_ports: policy(&mut table, "closed_ports", Policy::Pass),
        non_ip: policy(&mut table, "non_ip", Policy::Pass),
        pppoe: policy(&mut table, "pppoe", Policy::Pass),
        inner_headers: table.boolean("inner_headers", false),
    };
    table.finish(&[]);
    sanity
}

fn policy(table: &mut Table<'_>, key: &'static str, default: Policy) -> Policy {
    table.choice(
        key,
        default,
        &[
            ("drop", Policy::Drop),
            ("count", Policy::Count),
            ("pass", Policy::Pass),
        ],
        &[],
    )
}
