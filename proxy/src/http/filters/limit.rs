//! What a client is told of the limit of its route (draft-ietf-httpapi-ratelimit-headers-10): the quota is the burst, its
//! window the time in which all of it comes back.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::route::{Admission, LimitSettings, Standing};

/// Adds the fields to a response. What the origin says of limits of its own stays.
pub(in crate::http) fn announce(
    fields: &mut HeaderMap,
    limit: &LimitSettings,
    standing: &Standing,
) {
    let policy = format!(
        "\"weir\";q={};w={}",
        limit.burst,
        whole_seconds(limit.window())
    );
    let current = format!(
        "\"weir\";r={};t={}",
        standing.remaining,
        whole_seconds(standing.full_in)
    );
    for (name, text) in [(RATELIMIT_POLICY, policy), (RATELIMIT, current)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.append(name, value);
        }
    }
    if let Admission::Refused(wait) = standing.admission {
        fields.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
}

/// Rounded up: who waits that long has waited long enough.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
