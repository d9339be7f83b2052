//! Numbers as people read them. JSON never sees these.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1536` as `1.5 KiB`.
#[allow(
    clippy::cast_precision_loss,
    reason = "one decimal is shown; 2^53 bytes are 8 PiB"
)]
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `part` of `whole` as `12.3%`; `-` when there is no whole.
#[allow(
    clippy::cast_precision_loss,
    reason = "one decimal of a percentage is shown"
)]
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1}%", part as f64 * 100.0 / whole as f64)
}

/// The two largest units of a duration in seconds: `3h 12m`, `12s`, `0.4s`.
pub(super) fn duration(seconds: f64) -> String {
    let Ok(duration) = Duration::try_from_secs_f64(seconds) else {
        return "-".to_owned();
    };
    let (whole, tenths) = (duration.as_secs(), duration.subsec_millis() / 100);
    if whole < 10 {
        return match tenths {
            0 => format!("{whole}s"),
            _ => format!("{whole}.{tenths}s"),
        };
    }
    let parts = [
        (whole / 86_400, "d"),
        (whole / 3_600 % 24, "h"),
        (whole / 60 % 60, "m"),
        (whole % 60, "s"),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts[first..].iter().take(2).filter(|(n, _)| *n > 0);
    shown
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// How long ago something was.
pub(super) fn ago(seconds: f64) -> String {
    format!("{} ago", duration(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn bytes_have_one_decimal_and_a_binary_unit() {
        for (number, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn a_share_of_nothing_is_no_number() {
        assert_eq!(share(1, 3), "33.3%");
        assert_eq!(share(0, 0), "-");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        for (seconds, text) in [
            (0.0, "0s"),
            (0.04, "0s"),
            (0.4, "0.4s"),
            (1.0, "1s"),
            (9.94, "9.9s"),
            (12.9, "12s"),
            (60.0, "1m"),
            (3_725.0, "1h 2m"),
            (90_061.0, "1d 1h"),
            (86_400.0 * 365.0, "365d"),
            (-1.0, "-"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }
}
