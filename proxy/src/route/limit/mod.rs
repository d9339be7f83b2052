//! How often a route may be used: a token bucket for each client, value of a field, or for all together. Kept as the time at
//! which the bucket is full again (the generic cell rate algorithm, ITU-T I.371), so that a bucket is one number.

mod buckets;

use std::time::Duration;

use http::HeaderName;

pub use buckets::Buckets;

/// `limit` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LimitSettings {
    /// Requests in `per`, on average. 1 to 1,000,000.
    pub requests: u32,
    /// Default 1 s. 100 ms to one day.
    pub per: Duration,
    /// Requests that may come at once. Default: `requests`. 1 to 1,000,000.
    pub burst: u32,
    /// Who shares a bucket. Default: the client.
    pub by: LimitBy,
}

/// Who shares a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitBy {
    /// `client-ip`: an IPv4 address or an IPv6 /64.
    ClientIp,
    /// `header:NAME`: requests with the same value; those without the field are alike, too.
    Field(HeaderName),
    /// `route`: all of the route.
    Route,
}

/// What a request finds in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is served.
    pub admission: Admission,
    /// Requests that could follow at once.
    pub remaining: u32,
    /// Until the bucket is full.
    pub full_in: Duration,
}

/// Whether a request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Admitted,
    /// One will be after this time.
    Refused(Duration),
}

impl LimitSettings {
    /// Nanoseconds that one request is worth. Not zero, by the bounds of `requests` and `per`.
    fn interval_ns(&self) -> u64 {
        let interval = self.per.as_nanos() / u128::from(self.requests.max(1));
        u64::try_from(interval).unwrap_or(u64::MAX).max(1)
    }

    /// How long an empty bucket takes to be full.
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.interval_ns().saturating_mul(self.burst.into()))
    }

    /// Takes one request out of the bucket that is full at `full_at`; returns when it is full then. All times are in
    /// nanoseconds of one clock.
    fn take(&self, full_at: u64, now: u64) -> (Standing, u64) {
        let interval = self.interval_ns();
        let depth = interval.saturating_mul(self.burst.into());
        let taken = full_at.max(now).saturating_add(interval);
        let missing = taken - now;
        let (admission, missing, full_at) = match missing.checked_sub(depth) {
            None | Some(0) => (Admission::Admitted, missing, taken),
            Some(wait) => (
                Admission::Refused(Duration::from_nanos(wait)),
                missing - interval,
                full_at,
            ),
        };
        let remaining = depth.saturating_sub(missing) / interval;
        let standing = Standing {
            admission,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            full_in: Duration::from_nanos(missing),
        };
        (standing, full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limit(requests: u32, per: Duration, burst: u32) -> LimitSettings {
        LimitSettings {
            requests,
            per,
            burst,
            by: LimitBy::Route,
        }
    }

    #[test]
    fn a_full_bucket_admits_its_burst_and_then_as_many_as_come_back() {
        let limit = limit(10, Duration::from_secs(1), 3);
        let mut full_at = 0;
        let mut take = |now| {
            let (standing, next) = limit.take(full_at, now);
            full_at = next;
            standing
        };
        let now = 100 * SECOND;
        for left in [2, 1, 0] {
            let standing = take(now);
            assert_eq!(
                (standing.admission, standing.remaining),
                (Admission::Admitted, left)
            );
        }
        let refused = take(now);
        assert_eq!(
            refused.admission,
            Admission::Refused(Duration::from_millis(100))
        );
        assert_eq!(
            (refused.remaining, refused.full_in),
            (0, Duration::from_millis(300))
        );
        // To be refused costs nothing.
        assert_eq!(
            take(now + 99_999_999).admission,
            Admission::Refused(Duration::from_nanos(1))
        );
        assert_eq!(take(now + 100_000_000).admission, Admission::Admitted);
        assert!(matches!(
            take(now + 100_000_000).admission,
            Admission::Refused(_)
        ));
        // Full again, and no fuller.
        assert_eq!(take(now + 10 * SECOND).remaining, 2);
    }

    #[test]
    fn over_a_long_time_the_rate_is_what_was_asked_for() {
        for (requests, per, burst) in [(3, 1, 1), (100, 1, 200), (7, 60, 2), (1_000_000, 1, 1)] {
            let limit = limit(requests, Duration::from_secs(per), burst);
            let (mut full_at, mut admitted) = (0, 0_u64);
            let step = SECOND * per / u64::from(requests) / 3 + 1;
            let end = 300 * step;
            let mut now = 0;
            while now < end {
                let (standing, next) = limit.take(full_at, now);
                full_at = next;
                admitted += u64::from(standing.admission == Admission::Admitted);
                now += step;
            }
            let due = end / limit.interval_ns() + u64::from(burst);
            assert!(admitted <= due + 1, "{requests}: {admitted} of {due}");
            assert!(
                admitted + 3 >= due.min(300),
                "{requests}: {admitted} of {due}"
            );
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let slow = limit(1, Duration::from_hours(24), 100_000);
        let (standing, _) = slow.take(u64::MAX, 0);
        assert!(matches!(standing.admission, Admission::Refused(_)));
        let (standing, _) = slow.take(0, u64::MAX - 1);
        assert_eq!(standing.admission, Admission::Admitted);
    }
}
