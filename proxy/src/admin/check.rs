//! What edits must satisfy before anyone carries them out: the same bounds and words for the API and the command line.

use std::time::Duration;

use ipnet::IpNet;
use weir_common::Text;
use weir_common::entry::REASON_BYTES;

use super::{Failure, FailureKind, api, network};

/// Shortest block.
pub const BLOCK_MIN: Duration = Duration::from_secs(1);
/// Longest block: 365 days.
pub const BLOCK_MAX: Duration = Duration::from_hours(365 * 24);
/// Default number of rows of a sources answer.
pub const TOP_DEFAULT: usize = 20;
/// Most rows of a sources answer.
pub const TOP_MAX: usize = 10_000;

impl api::BlockRequest {
    /// At least one network and none of them /0, 1 s to 365 days, a reason that fits an entry.
    pub fn check(&self) -> Result<(), Failure> {
        networks(&self.networks)?;
        if let Some(seconds) = self.seconds {
            duration(Duration::from_secs(seconds))?;
        }
        reason(&self.reason)
    }
}

impl api::NetworksRequest {
    /// At least one network and none of them /0.
    pub fn check(&self) -> Result<(), Failure> {
        networks(&self.networks)
    }
}

/// [`BLOCK_MIN`] to [`BLOCK_MAX`].
pub fn duration(duration: Duration) -> Result<(), Failure> {
    if (BLOCK_MIN..=BLOCK_MAX).contains(&duration) {
        return Ok(());
    }
    Err(invalid(
        format!(
            "{} is no duration for a block",
            humantime::format_duration(duration)
        ),
        "1s to 365d; for a block that lasts add the prefix to `block` in [shield]",
    ))
}

/// At most [`REASON_BYTES`] bytes, one line.
pub fn reason(text: &str) -> Result<(), Failure> {
    if text.chars().any(char::is_control) {
        return Err(invalid(
            format!("the reason {text:?} holds control characters"),
            "write one line of plain text",
        ));
    }
    Text::<REASON_BYTES>::new(text).map(|_| ()).map_err(|long| {
        invalid(
            format!("the reason is {long}"),
            "say it shorter; an entry in the kernel has no more room",
        )
    })
}

/// At least one, none of them /0.
fn networks(networks: &[IpNet]) -> Result<(), Failure> {
    if networks.is_empty() {
        return Err(invalid(
            "no network is named".to_owned(),
            "name at least one address or prefix",
        ));
    }
    for network in networks {
        network::not_everything(*network)
            .map_err(|refused| invalid(refused.message, refused.hint))?;
    }
    Ok(())
}

fn invalid(error: String, hint: &str) -> Failure {
    Failure::new(FailureKind::Invalid, error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_from_a_second_to_a_year_are_accepted() {
        for (seconds, ok) in [
            (0, false),
            (1, true),
            (31_536_000, true),
            (31_536_001, false),
        ] {
            assert_eq!(
                duration(Duration::from_secs(seconds)).is_ok(),
                ok,
                "{seconds}"
            );
        }
    }

    #[test]
    fn a_reason_that_does_not_fit_is_refused_with_both_lengths() {
        assert_eq!(reason(&"x".repeat(REASON_BYTES)), Ok(()));
        let refused = reason(&"é".repeat(REASON_BYTES)).expect_err("two bytes each");
        for length in [REASON_BYTES, 2 * REASON_BYTES] {
            assert!(refused.error.contains(&length.to_string()), "{refused}");
        }
    }

    #[test]
    fn a_reason_with_control_characters_is_refused() {
        assert!(reason("scan\u{1b}[31m").is_err());
    }

    #[test]
    fn an_edit_of_nothing_or_of_everything_is_refused() {
        for networks in [vec![], vec!["0.0.0.0/0".parse().expect("a prefix")]] {
            let request = api::NetworksRequest { networks };
            assert_eq!(
                request.check().map_err(|f| f.kind),
                Err(FailureKind::Invalid)
            );
        }
    }
}
