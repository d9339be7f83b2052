//! Health checks speak with origin servers as requests do.

use std::io::{BufRead as _, Read as _};
use std::time::Instant;

use weir::balance::{Expect, Health, HealthSettings, ProbeKind, Protocol, ProxyProtocol};
use weir::http::probe::{Failed, Way, probe};
use weir::tls::{Offer, OriginTlsSettings};

use crate::origin_h2::{H2Origin, Speaking};
use crate::tls::run;
use crate::weir::{PATIENCE, Setup};
use crate::{upstream_proxy, upstream_tls};
use upstream_tls::{Authority, Clients};

/// Checks the first server once, and notes it as the origins thread does; one failure is enough.
fn check(setup: &Setup, kind: ProbeKind) -> (Result<(), Failed>, Health) {
    let mut site = setup.site(1);
    let settings = HealthSettings {
        probe: kind,
        timeout: PATIENCE,
        fall: 1,
        ..HealthSettings::default()
    };
    let mut of_upstream = site.upstreams[0].settings.clone();
    of_upstream.health = Some(settings.clone());
    let now = Instant::now();
    let secret = site.upstreams[0].secret.clone();
    site.upstreams[0] = weir::balance::Upstream::new(of_upstream, secret, now).into();
    let upstream = &site.upstreams[0];
    let way = Way::of(&site, upstream).unwrap();
    let mut outcome = Ok(());
    run(async {
        outcome = probe(&upstream.servers[0], way, &settings).await;
    });
    let reason = outcome.clone().map_err(|failed| failed.to_string());
    upstream.probed(0, reason.as_ref().map(drop).map_err(String::as_str), now);
    (outcome, upstream.health(0, now))
}

fn get() -> ProbeKind {
    ProbeKind::Http {
        path: "/healthz".into(),
        host: Some("app.internal".into()),
        expect: Expect::default(),
    }
}

#[test]
fn an_https_origin_is_healthy_when_it_verifies_and_not_when_it_does_not() {
    let (authority, other) = (Authority::new(), Authority::new());
    let config = authority.server("app.internal", &[b"http/1.1"], Clients::Anyone);
    let (address, handshakes) = upstream_tls::origin(config);
    let trusted = upstream_tls::setup(address, authority.trusted());
    assert_eq!(check(&trusted, get()), (Ok(()), Health::Healthy));
    assert_eq!(handshakes.lock().unwrap().len(), 1);

    let untrusted = upstream_tls::setup(address, other.trusted());
    let (_, health) = check(&untrusted, get());
    assert_eq!(health, Health::Unhealthy("certificate not trusted".into()));
    // A check of connections alone has no TLS.
    assert_eq!(check(&untrusted, ProbeKind::Tcp).1, Health::Healthy);
    assert_eq!(handshakes.lock().unwrap().len(), 1);
}

#[test]
fn an_h2c_origin_is_checked_over_http2() {
    let origin = H2Origin::ok(Speaking::default());
    let setup = Setup::to(&[origin.address]).with(|setup| setup.transport.protocol = Protocol::H2c);
    assert_eq!(check(&setup, get()), (Ok(()), Health::Healthy));
    let requests = origin.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].uri, "http://app.internal/healthz");
    assert_eq!(requests[0].headers["user-agent"], "weir health check");
}

#[test]
fn an_http2_status_decides() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        exchange.answer(503, "busy");
    });
    let setup = Setup::to(&[origin.address]).with(|setup| setup.transport.protocol = Protocol::H2c);
    assert_eq!(check(&setup, get()).0, Err(Failed::Status(503)));
}

#[test]
fn over_tls_a_check_speaks_what_requests_would() {
    let authority = Authority::new();
    for (protocol, offer) in [
        (Protocol::Auto, Offer::Either),
        (Protocol::H2, Offer::Http2),
    ] {
        let tls = OriginTlsSettings {
            offer,
            ..authority.trusted()
        };
        let config = authority.server("app.internal", &[b"h2"], Clients::Anyone);
        let origin = H2Origin::ok(Speaking {
            tls: Some(config),
            ..Speaking::default()
        });
        let setup = upstream_tls::setup(origin.address, tls.clone())
            .with(|setup| setup.transport.protocol = protocol);
        assert_eq!(check(&setup, get()).0, Ok(()));
        assert_eq!(origin.requests()[0].uri, "https://app.internal/healthz");

        // Without ALPN it is HTTP/1.1, which will do unless HTTP/2 is demanded.
        let config = authority.server("app.internal", &[], Clients::Anyone);
        let (address, _) = upstream_tls::origin(config);
        let setup =
            upstream_tls::setup(address, tls).with(|setup| setup.transport.protocol = protocol);
        let expected = match offer {
            Offer::Http2 => Err(Failed::Tls("no HTTP/2 in ALPN")),
            Offer::Http1 | Offer::Either => Ok(()),
        };
        assert_eq!(check(&setup, get()).0, expected);
    }
}

#[test]
fn a_check_says_that_it_is_for_no_client() {
    let (origin, headers) = upstream_proxy::origin(|reader| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    });
    let setup = upstream_proxy::setup(origin.address, ProxyProtocol::V1);
    assert_eq!(check(&setup, get()).0, Ok(()));
    assert_eq!(headers.recv_timeout(PATIENCE).unwrap(), "PROXY UNKNOWN\r\n");

    let (origin, headers) = upstream_proxy::origin(|reader| {
        let mut header = [0; 16];
        reader.read_exact(&mut header).unwrap();
        header
    });
    let setup = upstream_proxy::setup(origin.address, ProxyProtocol::V2);
    assert_eq!(check(&setup, get()).0, Ok(()));
    let header = headers.recv_timeout(PATIENCE).unwrap();
    let parsed = ppp::v2::Header::try_from(header.as_slice()).unwrap();
    assert_eq!(parsed.command, ppp::v2::Command::Local);
    assert_eq!(parsed.addresses, ppp::v2::Addresses::Unspecified);
    assert_eq!(parsed.len(), header.len(), "nothing else");
}
