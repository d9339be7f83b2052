//! What holds of the cache's decisions, whatever clients and origins say.

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, DATE, ETAG, HeaderName, IF_NONE_MATCH,
    SET_COOKIE, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::directives::{Directives, SECONDS_MAX};
use super::policy::{Times, must_forward, storable};
use super::vary::{NOMINATED_MAX, matches, same};
use super::{Key, Precondition, StoredResponse};

/// Directives restrict, whatever stands beside them, and their numbers have a bound. `lines` are of `Cache-Control`.
pub fn cache_control(lines: &[HeaderValue]) {
    let of = |lines: &mut dyn Iterator<Item = &HeaderValue>| {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(CACHE_CONTROL, line.clone());
        }
        Directives::of_response(&fields)
    };
    let directives = of(&mut lines.iter());
    assert_eq!(directives, of(&mut lines.iter().rev()), "in another order");
    for number in [
        directives.max_age,
        directives.s_maxage,
        directives.min_fresh,
    ] {
        assert!(number.is_none_or(|number| number.as_secs() <= SECONDS_MAX));
    }
    let plain = |word: &[u8]| {
        let mut lines = lines.iter().filter(|line| !line.as_bytes().contains(&b'"'));
        lines.any(|line| {
            let mut members = line.as_bytes().split(|byte| *byte == b',');
            members.any(|member| member.trim_ascii().eq_ignore_ascii_case(word))
        })
    };
    assert!(directives.no_store || !plain(b"no-store"));
    assert!(directives.private || directives.no_store || !plain(b"private"));
    assert!(directives.no_cache || !plain(b"no-cache"));
}

/// What is stored may be: it is fresh, for more than one client, without what is of one connection; the request that it
/// answered would get it again.
pub fn storing(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    times: &Times,
) {
    let forward = must_forward(method, request);
    assert!(forward.is_some() || method == Method::GET || method == Method::HEAD);
    let Some(stored) = storable(method, request, status, response, times) else {
        return;
    };
    let age = stored.current_age(times.response_time);
    assert!(!stored.freshness_left(age).is_zero());
    assert_eq!(method, Method::GET);
    for name in [AGE, CONNECTION, SET_COOKIE, TRANSFER_ENCODING] {
        assert!(!stored.fields.contains_key(&name), "{name}");
    }
    assert_eq!(stored.fields.get_all(DATE).iter().count(), 1);
    let nominated = &stored.nominated_fields;
    assert!(nominated.len() <= NOMINATED_MAX);
    assert!(matches(nominated, request) && same(nominated, nominated));
    let varies = response.get_all(VARY).iter();
    assert!(!varies.into_iter().any(|line| line == "*"));
    assert!(stored.weight() > stored.content_bytes());
    assert!(!stored.not_modified_fields().contains_key(CONTENT_LENGTH));
    conditionals(&stored, request);
}

/// A client that shows the very tag that is stored has the response; one that shows none of it has not.
fn conditionals(stored: &StoredResponse, request: &HeaderMap) {
    let evaluated = stored.evaluate_conditionals(request);
    assert!(evaluated == Precondition::Serve || stored.status == StatusCode::OK);
    let mut tags = stored.fields.get_all(ETAG).iter();
    let (Some(tag), None) = (tags.next(), tags.next()) else {
        return;
    };
    let mut asking = HeaderMap::new();
    asking.insert(IF_NONE_MATCH, tag.clone());
    let text = tag.as_bytes();
    let inner = text.strip_prefix(b"W/").unwrap_or(text);
    let is_one = inner.len() >= 2
        && inner.starts_with(b"\"")
        && inner.iter().position(|byte| *byte == b'"') == Some(0)
        && inner[1..].iter().position(|byte| *byte == b'"') == Some(inner.len() - 2);
    if is_one && stored.status == StatusCode::OK {
        let evaluated = stored.evaluate_conditionals(&asking);
        assert_eq!(evaluated, Precondition::NotModified, "{tag:?}");
    }
    asking.insert(IF_NONE_MATCH, HeaderValue::from_static("\"\\another\\\""));
    if !text.windows(8).any(|part| part == b"\\another") {
        assert_eq!(stored.evaluate_conditionals(&asking), Precondition::Serve);
    }
}

/// Keys are the same only if all their parts are.
pub fn keys(one: [&str; 3], other: [&str; 3]) {
    let key = |[scheme, host, path]: [&str; 3]| Key::new(scheme, host, path);
    assert_eq!(key(one) == key(other), one == other, "{one:?} {other:?}");
}

/// What a request says in nominated fields is what it says, in however many lines and with whatever space.
pub fn nominated(fields: &HeaderMap, names: &[HeaderName]) {
    let mut nominated = Vec::new();
    let mut spaced = HeaderMap::new();
    for name in names.iter().take(NOMINATED_MAX) {
        let lines: Vec<_> = fields.get_all(name).iter().cloned().collect();
        for line in &lines {
            let wide = [b" ", line.as_bytes(), b"\t"].concat();
            let wide = HeaderValue::from_bytes(&wide).expect("spaces may surround a value");
            spaced.append(name.clone(), wide);
        }
        nominated.push((name.clone(), lines));
    }
    assert!(matches(&nominated, fields));
    assert!(matches(&nominated, &spaced));
}
