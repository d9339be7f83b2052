//! What a value's text means: durations, sizes, prefixes, addresses, paths. Knows nothing of keys or lines: says what is wrong, and the reader says where.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::problem::ProblemKind;

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: ProblemKind,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Refusal {
    /// The value is malformed or out of bounds.
    pub(super) fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::InvalidValue,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// A later version of weir will take it.
    pub(super) fn not_supported(what: &str, hint: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::NotSupported,
            message: format!("{what} is not supported by this version of weir"),
            hint: hint.into(),
        }
    }

    /// It clashes with another value.
    pub(super) fn conflict(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::Conflict,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// `"10s"`, `"1h 30m"`.
pub(super) fn duration(text: &str) -> Result<Duration, Refusal> {
    humantime::parse_duration(text).map_err(|error| {
        Refusal::invalid(
            format!("not a duration: {error}"),
            "write a number and a unit, such as \"10s\", \"500ms\" or \"1h 30m\"",
        )
    })
}

/// `"512MiB"` in bytes: a whole number and one of [`UNITS`].
pub(super) fn size(text: &str) -> Result<u64, Refusal> {
    let refusal = || {
        Refusal::invalid(
            "not a size",
            "write a whole number and B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)",
        )
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok().ok_or_else(refusal)?;
    let unit = unit.trim_start();
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(refusal)?;
    number
        .checked_mul(*factor)
        .ok_or_else(|| Refusal::invalid("larger than any memory", ""))
}

/// For messages: a size in the largest unit that divides it.
pub(super) fn size_text(bytes: u64) -> String {
    [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ]
    .into_iter()
    .find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor))
    .map_or_else(
        || bytes.to_string(),
        |(unit, factor)| format!("{}{unit}", bytes / factor),
    )
}

/// `"192.0.2.0/24"`; a bare address is one address.
pub(super) fn network(text: &str) -> Result<IpNet, Refusal> {
    let network = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        .ok_or_else(|| {
            Refusal::invalid(
                "not an address or prefix",
                "write \"192.0.2.7\", \"192.0.2.0/24\" or \"2001:db8::/32\"",
            )
        })?;
    if network.addr() != network.network() {
        // Blocking or allowing more than was meant is worse than asking.
        return Err(Refusal::invalid(
            "has bits set after the prefix",
            format!("write \"{}\" or \"{}\"", network.trunc(), network.addr()),
        ));
    }
    if let IpNet::V6(v6) = network
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(Refusal::invalid(
            "an IPv4-mapped address, which no packet carries as its source",
            "write it as IPv4",
        ));
    }
    Ok(network)
}

/// `"[::]:443"`, with a port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, Refusal> {
    let address = text.parse::<SocketAddr>().ok().ok_or_else(|| {
        let hint = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => format!("add a port: \"{address}:443\""),
            Ok(IpAddr::V6(address)) => format!("add a port: \"[{address}]:443\""),
            Err(_) => "write an address literal and a port, such as \"[::]:443\" (all IPv4 and IPv6 addresses) \
                       or \"192.0.2.1:80\""
                .to_owned(),
        };
        Refusal::invalid("not a socket address", hint)
    })?;
    if address.port() == 0 {
        return Err(Refusal::invalid(
            "port 0 would be another port on each worker",
            "name a port from 1 to 65535",
        ));
    }
    Ok(address)
}

/// A DNS name, lower case; `*.` in front stands for any one label.
pub(super) fn host_name(text: &str) -> Result<String, Refusal> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Refusal::invalid(
            "not a host name",
            "write a name such as \"example.com\" or \"*.example.com\"",
        ))
    }
}

/// A path from the root: weir does not depend on the directory it was started in.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Refusal> {
    if text.starts_with('/') && !text.contains('\0') {
        Ok(PathBuf::from(text))
    } else {
        Err(Refusal::invalid(
            "not an absolute path",
            "write the whole path, from /",
        ))
    }
}

const UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_whole_number_and_a_unit() {
        for (text, bytes) in [
            ("0B", Some(0)),
            ("10B", Some(10)),
            ("1KB", Some(1000)),
            ("1kB", Some(1000)),
            ("32KiB", Some(32_768)),
            ("512MiB", Some(536_870_912)),
            ("512 MiB", Some(536_870_912)),
            ("2GB", Some(2_000_000_000)),
            ("1TiB", Some(1 << 40)),
            ("", None),
            ("10", None),
            ("MiB", None),
            ("1.5GiB", None),
            ("-1B", None),
            ("1mib", None),
            ("1MiBs", None),
            ("99999999999999999999B", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (0, "0"),
            (1000, "1000"),
            (8192, "8KiB"),
            (1 << 40, "1TiB"),
            (3 << 20, "3MiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }

    #[test]
    fn networks_are_prefixes_or_bare_addresses() {
        for (text, expected) in [
            ("192.0.2.0/24", Some("192.0.2.0/24")),
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("2001:DB8::1", Some("2001:db8::1/128")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("192.0.2.7/24", None),
            ("192.0.2.0/33", None),
            ("::ffff:192.0.2.7", None),
            ("example.com", None),
            ("", None),
        ] {
            assert_eq!(
                network(text).ok().map(|n| n.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_prefix_with_host_bits_is_refused_with_both_meanings() {
        let refusal = network("192.0.2.7/24").expect_err("host bits");
        assert_eq!(refusal.hint, "write \"192.0.2.0/24\" or \"192.0.2.7\"");
    }

    #[test]
    fn socket_addresses_need_an_address_and_a_port() {
        for (text, hint) in [
            ("192.0.2.1", "add a port: \"192.0.2.1:443\""),
            ("::1", "add a port: \"[::1]:443\""),
            ("192.0.2.1:0", "name a port from 1 to 65535"),
        ] {
            assert_eq!(socket_address(text).expect_err(text).hint, hint);
        }
        for text in ["localhost:80", ":443", "192.0.2.1:65536", ""] {
            assert!(socket_address(text).is_err(), "{text}");
        }
        assert!(socket_address("[::]:443").is_ok());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1h 30m").ok(), Some(Duration::from_mins(90)));
        assert_eq!(duration("500ms").ok(), Some(Duration::from_millis(500)));
        for text in ["10", "", "s", "10 parsecs", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
