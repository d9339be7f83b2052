//! How long a response is fresh and how old it is on arrival (RFC 9111 §4.2). No heuristics: what does not say is not
//! stored.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::directives::{Directives, SECONDS_MAX, delta_seconds};
use super::policy::Times;

/// The explicit freshness lifetime for a shared cache (RFC 9111 §4.2.1): `s-maxage`, else `max-age`, else Expires minus Date.
/// An Expires that is not one valid date means already expired (§5.3).
pub(super) fn freshness_lifetime(
    directives: &Directives,
    fields: &HeaderMap,
    times: &Times,
) -> Option<Duration> {
    let stated = directives.s_maxage.or(directives.max_age);
    stated.or_else(|| {
        if !fields.contains_key(EXPIRES) {
            return None;
        }
        let Some(expires) = date(fields, &EXPIRES) else {
            return Some(Duration::ZERO);
        };
        let from = date(fields, &DATE).unwrap_or(times.response_wall);
        let lifetime = expires.duration_since(from).unwrap_or_default();
        Some(lifetime.min(Duration::from_secs(SECONDS_MAX)))
    })
}

/// `corrected_initial_age` (RFC 9111 §4.2.3). A Date that is not one valid date counts as the time of arrival (RFC 9110
/// §6.6.1).
pub(super) fn corrected_initial_age(fields: &HeaderMap, times: &Times) -> Duration {
    let apparent_age = date(fields, &DATE)
        .and_then(|date| times.response_wall.duration_since(date).ok())
        .unwrap_or_default();
    let response_delay = times
        .response_time
        .saturating_duration_since(times.request_time);
    apparent_age.max(age_value(fields) + response_delay)
}

/// The field's one value, if it is a date in any of the three forms of RFC 9110 §5.6.7.
pub(super) fn date(fields: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = fields.get_all(name).iter();
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(line.to_str().ok()?.trim()).ok()
}

/// `time` as a Date field; `None` outside the years 1970 to 9999, which no such field can say.
pub(super) fn date_field(time: SystemTime) -> Option<HeaderValue> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    if since >= YEAR_10000 {
        return None;
    }
    HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
}

/// The first moment of the year 10000, from the epoch.
const YEAR_10000: Duration = Duration::from_hours(70_389_528);

/// Age's first member; an invalid one is ignored (RFC 9111 §5.1).
fn age_value(fields: &HeaderMap) -> Duration {
    fields
        .get(AGE)
        .and_then(|line| line.as_bytes().split(|byte| *byte == b',').next())
        .and_then(|first| delta_seconds(first.trim_ascii()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW_SECONDS: u64 = 784_111_777;

    #[allow(
        clippy::disallowed_methods,
        reason = "any start will do; time then moves by hand"
    )]
    fn times(response_delay: u64) -> Times {
        let request_time = Instant::now();
        Times {
            request_time,
            response_time: request_time + Duration::from_secs(response_delay),
            response_wall: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_SECONDS),
        }
    }

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn the_lifetime_is_s_maxage_else_max_age_else_expires_minus_date() {
        const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:00 GMT");
        const EXPIRES: (&str, &str) = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        for (lines, expected) in [
            (&[][..], None),
            (&[("cache-control", "public")], None),
            (
                &[("cache-control", "s-maxage=5, max-age=9"), EXPIRES],
                Some(5),
            ),
            (&[("cache-control", "max-age=9"), EXPIRES], Some(9)),
            (&[("cache-control", "s-maxage=x, max-age=9")], Some(0)),
            (&[EXPIRES, DATE], Some(97)),
            // Without a valid Date the time of arrival stands in.
            (&[EXPIRES], Some(60)),
            (&[EXPIRES, ("date", "yesterday")], Some(60)),
            (&[EXPIRES, DATE, DATE], Some(60)),
            // RFC 850 and asctime forms.
            (&[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")], Some(60)),
            (&[("expires", "Sun Nov  6 08:50:37 1994")], Some(60)),
            // Already expired.
            (&[("expires", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(0)),
            (&[("expires", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0)),
            (&[("expires", "0")], Some(0)),
            (&[("expires", "-1")], Some(0)),
            (&[("expires", "")], Some(0)),
            (&[EXPIRES, EXPIRES], Some(0)),
            (
                &[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")],
                Some(SECONDS_MAX),
            ),
        ] {
            let fields = fields(lines);
            let lifetime =
                freshness_lifetime(&Directives::of_response(&fields), &fields, &times(0));
            assert_eq!(lifetime, expected.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn the_initial_age_is_the_larger_of_age_plus_delay_and_what_date_says() {
        for (lines, response_delay, expected) in [
            (&[][..], 0, 0),
            (&[], 3, 3),
            (&[("age", "10")], 0, 10),
            (&[("age", "10")], 3, 13),
            (
                &[("age", "10"), ("date", "Sun, 06 Nov 1994 08:49:07 GMT")],
                3,
                30,
            ),
            (
                &[("age", "60"), ("date", "Sun, 06 Nov 1994 08:49:07 GMT")],
                3,
                63,
            ),
            // A Date ahead of ours says nothing.
            (
                &[("age", "1"), ("date", "Sun, 06 Nov 1994 09:49:37 GMT")],
                0,
                1,
            ),
            // The first member counts, invalid ones are ignored, too large ones are the greatest.
            (&[("age", "10, 20")], 0, 10),
            (&[("age", "10"), ("age", "20")], 0, 10),
            (&[("age", " 10 ,x")], 0, 10),
            (&[("age", "-5")], 0, 0),
            (&[("age", "1.5")], 0, 0),
            (&[("age", "")], 0, 0),
            (&[("age", "99999999999999999999")], 0, SECONDS_MAX),
        ] {
            let age = corrected_initial_age(&fields(lines), &times(response_delay));
            assert_eq!(
                age,
                Duration::from_secs(expected),
                "{lines:?}, delay {response_delay}"
            );
        }
    }

    #[test]
    fn a_clock_that_no_date_can_say_makes_no_field() {
        let epoch = SystemTime::UNIX_EPOCH;
        let now = epoch + Duration::from_secs(NOW_SECONDS);
        let field = date_field(now).expect("1994 can be said");
        assert_eq!(field, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date_field(epoch - Duration::from_secs(1)), None);
        assert_eq!(date_field(epoch + YEAR_10000), None);
    }
}
