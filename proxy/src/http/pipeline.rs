//! What happens to a request, in order: checks, route, cache, origin, cache again, answer.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{
    ALLOW, CACHE_STATUS, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, request};
use http_body::Body as _;
use hyper::body::Incoming;

use super::activity::Http;
use super::body::{FromOrigin, RequestBody, ResponseBody, Upload};
use super::cached::{self, Consulted, Miss};
use super::connection::Connection;
use super::fault::{Fault, Malformed, Who};
use super::fields::{self, Client, Origin, Scheme};
use super::forward::{Content, Exchange, Outgoing, Size, forward};
use super::served::Served;
use super::target::Target;
use super::worker::View;
use crate::cache::StoredResponse;
use crate::detect::Event;
use crate::route::RouteSettings;

/// A decided response.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) content: AnswerContent,
}

/// Its content.
pub(super) enum AnswerContent {
    Empty,
    /// And its length in bytes.
    Stored(Arc<StoredResponse>, u64),
    Origin(Box<FromOrigin>),
}

/// Answers one request. Never fails: whatever goes wrong becomes a response.
pub(super) async fn respond(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let (request, content) = request.into_parts();
    let uri = request.uri.clone();
    let identified = connection.client_of(&request.headers);
    let client = identified.as_ref().unwrap_or(&connection.client);
    let client = Rc::clone(client);
    let request_id = client.request_id.clone();
    let request_id = request_id.unwrap_or_else(|| connection.worker.request_id());
    let mut served = Served::begin(&connection, client.address, &request, &request_id);
    let outcome = match identified {
        Ok(_) => {
            answer(
                &connection,
                &client,
                request,
                content,
                request_id,
                &mut served,
            )
            .await
        }
        Err(fault) => Err(fault),
    };
    let fault = outcome.as_ref().err().copied();
    let response = match outcome {
        Ok(answer) => {
            served.decided(answer.status, None);
            answer.into_response(served)
        }
        Err(fault) => refuse(fault, connection.http(), served),
    };
    connection.worker.count(response.status());
    let event = Event::Response {
        path: uri.path(),
        status: response.status().as_u16(),
    };
    connection.tell(client.address, &event);
    if let Some(fault) = fault {
        if let Some(offence) = fault.offence() {
            connection.tell(client.address, &Event::Offence(offence));
        }
        tracing::debug!(client = %client.address, error = fault.name(), "request failed");
    }
    Ok(response)
}

async fn answer(
    connection: &Rc<Connection>,
    client: &Client,
    mut request: request::Parts,
    content: Incoming,
    request_id: HeaderValue,
    served: &mut Served,
) -> Result<Answer, Fault> {
    // Nothing is looked at before it is unambiguous.
    connection.check_framing()?;
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
    let target = Target::of(
        &request.method,
        &request.uri,
        request.version,
        &request.headers,
    )?;
    connection.check_host(&target.host)?;
    // One snapshot for the whole request, whatever is reloaded meanwhile.
    let view = connection.worker.view();
    let route = route(&view, &target, &request.uri)?;
    // Early, so that a client that asks first (RFC 9110 §10.1.1) hears it before it sends.
    let content = accept_content(connection, content)?;
    let miss = if route.cache {
        let scheme = client.scheme;
        match cached::consult(&connection.worker, scheme, &target, &request, content.size) {
            Consulted::Hit(answer, status) => return Ok(served.hit(answer, status)),
            Consulted::Miss(miss) => Some(miss),
        }
    } else {
        None
    };
    served.cache = miss.as_ref().map(Miss::status);
    prepare(
        connection,
        client,
        &mut request,
        &target,
        &content,
        request_id,
    )?;
    let outgoing = Outgoing {
        uri: origin_form(&request.uri),
        method: request.method,
        fields: request.headers,
    };
    let worker = &connection.worker;
    let exchange = forward(worker, &view, route.upstream, &outgoing, content, served).await?;
    conclude(
        connection,
        client.scheme,
        route,
        &target,
        exchange,
        miss,
        served,
    )
}

fn check_method(method: &Method) -> Result<(), Fault> {
    match *method {
        Method::CONNECT => Err(Fault::ConnectUnsupported),
        Method::TRACE => Err(Fault::TraceRefused),
        _ => Ok(()),
    }
}

fn route<'a>(view: &'a View, target: &Target, uri: &Uri) -> Result<&'a RouteSettings, Fault> {
    view.site
        .routes
        .find(&target.host, uri.path())
        .map(|matched| matched.route)
        .ok_or(Fault::DestinationNotFound)
}

/// Refuses content that is declared too large; what declares nothing is counted as it comes.
fn accept_content(connection: &Connection, incoming: Incoming) -> Result<Content, Fault> {
    let limits = &connection.settings.limits;
    if incoming.size_hint().lower() > limits.body_bytes {
        return Err(Fault::ContentTooLarge);
    }
    let size = if incoming.is_end_stream() {
        Size::Empty
    } else {
        Size::Some
    };
    let upload = Rc::new(Upload::default());
    let body = RequestBody::new(incoming, limits, Rc::clone(&upload));
    Ok(Content { body, upload, size })
}

/// Makes the request's fields the origin's. Framing is said anew, from the content that there is.
fn prepare(
    connection: &Connection,
    client: &Client,
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

/// RFC 9112 §3.2.1: an origin server gets the path and query only.
fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query()
        .map_or_else(Uri::default, |path| Uri::from(path.clone()))
}

/// From the origin's response to the client's.
fn conclude(
    connection: &Rc<Connection>,
    scheme: Scheme,
    route: &RouteSettings,
    target: &Target,
    exchange: Exchange,
    miss: Option<Miss>,
    served: &mut Served,
) -> Result<Answer, Fault> {
    let Exchange { response, lease } = exchange;
    let (mut response, incoming) = response.into_parts();
    check_response(response.status, &response.headers)?;
    let fields = &mut response.headers;
    let delimited =
        fields.contains_key(TRANSFER_ENCODING) || incoming.size_hint().exact().is_some();
    if !fields.contains_key(DATE) {
        // RFC 9110 §6.6.1: whoever passes a response on dates it, if its origin did not.
        fields.insert(DATE, connection.worker.date());
    }
    if let (true, Some(length)) = (
        fields.contains_key(CONTENT_LENGTH),
        incoming.size_hint().exact(),
    ) && length > 0
    {
        // Repeated or listed, though always the same, it is one number to the client.
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let origin = Origin {
        upstream: &lease.server.upstream,
        server: lease.server.index,
        reveal: route.reveal_origin,
    };
    fields::to_client(fields, &origin, scheme, &target.authority, response.version);
    let mut fill = None;
    if let Some(miss) = miss {
        let (status, filling) = miss.settle(&connection.worker, response.status, fields, delimited);
        fields.append(CACHE_STATUS, status.to_field());
        served.cache = Some(status);
        fill = filling;
    }
    let timeout = lease.server.upstream.settings.timeouts.response;
    Ok(Answer {
        status: response.status,
        fields: response.headers,
        content: AnswerContent::Origin(Box::new(FromOrigin::new(incoming, timeout, lease, fill))),
    })
}

/// What a response must not be (RFC 9112 §6.3): an answer to an upgrade that was not asked for, framed twice, or in a
/// transfer coding that nobody agreed on.
fn check_response(status: StatusCode, fields: &HeaderMap) -> Result<(), Fault> {
    let framed_twice =
        fields.contains_key(TRANSFER_ENCODING) && fields.contains_key(CONTENT_LENGTH);
    if status.is_informational() || !is_chunked_at_most(fields) || framed_twice {
        return Err(Fault::HttpProtocolError);
    }
    Ok(())
}

/// Whether content is in no transfer coding or in `chunked`, once. hyper takes only the last `chunked` of a list off; what
/// is under it would go on without its name.
fn is_chunked_at_most(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

impl Answer {
    fn into_response(self, served: Served) -> Response<ResponseBody> {
        let body = match self.content {
            AnswerContent::Empty => ResponseBody::empty(served),
            AnswerContent::Stored(response, length) => {
                ResponseBody::stored(response, length, served)
            }
            AnswerContent::Origin(content) => ResponseBody::origin(content, served),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.fields;
        response
    }
}

/// weir's own answer to a fault.
fn refuse(fault: Fault, http: Http, mut served: Served) -> Response<ResponseBody> {
    served.decided(fault.status(), Some(fault));
    let cache = served.cache;
    let mut response = Response::new(ResponseBody::text(fault.explanation(), served));
    *response.status_mut() = fault.status();
    let fields = response.headers_mut();
    fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(PROXY_STATUS, fault.proxy_status());
    if let Some(status) = cache {
        fields.insert(CACHE_STATUS, status.to_field());
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
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
