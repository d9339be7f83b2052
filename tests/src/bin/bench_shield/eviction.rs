//! A hundred million sources never seen before, and a thousand that were there first: does the flood cost anybody its state?

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use anyhow::{Result, ensure};
use aya::{TestRun as _, TestRunOptions};
use weir_common::Source;
use weir_common::addr::source_key;

use crate::frames::{ACK, TCP, frame, ipv4, ipv6, tcp};
use crate::reference::References;
use crate::report::{Figure, Report, Row, Target};
use crate::shield::{Capacity, Settings, Shield};
use crate::step::{Flood, Sources};

/// Counts them.
pub(crate) fn run(references: &References, report: &Report) -> Result<()> {
    report.group("eviction: 100 million spoofed /64s, and 1,000 honest sources in between")?;
    let mut shield = Shield::load(Capacity::Default)?;
    shield.settings(Settings::Everything)?;
    let honest: Vec<Honest> = (0..HONEST).map(Honest::new).collect();
    let stranger = stranger();
    let mut flood = Flood::new(references, shield.program()?, &stranger, SPOOFED)?;
    let started = Instant::now();
    send(&shield, &honest)?;
    for _ in 0..ROUNDS {
        flood.send(SPOOFED_A_ROUND)?;
        send(&shield, &honest)?;
    }
    let took = started.elapsed();
    tell(report, &shield, &honest)?;
    report.note(&format!(
        "{} packets in {:.1} s",
        u64::from(ROUNDS) * u64::from(SPOOFED_A_ROUND),
        took.as_secs_f64()
    ))
}

fn tell(report: &Report, shield: &Shield, honest: &[Honest]) -> Result<()> {
    let states = shield.sources()?;
    let packets = |honest: &Honest| states.get(&honest.key).map(|state| state.packets);
    let known = honest.iter().filter_map(packets);
    let exact = known
        .clone()
        .filter(|packets| *packets == u64::from(ROUNDS) + 1);
    let (known, exact) = (known.count() as u64, exact.count() as u64);
    let spoofed = states.len() as u64 - known;
    let all = Target::Reaches(Figure::Count(HONEST.into()));
    let few = Target::Within(Figure::Count(FEW));
    for (case, count, target) in [
        ("honest sources that have their state", known, all),
        ("of them with every packet counted", exact, all),
        ("spoofed sources that have a state", spoofed, few),
    ] {
        report.row(&Row {
            case: case.to_owned(),
            weir: Some(Figure::Count(count)),
            reference: None,
            target,
            note: String::new(),
        })?;
    }
    Ok(())
}

/// A packet of each.
fn send(shield: &Shield, honest: &[Honest]) -> Result<()> {
    let program = shield.program()?;
    for Honest { frame, .. } in honest {
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::default()
        })?;
        ensure!(
            result.return_value == XDP_PASS,
            "an honest packet was dropped"
        );
    }
    Ok(())
}

/// A source that nothing speaks against.
struct Honest {
    frame: Vec<u8>,
    /// Of its state.
    key: u64,
}

impl Honest {
    /// Half of them IPv4.
    fn new(number: u32) -> Self {
        let segment = tcp(ACK, &[]);
        if number.is_multiple_of(2) {
            let address = Ipv4Addr::from_bits(FIRST_V4.to_bits() + number);
            Self {
                frame: frame(&ipv4(address, TCP, &segment)),
                key: source_key(Source::V4(address.to_bits())),
            }
        } else {
            let bits = (0x2001_0db8 << 96) | (u128::from(number) << 64) | 7;
            let head = 0x2001_0db8 << 32 | u64::from(number);
            Self {
                frame: frame(&ipv6(Ipv6Addr::from_bits(bits), TCP, &segment)),
                key: source_key(Source::V6([head, 7])),
            }
        }
    }
}

/// The frame whose source changes.
fn stranger() -> Vec<u8> {
    let first = Ipv6Addr::new(0x2001, 0xdb8, 0x8000, 0, 0, 0, 0, 7);
    frame(&ipv6(first, TCP, &tcp(ACK, &[])))
}

const HONEST: u32 = 1000;
const FIRST_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const ROUNDS: u32 = 100;
const SPOOFED_A_ROUND: u32 = 1_000_000;
/// The upper half of `2001:db8::/32`, each /64 once; honest ones are of the lower half.
const SPOOFED: Sources = Sources::Turn {
    base: Ipv4Addr::new(128, 0, 0, 0),
    mask: 0x7fff_ffff,
};
/// A hundredth of the states that there are by default: what comes in the calm before a flood is noticed, and after a pause.
const FEW: u64 = 10_000;
const XDP_PASS: u32 = 2;
