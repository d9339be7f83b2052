//! Cases of the sanity checks: packets that nobody honest sends.

use anyhow::Result;
use weir_common::Outcome;

use crate::frames::{FIN, SYN, TCP, UDP, frame, ipv4, tcp, udp};
use crate::lists::{HOT_V4, prefixes, share};
use crate::measure::{Subject, together};
use crate::reference::References;
use crate::report::{Figure, Report, Row, Target};
use crate::shield::{Ability, Capacity, Settings, Shield};

/// Measures them.
pub(crate) fn run(references: &References, report: &Report) -> Result<()> {
    report.group("sanity checks: one packet, BPF_PROG_TEST_RUN")?;
    let mut shield = Shield::load(Capacity::Default)?;
    shield.fill_prefixes(&prefixes())?;
    shield.settings(Settings::Everything)?;
    for (case, outcome, ability, frame) in cases() {
        let can = shield.can(ability);
        let mut subjects = vec![Subject {
            program: references.parse_drop()?,
            frame: &frame,
        }];
        if can {
            subjects.push(Subject {
                program: shield.program()?,
                frame: &frame,
            });
        }
        let before = shield.counted(outcome)?;
        let costs = together(&subjects)?;
        let counted = shield.counted(outcome)? - before;
        report.row(&Row {
            case: format!("drop, {case}: everything on"),
            weir: costs.ns.get(1).copied().map(Figure::Ns),
            reference: Some(("C parse + drop", Figure::Ns(costs.ns[0]))),
            target: Target::AtMost(2.0),
            note: if can {
                share("weir", &costs, counted)
            } else {
                String::new()
            },
        })?;
    }
    Ok(())
}

fn cases() -> [(&'static str, Outcome, Ability, Vec<u8>); 3] {
    let mut longer_than_its_frame = frame(&ipv4(HOT_V4, TCP, &tcp(SYN, &[])));
    longer_than_its_frame[16..18].copy_from_slice(&1500_u16.to_be_bytes());
    [
        (
            "amplification",
            Outcome::Amplification,
            Ability::Amplification,
            frame(&ipv4(HOT_V4, UDP, &udp(123, &[0; 16]))),
        ),
        (
            "malformed",
            Outcome::Malformed,
            Ability::Malformed,
            longer_than_its_frame,
        ),
        (
            "bad flags",
            Outcome::BadFlags,
            Ability::BadFlags,
            frame(&ipv4(HOT_V4, TCP, &tcp(SYN | FIN, &[]))),
        ),
    ]
}
