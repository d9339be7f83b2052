//! `weir certs`

use std::io;

use super::args::Format;
use super::exit::CliError;
use super::output::{Out, Tone};
use super::place::Place;
use super::table::{Align, Table};
use super::units;
use crate::admin::api;

/// Every certificate.
pub(super) fn certs(place: &Place, format: Format, out: &mut Out) -> Result<(), CliError> {
    let certificates = place.client().certs()?;
    match format {
        Format::Json => out.json(&certificates)?,
        Format::Text => write(&certificates, out)?,
    }
    Ok(())
}

fn write(all: &api::Certificates, out: &mut Out) -> io::Result<()> {
    let mut table = Table::new([
        ("NAMES", Align::Left),
        ("KEY", Align::Left),
        ("EXPIRES", Align::Left),
        ("CHAIN", Align::Left),
    ]);
    for certificate in &all.certificates {
        table.row([
            names(&certificate.names),
            certificate.key_type.clone(),
            expiry(certificate.expires_in_seconds),
            certificate.chain.display().to_string(),
        ]);
    }
    table.write(out)?;
    let errors = all.certificates.iter().filter_map(|one| one.error.as_ref());
    for problem in errors.chain(&all.problems) {
        let line = format!("not in use, the last good one is: {problem}");
        out.line(out.tone(Tone::Alarm, &line))?;
    }
    Ok(())
}

/// The first few.
fn names(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) if names.is_empty() => "-".to_owned(),
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

fn expiry(seconds: i64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown to a few digits")]
    let length = units::duration(seconds.unsigned_abs() as f64);
    if seconds < 0 {
        format!("expired {length} ago")
    } else {
        format!("in {length}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_show_when_they_expire_and_what_keeps_a_new_one_out() {
        let certificate =
            |names: &[&str], expires_in_seconds, error: Option<&str>| api::Certificate {
                names: names.iter().map(ToString::to_string).collect(),
                key_type: "ECDSA P-256".into(),
                issuer: "CN=a".into(),
                not_before: 0,
                not_after: 0,
                expires_in_seconds,
                chain: "/c.pem".into(),
                key: "/k.pem".into(),
                error: error.map(str::to_owned),
            };
        let all = api::Certificates {
            certificates: vec![
                certificate(&["a", "b", "c", "d", "e"], 3600, None),
                certificate(&["*.a"], -60, Some("/k.pem: is empty")),
            ],
            problems: vec![],
        };
        let (mut out, captured) = Out::capture();
        write(&all, &mut out).expect("writes");
        assert_eq!(
            captured.text(),
            "NAMES               KEY          EXPIRES         CHAIN\n\
             a, b, c and 2 more  ECDSA P-256  in 1h           /c.pem\n\
             *.a                 ECDSA P-256  expired 1m ago  /c.pem\n\
             not in use, the last good one is: /k.pem: is empty\n"
        );
    }
}
