//! What happens to a request, in order: checks, route, cache, origin, cache again, answer.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_STATUS, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName,
    SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use smallvec::SmallVec;

use super::activity::Http;
use super::body::{Encoding, FromOrigin, ResponseBody, Upload};
use super::cached::{self, Consulted, Miss};
use super::choice;
use super::conclude::{Matched, conclude, is_chunked_at_most};
use super::connect::Speak;
use super::connection::Connection;
use super::course::Course;
use super::fault::{Fault, Malformed, Who};
use super::fields;
use super::filters::{self, Page};
use super::forward::{Content, Size, Whither, forward};
use super::outgoing::Outgoing;
use super::patience::Dialogue;
use super::served::Served;
use super::target::{Target, with_query};
use super::upgrade::{Agreed, Upgrade};
use crate::cache::StoredResponse;
use crate::detect::Event;
use crate::route::{Action, PathPattern, RouteSettings};

/// A decided response.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) content: AnswerContent,
}

/// Its content.
pub(super) enum AnswerContent {
    Empty,
    /// weir's own.
    Own(Bytes),
    /// And its length in bytes.
    Stored(Arc<StoredResponse>, u64),
    Origin(Box<FromOrigin>),
    /// What follows the response.
    Upgraded(Box<Agreed>),
}

/// Answers one request. Never fails: whatever goes wrong becomes a response.
pub(super) async fn respond(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let (request, content) = request.into_parts();
    let (method, version) = (request.method.clone(), request.version);
    let identified = connection.client_of(&request.headers);
    let client = Rc::clone(identified.as_ref().unwrap_or(&connection.client));
    let request_id = client.request_id.clone();
    let request_id = request_id.unwrap_or_else(|| connection.worker.request_id());
    let mut served = Served::begin(&connection, client.address, &request, &request_id);
    let mut course = Course::new(&connection, client, request.uri.clone());
    let outcome = match identified {
        Ok(_) => {
            answer(
                &connection,
                request,
                content,
                request_id,
                &mut course,
                &mut served,
            )
            .await
        }
        Err(fault) => Err(fault),
    };
    let fault = outcome.as_ref().err().copied();
    let mut response = match outcome {
        Ok(answer) => {
            served.decided(answer.status, None);
            let mut response = answer.into_response(&connection, served);
            encode(&mut response, &connection, &course, &method, version);
            response
        }
        Err(fault) => refuse(fault, connection.http(), &course, served),
    };
    finish(&mut response, &course, fault);
    connection.worker.count(response.status());
    let client = course.client.address;
    let event = Event::Response {
        path: course.uri.path(),
        status: response.status().as_u16(),
    };
    connection.tell(client, &event);
    if let Some(fault) = fault {
        if let Some(offence) = fault.offence() {
            connection.tell(client, &Event::Offence(offence));
        }
        tracing::debug!(%client, error = fault.name(), "request failed");
    }
    Ok(response)
}

/// Puts the content in a coding that the client takes, if the route has it so. HTTP/1.0 cannot tell whole content of unknown
/// length from a part of it.
fn encode(
    response: &mut Response<ResponseBody>,
    connection: &Connection,
    course: &Course,
    method: &Method,
    version: Version,
) {
    if version == Version::HTTP_10 || !course.route().is_some_and(|route| route.compress) {
        return;
    }
    if method != Method::HEAD && response.body().is_end_stream() {
        return;
    }
    let worker = &connection.worker;
    let status = response.status();
    let start = |coding| {
        if method == Method::HEAD {
            // The fields that GET would have got, and nothing to code.
            Some(None)
        } else {
            Encoding::new(coding, worker).map(Some)
        }
    };
    let fields = response.headers_mut();
    if let Some(Some(encoding)) = filters::prepare_coding(fields, status, course.coding, start) {
        response.body_mut().encode(encoding);
    }
}

/// What the route has to say of a response, whoever made it.
fn finish(response: &mut Response<ResponseBody>, course: &Course, fault: Option<Fault>) {
    let Some(route) = course.route() else {
        return;
    };
    let fields = response.headers_mut();
    if let (Some(limit), Some(standing)) = (&route.limit, &course.standing) {
        filters::announce(fields, limit, standing);
    }
    if let (Some(auth), Some(Fault::Unauthorized)) = (&route.basic_auth, fault) {
        filters::challenge(fields, auth);
    }
    if !route.response_edits.is_empty() {
        route.response_edits.apply(fields, &course.values());
    }
}

async fn answer(
    connection: &Rc<Connection>,
    mut request: request::Parts,
    content: Incoming,
    request_id: HeaderValue,
    course: &mut Course,
    served: &mut Served,
) -> Result<Answer, Fault> {
    // Nothing is looked at before it is unambiguous.
    connection.check_framing()?;
    let upgrade = Upgrade::asked(&mut request, connection.http(), size_of(&content))?;
    check(connection, &request)?;
    course.find_route(connection, &mut request)?;
    course.admit(&request)?;
    let course = &*course;
    let (Some(route), Some(target)) = (course.route(), &course.target) else {
        return Err(Fault::DestinationNotFound);
    };
    if let (Some(auth), Some(index)) = (&route.basic_auth, course.route) {
        let filters = &course.view.site.filters;
        filters::authenticate(filters, index, auth, &mut request.headers).await?;
    }
    let upstream = match &route.action {
        Action::Forward(upstream) => *upstream,
        Action::Redirect(redirect) => {
            return filters::redirect(redirect, &course.values());
        }
        // In HTTP/2 success would open what nobody is behind.
        Action::Respond(fixed)
            if upgrade.is_some() && connection.http() == Http::Two && fixed.status.is_success() =>
        {
            return Err(Fault::UpgradeUnsupported);
        }
        Action::Respond(fixed) => return Ok(filters::respond(fixed)),
    };
    if route.compress && route.cache {
        // What is stored is what every client can have: it is coded on the way out.
        let identity = HeaderValue::from_static("identity");
        request.headers.insert(ACCEPT_ENCODING, identity);
    }
    // Early, so that a client that asks first (RFC 9110 §10.1.1) hears it before it sends.
    let content = accept_content(connection, route, request.version, content)?;
    let worker = &connection.worker;
    let matched = Matched::new(worker, course.client.scheme, route, target, &request);
    let miss = if route.cache && upgrade.is_none() {
        match cached::consult(worker, &matched.place(), &request, content.size) {
            Consulted::Hit(answer, status) => return Ok(served.hit(answer, status)),
            Consulted::Miss(miss) => Some(miss),
        }
    } else {
        None
    };
    served.cache = miss.as_ref().map(Miss::status);
    let question = Question {
        request,
        content,
        request_id,
        upgrade,
        miss,
    };
    ask(connection, course, &matched, upstream, question, served).await
}

/// A request that only an origin can answer.
struct Question {
    request: request::Parts,
    content: Content,
    request_id: HeaderValue,
    upgrade: Option<Upgrade>,
    miss: Option<Miss>,
}

/// Has the route's upstream answer.
async fn ask(
    connection: &Rc<Connection>,
    course: &Course,
    matched: &Matched<'_>,
    upstream: usize,
    question: Question,
    served: &mut Served,
) -> Result<Answer, Fault> {
    let Question {
        mut request,
        content,
        request_id,
        upgrade,
        miss,
    } = question;
    let route = matched.route;
    let group = &course.view.site.upstreams[upstream];
    let wish = choice::wish(course.client.address, group, &request);
    // What the route was found by, the origin sees: `Connection` must not take it away. But it must not bring back what no
    // client may say, either.
    let conditions = route.pattern.fields.iter();
    let kept: SmallVec<[_; 2]> = conditions
        .filter(|(name, _)| fields::nominates(&request.headers, name) && !fields::is_withheld(name))
        .collect();
    let client = &course.client;
    prepare(
        connection,
        client,
        &mut request,
        matched.target,
        &content,
        request_id,
    )?;
    for (name, value) in kept {
        request.headers.insert(name, value.clone());
    }
    edit_request(route, course, &mut request.headers);
    let worker = &connection.worker;
    let (upgrade, speak) = match upgrade {
        Some(upgrade) => {
            let pending = upgrade.ask(&worker.upgrades, &mut request.headers)?;
            (Some(pending), Speak::Http1)
        }
        None => (None, Speak::Any),
    };
    let outgoing = Outgoing {
        speak,
        client: connection.ends.of(client.address),
        uri: origin_form(&request.uri, course.path.as_deref())?,
        method: request.method,
        dialogue: Dialogue::of(connection.http(), &request.headers),
        fields: request.headers,
        timeouts: route.timeouts,
    };
    let whither = Whither { upstream, wish };
    let exchange = forward(worker, &course.view, &whither, &outgoing, content, served).await?;
    let server = exchange.lease.server.index;
    let mut answer = conclude(connection, matched, exchange, upgrade, miss, served)?;
    // After the cache took its copy: the cookie is this client's.
    let cookie = choice::set_cookie(group, wish, server, client.scheme);
    answer
        .fields
        .extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok(answer)
}

/// Whether the request can be understood in one way only, and is one that weir serves.
fn check(connection: &Connection, request: &request::Parts) -> Result<(), Fault> {
    check_method(&request.method)?;
    if !is_chunked_at_most(&request.headers) {
        return Err(Fault::BadRequest(Malformed::Coding));
    }
    if request.headers.len() > connection.settings.limits.header_fields {
        return Err(Fault::FieldsTooMany);
    }
    let target_bytes = request.uri.path_and_query();
    if target_bytes.is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return Err(Fault::TargetTooLong);
    }
    Ok(())
}

/// What the route adds to, changes in and takes from the fields for the origin.
fn edit_request(route: &RouteSettings, course: &Course, fields: &mut HeaderMap) {
    if let (true, PathPattern::Prefix(prefix)) = (route.strip_prefix, &route.pattern.path)
        && let Ok(prefix) = HeaderValue::from_str(prefix.trim_end_matches('/'))
    {
        // Without it the origin could not make references to itself.
        fields.insert(X_FORWARDED_PREFIX, prefix);
    }
    if !route.request_edits.is_empty() {
        route.request_edits.apply(fields, &course.values());
    }
}

fn check_method(method: &Method) -> Result<(), Fault> {
    match *method {
        Method::CONNECT => Err(Fault::ConnectUnsupported),
        Method::TRACE => Err(Fault::TraceRefused),
        _ => Ok(()),
    }
}

/// Refuses content that is declared too large; what declares nothing is counted as it comes.
fn accept_content(
    connection: &Connection,
    route: &RouteSettings,
    version: Version,
    incoming: Incoming,
) -> Result<Content, Fault> {
    let limits = &connection.settings.limits;
    let bytes_max = route.content_bytes_max.unwrap_or(limits.body_bytes);
    if incoming.size_hint().lower() > bytes_max {
        return Err(Fault::ContentTooLarge);
    }
    let size = size_of(&incoming);
    let upload = Upload::new(incoming, version, bytes_max, limits);
    let body = upload.body();
    Ok(Content { body, upload, size })
}

fn size_of(incoming: &Incoming) -> Size {
    if incoming.is_end_stream() {
        Size::Empty
    } else {
        Size::Some
    }
}

/// Makes the request's fields the origin's. Framing is said anew, from the content that there is.
fn prepare(
    connection: &Connection,
    client: &fields::Client,
    request: &mut request::Parts,
    target: &Target,
    content: &Content,
    request_id: HeaderValue,
) -> Result<(), Fault> {
    let fields = &mut request.headers;
    if connection.http() == Http::Two {
        fields::join_cookie_crumbs(fields);
    }
    let declared = fields.remove(CONTENT_LENGTH).is_some();
    fields::to_origin(
        fields,
        client,
        &target.authority,
        request.version,
        request_id,
    )?;
    match content.body.size_hint().exact() {
        // No content and none declared: a GET says nothing, while `Content-Length: 0` of a POST must go on.
        Some(0) if !declared => {}
        Some(length) => {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None if content.size == Size::Empty => {}
        // hyper would send a GET without its content otherwise.
        None => {
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    Ok(())
}

/// RFC 9112 §3.2.1: an origin server gets the path and query only; `path` in place of the URI's, if there is one.
fn origin_form(uri: &Uri, path: Option<&str>) -> Result<Uri, Fault> {
    let path_and_query = match path {
        Some(path) => {
            let joined = with_query(path.to_owned(), uri.query());
            Some(joined.ok_or(Fault::BadRequest(Malformed::Target))?)
        }
        None => uri.path_and_query().cloned(),
    };
    Ok(path_and_query.map_or_else(Uri::default, Uri::from))
}

impl Answer {
    fn into_response(self, connection: &Rc<Connection>, served: Served) -> Response<ResponseBody> {
        let body = match self.content {
            AnswerContent::Empty => ResponseBody::empty(served),
            AnswerContent::Own(content) => ResponseBody::own(content, served),
            AnswerContent::Stored(response, length) => {
                ResponseBody::stored(response, length, served)
            }
            AnswerContent::Origin(content) => ResponseBody::origin(content, served),
            AnswerContent::Upgraded(agreed) => {
                agreed.begin(connection, served);
                ResponseBody::handed_over()
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.fields;
        response
    }
}

/// weir's own answer to a fault.
fn refuse(fault: Fault, http: Http, course: &Course, mut served: Served) -> Response<ResponseBody> {
    served.decided(fault.status(), Some(fault));
    let cache = served.cache.map(|status| served.cached(status));
    let filters = &course.view.site.filters;
    let page = filters.page(course.route(), fault.status());
    let Page {
        content,
        content_type,
    } = page.cloned().unwrap_or_else(|| Page {
        content: Bytes::from_static(fault.explanation().as_bytes()),
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
    });
    let mut response = Response::new(ResponseBody::own(content, served));
    *response.status_mut() = fault.status();
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, content_type);
    fields.insert(PROXY_STATUS, fault.proxy_status());
    if let Some(status) = cache {
        fields.insert(CACHE_STATUS, status);
    }
    if fault == Fault::TraceRefused {
        fields.insert(
            ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        );
    }
    if http == Http::One && fault.who() == Who::Client {
        // What follows a request that was not understood or not read must not be taken for the next one.
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Twice what RFC 9112 §3 wants everybody to take.
const TARGET_BYTES_MAX: usize = 16 << 10;
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

#[cfg(test)]
mod tests {
    use super::*;

    /// hyper moves it into its connection's state for each request, and what it awaits is moved into it.
    #[test]
    fn the_future_of_a_request_is_small_enough_to_move() {
        fn bytes<C, Q, F>(_: impl Fn(C, Q) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let bytes = bytes(respond);
        assert!(bytes <= 7 << 10, "{bytes}: box what is large and seldom");
    }
}
