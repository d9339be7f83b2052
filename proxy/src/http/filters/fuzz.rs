//! What holds of the filters, whatever a client sends or a file says.

use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderName,
    RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::passwords::{Hash, Passwords};
use super::{Coding, announce, basic, prepare_coding};
use crate::route::{Admission, LimitSettings, Standing};

/// A file of passwords is refused with one of its lines, or each user in it has a hash that can be read.
pub fn passwords(content: &str) {
    match Passwords::parse(content) {
        Err((line, message)) => {
            assert!(line <= content.lines().count() && !message.is_empty());
        }
        Ok(passwords) => {
            for line in content.lines().map(str::trim) {
                if let Some((user, hash)) = line.split_once(':')
                    && !line.starts_with('#')
                {
                    assert_eq!(passwords.hash(user).0.as_str(), hash);
                    assert!(Hash::parse(hash).is_ok());
                }
            }
        }
    }
}

/// Credentials are those of the one field that there is.
pub fn credentials(fields: &HeaderMap) {
    let lines = fields.get_all(AUTHORIZATION).iter().count();
    assert!(basic::credentials(fields).is_none() || lines == 1);
}

/// Content is coded as the client takes it, once, and its fields say so.
pub fn compress(request: &HeaderMap, response: &HeaderMap, status: StatusCode) {
    let coding = Coding::accepted(request);
    let mut fields = response.clone();
    let Some(coding) = prepare_coding(&mut fields, status, coding, Some) else {
        return;
    };
    let asked = request.get_all(ACCEPT_ENCODING).iter();
    let is_asked = asked.into_iter().any(|line| {
        let line = String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase();
        line.contains(coding.as_str()) || (coding == Coding::Gzip && line.contains('*'))
    });
    assert!(is_asked);
    assert_eq!(fields[CONTENT_ENCODING], coding.as_str());
    assert!(!fields.contains_key(CONTENT_LENGTH) && fields.contains_key(VARY));
    if let Some(tag) = fields.get(ETAG) {
        assert!(!tag.as_bytes().starts_with(b"\""));
    }
    assert_eq!(
        prepare_coding(&mut fields, status, Some(coding), Some),
        None
    );
}

/// What a client is told of a limit can be read, and who waits as long as it says has waited long enough.
pub fn limit(limit: &LimitSettings, standing: &Standing) {
    let mut fields = HeaderMap::new();
    announce(&mut fields, limit, standing);
    for name in ["ratelimit", "ratelimit-policy"] {
        assert!(fields.contains_key(HeaderName::from_static(name)));
    }
    let told = fields.get(RETRY_AFTER).map(HeaderValue::to_str);
    match (standing.admission, told) {
        (Admission::Admitted, None) => {}
        (Admission::Refused(wait), Some(Ok(seconds))) => {
            let told: u64 = seconds.parse().expect("a number");
            assert!(Duration::from_secs(told) >= wait);
        }
        (admission, told) => panic!("{admission:?}: {told:?}"),
    }
}
