//! Host tests of the verdicts: whole frames, judged in a [`HostWorld`]. The kernel ring's table draws every line there is;
//! here is what needs another time, another memory or another thread than it can have.

mod cookies;
mod exempt;
mod limits;
mod lists;
mod policies;
mod tunnels;

use weir_common::settings::{Ports, Sanity};
use weir_common::{Outcome, Policy, ShieldSettings, Source};

use super::{Action, Decision};
use crate::host::{HostWorld, List, Lists, Rule};

/// An ordinary time: 1,000 s after boot.
const NOW_NS: u64 = 1_000 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;

const SOURCE4: [u8; 4] = [198, 18, 0, 7];
const SOURCE6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7];
const V4: Source = Source::V4(u32::from_be_bytes(SOURCE4));
const V6: Source = Source::V6([0x2001_0db8_0001_0002, 7]);

const ICMP: u8 = 1;
const IPIP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Everything on, no limits; every source has a state at once.
fn enforcing() -> Box<ShieldSettings> {
    let mut settings = Box::new(ShieldSettings::OPEN);
    settings.enforce = 1;
    settings.calm = u32::MAX;
    settings.prefix_heavy = u32::MAX;
    settings.samples_per_epoch = u8::MAX;
    settings.sanity = Sanity {
        closed_ports: Policy::Pass as u8,
        ..Sanity::all(Policy::Drop)
    };
    settings
}

/// A world with these entries, and the settings that know of them.
fn listing(rules: &[Rule]) -> (HostWorld, Box<ShieldSettings>) {
    let mut settings = enforcing();
    let world = HostWorld::listing(Lists::of(rules, &settings));
    settings.lists = world.lists.populated();
    (world, settings)
}

fn block(source: Source, len: u8) -> Rule {
    Rule::new(List::Block, truncated(source, len), len)
}

fn allow(source: Source, len: u8) -> Rule {
    Rule::new(List::Allow, truncated(source, len), len)
}

fn truncated(source: Source, len: u8) -> Source {
    match source {
        Source::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            Source::V4(address & mask)
        }
        Source::V6([head, tail]) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            let whole = (u128::from(head) << 64 | u128::from(tail)) & mask;
            let low = u64::try_from(whole & u128::from(u64::MAX)).unwrap();
            Source::V6([u64::try_from(whole >> 64).unwrap(), low])
        }
    }
}

fn frame4(source: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total_len = u16::try_from(20 + payload.len()).unwrap();
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(total_len.to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    frame.extend(source);
    frame.extend([198, 18, 255, 1]);
    frame.extend(payload);
    frame
}

fn frame6(source: [u8; 16], next_header: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend([next_header, hops]);
    frame.extend(source);
    frame.extend([0xfd; 16]);
    frame.extend(payload);
    frame
}

/// From port 40,000 to port 443.
fn tcp(flags: u8) -> Vec<u8> {
    tcp_with(flags, &[])
}

fn tcp_with(flags: u8, options: &[u8]) -> Vec<u8> {
    let words = 5 + u8::try_from(options.len() / 4).unwrap();
    let mut segment = vec![0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2];
    segment.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment
}

fn udp(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + data.len()).unwrap().to_be_bytes();
    [&[0x9c, 0x40, 0x01, 0xbb, len[0], len[1], 0, 0], data].concat()
}

fn icmp(kind: u8, code: u8) -> Vec<u8> {
    vec![kind, code, 0, 0, 0, 1, 0, 1]
}

fn syn4() -> Vec<u8> {
    frame4(SOURCE4, TCP, &tcp(SYN))
}

fn ack4() -> Vec<u8> {
    frame4(SOURCE4, TCP, &tcp(ACK))
}

fn syn6() -> Vec<u8> {
    frame6(SOURCE6, TCP, 64, &tcp(SYN))
}

fn ports(of: &[u16]) -> Ports {
    let mut ports = Ports::EMPTY;
    for &port in of {
        ports.insert(port);
    }
    ports
}

fn outcome_of(world: &HostWorld, settings: &ShieldSettings, frame: &[u8]) -> (Action, Outcome) {
    let Decision {
        action, outcome, ..
    } = world.judge(frame, settings, NOW_NS);
    (action, outcome)
}

const PASSED: (Action, Outcome) = (Action::Pass, Outcome::Passed);
const ALLOWED: (Action, Outcome) = (Action::Pass, Outcome::Allowed);
const BLOCKED: (Action, Outcome) = (Action::Drop, Outcome::Blocked);
const MALFORMED: (Action, Outcome) = (Action::Drop, Outcome::Malformed);

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        weir_common::hash::mix(self.0, 0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number of at most `bits` bits, of any length alike.
    fn short(&mut self, bits: u64) -> u64 {
        let bits = self.below(bits);
        self.below(1 << bits)
    }
}
