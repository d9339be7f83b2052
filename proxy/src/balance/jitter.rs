//! What begins together must not go on together.

use std::time::Duration;

/// `duration`, give or take a tenth: evenly spread over `number`s that follow each other.
pub fn jittered(duration: Duration, number: u64) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fraction(number))
}

/// From 0 to 1. The multiples of the golden ratio fill the range evenly, in any number.
pub fn fraction(number: u64) -> f64 {
    const STEP: u64 = 2_654_435_769;
    let low = u32::try_from(number.wrapping_mul(STEP) & u64::from(u32::MAX)).unwrap_or(0);
    f64::from(low) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_each_other_is_spread_over_a_tenth_either_way() {
        let seconds: Vec<_> = (0..100)
            .map(|number| jittered(Duration::from_secs(100), number).as_secs())
            .collect();
        assert!(seconds.iter().all(|seconds| (90..=110).contains(seconds)));
        for decade in [90, 95, 100, 105] {
            let within = seconds.iter().filter(|s| (decade..decade + 5).contains(*s));
            assert!(within.count().abs_diff(25) < 5, "{decade}");
        }
    }
}
