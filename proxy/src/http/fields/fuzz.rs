//! What holds of fields on their way through, whatever a peer sends.

use std::net::IpAddr;
use std::time::Instant;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LOCATION, COOKIE, FORWARDED, HOST, LOCATION,
    TE, TRANSFER_ENCODING, VIA,
};
use http::{HeaderMap, HeaderValue, Uri, Version};

use super::request::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::{
    Client, HOP_BY_HOP, Origin, Scheme, Told, is_withheld, join_cookie_crumbs, to_origin as send,
    trailers_to_client, trailers_to_origin,
};
use crate::balance;
use crate::balance::{Secret, ServerSettings, Upstream, UpstreamSettings};
use crate::net::Networks;

/// Of what a hop says, no address is believed that an untrusted one wrote, and what is passed on names the same client and
/// scheme to a next hop that trusts `weir`.
pub fn forwarded(source: IpAddr, trusted: &Networks, weir: IpAddr, fields: &HeaderMap) {
    let Ok(told) = Told::read(source, trusted, fields) else {
        return;
    };
    let path = told.path.clone();
    assert_eq!(path.last(), Some(&source));
    assert!(
        path[1..].iter().all(|hop| trusted.contains(*hop)),
        "{told:?}"
    );
    let client = Client::new(source, Scheme::Https).behind(told);
    assert_eq!(client.address, path[0]);
    let mut sent = fields.clone();
    let authority = HeaderValue::from_static("a.test");
    let id = HeaderValue::from_static("1");
    if send(&mut sent, &client, &authority, Version::HTTP_11, id).is_err() {
        return;
    }
    if trusted.contains(path[0]) {
        // The next hop would look further, and there is nothing further.
        return;
    }
    let told = Told::read(weir, trusted, &sent).expect("what weir says can be read");
    let next = Client::new(weir, Scheme::Http).behind(told);
    assert_eq!(next.address, path[0], "{sent:?}");
    assert_eq!(next.scheme, client.scheme, "{sent:?}");
}

/// The origin gets nothing of one connection, nothing that only weir may say, and all that is meant for it.
pub fn to_origin(fields: &HeaderMap, version: Version) {
    let client = Client::new([198, 18, 0, 1].into(), Scheme::Https);
    let authority = HeaderValue::from_static("[2001:db8::1]:8443");
    let mut sent = fields.clone();
    join_cookie_crumbs(&mut sent);
    let id = HeaderValue::from_static("1");
    if send(&mut sent, &client, &authority, version, id).is_err() {
        return;
    }
    let count = |name| sent.get_all(name).iter().count();
    for name in [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST] {
        assert_eq!(count(name), 1);
    }
    assert_eq!((count(FORWARDED), count(HOST)), (1, 1));
    assert_eq!(sent[X_FORWARDED_FOR], "198.18.0.1");
    assert_eq!(sent[HOST], authority);
    for name in sent.keys() {
        let is_hop_by_hop = HOP_BY_HOP.contains(name) && *name != TE;
        assert!(!is_hop_by_hop && !name.as_str().contains('_'), "{name}");
    }
    let (connection, te) = (sent.get(CONNECTION), sent.get(TE));
    assert!(connection.is_none_or(|line| line == "te" && te.is_some_and(|te| te == "trailers")));
    assert_eq!(connection.is_some(), te.is_some());
    for name in [AUTHORIZATION, CACHE_CONTROL, VIA] {
        let came = fields.get_all(&name);
        let kept = sent.get_all(&name).iter().take(came.iter().count());
        assert!(kept.eq(came), "{name}");
    }
    assert_eq!(sent.contains_key(COOKIE), fields.contains_key(COOKIE));
    assert!(count(COOKIE) <= 1);
    let mut trailers = fields.clone();
    trailers_to_origin(&mut trailers);
    for name in trailers.keys() {
        assert!(!is_withheld(name), "{name}");
    }
}

/// No reference to a server of the upstream reaches the client where the grammar of a field has one.
pub fn to_client(fields: &HeaderMap, now: Instant) {
    let server = |scheme, host: &str, port| ServerSettings {
        scheme,
        host: host.to_owned(),
        port,
        weight: 1,
    };
    let servers = vec![
        server(balance::Scheme::Http, "10.0.0.1", 8080),
        server(balance::Scheme::Http, "app.internal", 80),
        server(balance::Scheme::Https, "fd00::1", 443),
    ];
    let settings = UpstreamSettings::new("app", servers);
    let upstream = Upstream::new(settings, Secret::new([7; 16]), now);
    let origin = Origin {
        upstream: &upstream,
        server: 0,
        reveal: false,
    };
    let authority = HeaderValue::from_static("a.test");
    let mut got = fields.clone();
    super::to_client(
        &mut got,
        &origin,
        Scheme::Https,
        &authority,
        Version::HTTP_11,
    );
    let ended = [CONNECTION, TRANSFER_ENCODING];
    assert!(ended.iter().all(|name| !got.contains_key(name)));
    assert!(got.contains_key(VIA));
    for name in [LOCATION, CONTENT_LOCATION] {
        for line in &got.get_all(name) {
            let reference = Uri::try_from(line.as_bytes()).ok();
            let is_http = |uri: &&Uri| matches!(uri.scheme_str(), Some("http" | "https"));
            let named = reference.as_ref().filter(is_http).and_then(Uri::authority);
            let is_server = |named: &http::uri::Authority| {
                let mut servers = upstream.servers.iter();
                servers.any(|server| server.authority.eq_ignore_ascii_case(named.as_str()))
            };
            assert!(!named.is_some_and(is_server), "{line:?}");
        }
    }
    let mut trailers = fields.clone();
    trailers_to_client(&mut trailers);
    assert!(ended.iter().all(|name| !trailers.contains_key(name)));
}
