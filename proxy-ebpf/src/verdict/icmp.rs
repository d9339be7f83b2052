//! ICMP types that somebody needs. The rest only ever comes from scanners, attackers and mistakes.

use weir_common::Source;

use crate::parse::Ip;
use crate::parse::icmp::Message;

/// Whether a host on today's internet has a use for the message.
#[inline(always)]
pub(super) fn is_useful(ip: &Ip, message: Message) -> bool {
    match ip.source() {
        Source::V4(_) => message.kind < 64 && USEFUL4 >> message.kind & 1 != 0,
        Source::V6(_) => is_useful6(ip.hop_limit(), message.kind),
    }
}

/// Echo reply, destination unreachable, echo request, time exceeded, parameter problem (RFC 792). Not: source quench (RFC
/// 6633), redirects (RFC 1122 lets a gateway ignore them), router discovery, timestamps, information and mask requests.
const USEFUL4: u64 = 1 << 0 | 1 << 3 | 1 << 8 | 1 << 11 | 1 << 12;

/// RFC 4890 §4.4: errors, echo, multicast listener discovery and multicast router discovery; neighbour discovery and what
/// belongs to it only from neighbours. Not: node information, router renumbering, experiments.
#[inline(always)]
fn is_useful6(hop_limit: u8, kind: u8) -> bool {
    match kind {
        // Destination unreachable, packet too big, time exceeded, parameter problem; echo; listener queries and reports.
        1..=4 | 128..=132 | 143 => true,
        // Neighbour and inverse neighbour discovery, secure neighbour discovery.
        133..=137 | 141 | 142 | 148 | 149 => hop_limit == 255,
        // Multicast router discovery (RFC 4286) goes one hop.
        151..=153 => hop_limit == 1,
        _ => false,
    }
}
