//! Messages: targets, fields, framing, frames, what comes in front of them.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::StatusCode;
use weir::balance::{Secret, ServerSettings, StickySettings, Upstream, UpstreamSettings};
use weir::net::Networks;
use weir::route::{Admission, LimitBy, LimitSettings, Standing};
use weir::{http as weir_http, net};

use crate::input::{self, Numbers};

/// A request head: see [`input::request`].
pub(crate) fn target(data: &[u8]) {
    if let Some(parts) = input::request(data) {
        weir_http::fuzz::target(&parts.method, &parts.uri, parts.version, &parts.headers);
    }
}

/// The last byte of the peer's address, then field lines.
pub(crate) fn forwarded(data: &[u8]) {
    let Some((&last, lines)) = data.split_first() else {
        return;
    };
    let network = |text: &str| text.parse().expect("invariant: a prefix");
    let trusted = Networks::new(vec![network("10.0.0.0/8"), network("2001:db8::/32")]);
    let source = IpAddr::from([10 + (last & 1), 0, 0, last]);
    if trusted.contains(source) {
        let fields = input::fields(input::lines(lines));
        weir_http::fuzz::forwarded(source, &trusted, IpAddr::from([10, 9, 9, 9]), &fields);
    }
}

/// A request head, an empty line, then field lines of a response.
pub(crate) fn fields(data: &[u8]) {
    let (request, response) = input::halves(data);
    if let Some(parts) = input::request(request) {
        weir_http::fuzz::to_origin(&parts.headers, parts.version);
        weir_http::fuzz::credentials(&parts.headers);
    }
    weir_http::fuzz::to_client(&input::fields(input::lines(response)), input::now());
}

/// Bytes of an HTTP/1 connection. What the check lets pass, the parser that hyper has reads in the same way: the heads end
/// where the check says.
pub(crate) fn framing(data: &[u8]) {
    let seen = weir_http::fuzz::framing(data);
    let mut at = 0;
    for (number, end) in (1_u64..).zip(&seen.heads) {
        if seen.refused.is_some_and(|refused| refused <= number) {
            return;
        }
        // What hyper refuses, or frames in a way that weir's other checks refuse, ends the connection.
        let Some(head) = Head::read(&data[at..]) else {
            return;
        };
        assert_eq!(at + head.bytes, *end, "head {number}: {seen:?}");
        let Some(content) = head.content(&data[*end..]) else {
            return;
        };
        at = end + content;
    }
}

/// A request head as httparse, hyper's parser, reads it.
struct Head {
    bytes: usize,
    length: u64,
    is_chunked: bool,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut lines = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut lines);
        let httparse::Status::Complete(end) = request.parse(bytes).ok()? else {
            return None;
        };
        let mut head = Self {
            bytes: end,
            length: 0,
            is_chunked: false,
        };
        for line in &*request.headers {
            if line.name.eq_ignore_ascii_case("content-length") {
                let digits = std::str::from_utf8(line.value).ok()?;
                if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                head.length = digits.parse().ok()?;
            }
            if line.name.eq_ignore_ascii_case("transfer-encoding") {
                if request.version != Some(1) || !line.value.eq_ignore_ascii_case(b"chunked") {
                    return None;
                }
                head.is_chunked = true;
            }
        }
        Some(head)
    }

    /// Bytes of the content at the beginning of `bytes`; `None` = it does not end there, or is broken.
    fn content(&self, bytes: &[u8]) -> Option<usize> {
        if !self.is_chunked {
            let length = usize::try_from(self.length).ok()?;
            return (length <= bytes.len()).then_some(length);
        }
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let httparse::Status::Complete((line, size)) = httparse::parse_chunk_size(rest).ok()?
            else {
                return None;
            };
            at = at.checked_add(line)?;
            if size == 0 {
                let rest = bytes.get(at..)?;
                let mut trailers = [httparse::EMPTY_HEADER; 100];
                let parsed = httparse::parse_headers(rest, &mut trailers).ok()?;
                let httparse::Status::Complete((end, _)) = parsed else {
                    return None;
                };
                return Some(at + end);
            }
            at = at.checked_add(usize::try_from(size).ok()?)?;
            if bytes.get(at..at.checked_add(2)?)? != b"\r\n" {
                return None;
            }
            at += 2;
        }
    }
}

/// Concurrent streams, bytes sent, then bytes of an HTTP/2 connection behind the preface, repeated.
pub(crate) fn frames(data: &[u8]) {
    let mut numbers = Numbers(data);
    let (streams, sent) = (u32::from(numbers.u16()), numbers.u16());
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for _ in 0..FRAMES {
        bytes.extend_from_slice(&numbers.0[..numbers.0.len().min(64)]);
    }
    weir_http::fuzz::frames(&bytes, streams, sent, input::now());
}

/// Two addresses whose header has to come back, then bytes in front of a connection.
pub(crate) fn proxy_protocol(data: &[u8]) {
    let known = net::fuzz::proxy_header(data);
    if let Some(named) = known {
        let longer = [data, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(net::fuzz::proxy_header(&longer), Some(named));
    }
    let mut numbers = Numbers(data);
    let mut end = || {
        let port = numbers.u16();
        let address = if port & 1 == 0 {
            IpAddr::from(Ipv4Addr::from(numbers.u32()))
        } else {
            IpAddr::from(Ipv6Addr::from(numbers.bytes::<16>()))
        };
        SocketAddr::new(address, port)
    };
    let (client, weir) = (end(), end());
    for header in weir_http::fuzz::announced(client, weir) {
        let read = net::fuzz::proxy_header(&header);
        let named = net::fuzz::Named::Client(client.ip().to_canonical());
        assert_eq!(read, Some(named), "{header:?}");
    }
}

/// A request head, an empty line, then a status and field lines of a response.
pub(crate) fn compress(data: &[u8]) {
    let (request, response) = input::halves(data);
    let mut lines = input::lines(response);
    let status = StatusCode::from_bytes(lines.next().unwrap_or_default());
    let request = input::fields(input::lines(request));
    weir_http::fuzz::compress(
        &request,
        &input::fields(lines),
        status.unwrap_or(StatusCode::OK),
    );
}

/// A request head.
pub(crate) fn upgrade(data: &[u8]) {
    if let Some(parts) = input::request(data) {
        weir_http::fuzz::upgrade(&parts);
    }
}

/// A request head.
pub(crate) fn sticky(data: &[u8]) {
    thread_local! {
        static UPSTREAM: OnceCell<Upstream> = const { OnceCell::new() };
    }
    let upstream = || {
        let server = |port| ServerSettings {
            scheme: weir::balance::Scheme::Http,
            host: "10.0.0.1".to_owned(),
            port,
            weight: 1,
        };
        let mut settings = UpstreamSettings::new("app", (8080..8083).map(server).collect());
        settings.sticky = Some(StickySettings {
            cookie: "weir-origin".to_owned(),
        });
        Upstream::new(settings, Secret::new([7; 16]), input::now())
    };
    if let Some(parts) = input::request(data) {
        UPSTREAM.with(|known| weir_http::fuzz::sticky(known.get_or_init(upstream), &parts));
    }
}

/// Numbers of a limit and of a bucket.
pub(crate) fn rate_limit(data: &[u8]) {
    let mut numbers = Numbers(data);
    let limit = LimitSettings {
        requests: numbers.u32() % 1_000_000 + 1,
        per: Duration::from_millis(100 + u64::from(numbers.u32()) % 86_400_000),
        burst: numbers.u32() % 1_000_000 + 1,
        by: LimitBy::Route,
    };
    let mut duration = || Duration::from_nanos(numbers.u64());
    let (wait, full_in) = (duration(), duration());
    for admission in [Admission::Admitted, Admission::Refused(wait)] {
        let standing = Standing {
            admission,
            remaining: numbers.u32(),
            full_in,
        };
        weir_http::fuzz::limit(&limit, &standing);
    }
}

/// Enough to use a budget up, if all of them carry nothing.
const FRAMES: usize = 300;
