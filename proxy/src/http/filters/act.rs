//! Routes that answer by themselves.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue};

use crate::http::fault::{Fault, Malformed};
use crate::http::pipeline::{Answer, AnswerContent};
use crate::route::{FixedResponse, Redirect, Values, Variable};

/// Sends the client elsewhere (RFC 9110 §15.4).
pub(in crate::http) fn redirect(redirect: &Redirect, values: &Values<'_>) -> Result<Answer, Fault> {
    // An HTTP/1.0 request need not name a host, and then there is nowhere to send it.
    if values.host.is_empty() && redirect.to.has(Variable::Host) {
        return Err(Fault::BadRequest(Malformed::Host));
    }
    let location = HeaderValue::try_from(redirect.to.expand(values))
        .map_err(|_invalid| Fault::BadRequest(Malformed::Target))?;
    let mut fields = HeaderMap::new();
    fields.insert(LOCATION, location);
    Ok(Answer {
        status: redirect.status,
        fields,
        content: AnswerContent::Empty,
    })
}

/// The response that is always the same.
pub(in crate::http) fn respond(fixed: &FixedResponse) -> Answer {
    let mut fields = HeaderMap::new();
    if fixed.content.is_empty() {
        return Answer {
            status: fixed.status,
            fields,
            content: AnswerContent::Empty,
        };
    }
    // Copied: workers would contend for one reference count.
    if let Ok(content_type) = HeaderValue::from_bytes(fixed.content_type.as_bytes()) {
        fields.insert(CONTENT_TYPE, content_type);
    }
    Answer {
        status: fixed.status,
        fields,
        content: AnswerContent::Own(bytes::Bytes::copy_from_slice(&fixed.content)),
    }
}
