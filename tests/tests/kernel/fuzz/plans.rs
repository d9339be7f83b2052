//! Settings and rules by chance.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_common::ShieldSettings;
use weir_common::settings::{Cookies, Limit, Limits, Ports, Sanity};
use weir_ebpf::host::List;

use super::packets::{address4, address6};
use super::random::Random;
use crate::frames::{OWN4, OWN6};
use crate::pair::Plan;
use crate::rules::{Ends, Rule};

pub(crate) fn plan(random: &mut Random) -> Plan {
    let mut settings = Box::new(ShieldSettings::OPEN);
    settings.generation = random.next();
    settings.seed = random.pick(&[0, 1, 0x1234_5678_9abc_def0]);
    settings.enforce = u8::from(random.chance(80));
    settings.samples_per_epoch = random.pick(&[0, 1, 3, 255]);
    settings.set = random.byte() & 1;
    settings.bits = random.byte() & 1;
    settings.exact_log2 = random.pick(&[12, 15, 18]);
    settings.cpus_log2 = random.byte() & 3;
    settings.calm = random.pick(&[0, 3, 30, 100_000]);
    settings.prefix_heavy = random.pick(&[1, 5, 50, u32::MAX]);
    settings.sanity = sanity(random);
    settings.cookies = cookies(random);
    settings.limits = limits(random);
    settings.prefix_limits = limits(random);
    settings.amplification_ports = ports(&[53, 123]);
    settings.quic_ports = ports(&[443]);
    if random.chance(50) {
        settings.failsafe_ports = ports(&[22, 443]);
    }
    let count = random.pick(&[0, 0, 1, 3, 10]);
    let mut own: Vec<IpAddr> = Vec::new();
    if random.chance(90) {
        own = vec![OWN4.into(), OWN6.into()];
    }
    Plan {
        settings,
        rules: (0..count).map(|_| rule(random)).collect(),
        own,
    }
}

fn sanity(random: &mut Random) -> Sanity {
    let usual = random.byte() & 3;
    let mut policy = || match random.below(8) {
        0..3 => random.byte() & 3,
        _ => usual,
    };
    Sanity {
        malformed: policy(),
        fragments: policy(),
        bad_flags: policy(),
        spoofed: policy(),
        amplification: policy(),
        icmp: policy(),
        quic: policy(),
        closed_ports: policy(),
        non_ip: policy(),
        pppoe: policy(),
        inner: policy(),
        reserved: 0,
    }
}

fn cookies(random: &mut Random) -> Cookies {
    Cookies {
        start: random.pick(&[1, 20, 1000, u32::MAX]),
        mode: random.pick(&[0, 0, 1, 2]),
        options: random.byte() & 3,
        window_scale: random.byte() & 7,
        reserved: 0,
    }
}

/// From limits that a packet exceeds to none.
fn limits(random: &mut Random) -> Limits {
    let strict = random.chance(50);
    let mut limit = || {
        if !strict || random.chance(40) {
            return Limit::NONE;
        }
        let rate = random.pick(&[1, 100, 10_000, 10_000_000]);
        Limit::per_second(rate, random.pick(&[1, 3, 40, 100_000]))
    };
    Limits {
        packets: limit(),
        bytes: limit(),
        syn: limit(),
        udp: limit(),
        icmp: limit(),
    }
}

fn ports(of: &[u16]) -> Ports {
    let mut ports = Ports::EMPTY;
    for &port in of {
        ports.insert(port);
    }
    ports
}

fn rule(random: &mut Random) -> Rule {
    let network = if random.chance(50) {
        let len = random.pick(&[32, 32, 32, 30, 24, 24, 20, 16, 15, 12, 8]);
        IpNet::new(address4(random).into(), len)
    } else {
        let len = random.pick(&[128, 128, 64, 64, 127, 96, 63, 48, 47, 32, 31, 16, 12]);
        IpNet::new(address6(random).into(), len)
    };
    Rule {
        list: random.pick(&[List::Allow, List::Block, List::Block]),
        network: network.expect("the lengths fit").trunc(),
        ends: random.pick(&[Ends::Never, Ends::Never, Ends::InAnHour, Ends::LongAgo]),
    }
}
