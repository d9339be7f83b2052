//! Which kernels are meant, as one names them: `6.1`, `newest`.

use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::Context;

/// A line of kernel releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    /// The newest that Debian has.
    Newest,
    /// All releases that begin with these two numbers.
    Numbered(u32, u32),
}

impl Series {
    /// What is tested unless asked otherwise: the last before the oldest that can run the packet filter, to see that it
    /// says no; the long-term kernels since; and what distributions will have next.
    pub(super) const DEFAULT: [Self; 4] = [
        Self::Numbered(5, 10),
        Self::Numbered(6, 1),
        Self::Numbered(6, 12),
        Self::Newest,
    ];

    /// Whether a kernel of this series can run the packet filter.
    pub(super) fn is_supported(self) -> bool {
        match self {
            Self::Newest => true,
            Self::Numbered(major, minor) => (major, minor) >= OLDEST_SUPPORTED,
        }
    }

    /// Whether `release`, in numbers, belongs to it.
    pub(super) fn covers(self, release: &[u32]) -> bool {
        match self {
            Self::Newest => true,
            Self::Numbered(major, minor) => release.starts_with(&[major, minor]),
        }
    }
}

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NEWEST {
            return Ok(Self::Newest);
        }
        text.split_once('.')
            .and_then(|(major, minor)| {
                Some(Self::Numbered(major.parse().ok()?, minor.parse().ok()?))
            })
            .with_context(|| format!("give two numbers such as 6.1, or `{NEWEST}`"))
    }
}

impl Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str(NEWEST),
            Self::Numbered(major, minor) => write!(f, "{major}.{minor}"),
        }
    }
}

const NEWEST: &str = "newest";

/// XDP programs with `frags` came with it.
const OLDEST_SUPPORTED: (u32, u32) = (5, 18);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_read_as_it_is_written() {
        for text in ["5.10", "6.1", "newest"] {
            let series: Series = text.parse().expect("a series");
            assert_eq!(series.to_string(), text);
        }
        for text in ["", "6", "6.", "6.1.0", "v6.1", "Newest"] {
            assert!(text.parse::<Series>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_series_covers_its_own_releases_only() {
        let series = Series::Numbered(6, 1);
        assert!(series.covers(&[6, 1, 0, 50]));
        assert!(!series.covers(&[6, 12, 1]));
        assert!(!series.covers(&[6]));
    }

    #[test]
    fn the_filter_runs_from_5_18() {
        assert!(!Series::Numbered(5, 10).is_supported());
        assert!(!Series::Numbered(5, 17).is_supported());
        assert!(Series::Numbered(5, 18).is_supported());
        assert!(Series::Numbered(6, 1).is_supported());
    }
}
