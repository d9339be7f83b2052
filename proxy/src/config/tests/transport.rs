//! What is spoken with origin servers, and what of it cannot be.

use std::path::Path;

use super::{BASE, invalid, valid};
use crate::balance::{Protocol, ProxyProtocol, Scheme};
use crate::tls::{Offer, Verify};

fn upstream(servers: &str, lines: &str) -> String {
    format!("{BASE}[[upstream]]\nname = \"b\"\nservers = [{servers}]\n{lines}\n")
}

#[test]
fn every_protocol_goes_with_its_scheme() {
    for (servers, lines, protocol, offer) in [
        ("\"http://b\"", "", Protocol::Auto, None),
        ("\"https://b\"", "", Protocol::Auto, Some(Offer::Either)),
        (
            "\"http://b\", \"https://b\"",
            "protocol = \"auto\"",
            Protocol::Auto,
            Some(Offer::Either),
        ),
        (
            "\"https://b\"",
            "protocol = \"http/1.1\"",
            Protocol::Http1,
            Some(Offer::Http1),
        ),
        (
            "\"https://b\"",
            "protocol = \"h2\"",
            Protocol::H2,
            Some(Offer::Http2),
        ),
        ("\"http://b\"", "protocol = \"h2c\"", Protocol::H2c, None),
    ] {
        let settings = valid(&upstream(servers, lines));
        assert_eq!(settings.upstreams[1].transport.protocol, protocol);
        let tls = settings.origin_tls[1].as_ref();
        assert_eq!(tls.map(|tls| tls.offer), offer, "{servers} {lines}");
        assert_eq!(settings.origin_tls[0], None);
    }
}

#[test]
fn the_port_and_tls_of_an_https_server_have_defaults() {
    let settings = valid(&upstream("\"https://app.internal\"", ""));
    let server = &settings.upstreams[1].servers[0];
    assert_eq!((server.scheme, server.port), (Scheme::Https, 443));
    let tls = settings.origin_tls[1].as_ref().expect("TLS");
    assert_eq!(tls.verify, Verify::Certificate);
    assert_eq!((&tls.ca, &tls.server_name), (&None, &None));
    assert_eq!(tls.certificate, None);
}

#[test]
fn tls_settings_arrive_where_they_belong() {
    let tls = "tls = { ca = \"/ca.pem\", server_name = \"App.internal\", cert = \"/c.pem\", key = \"/c.key\", verify = false }";
    let settings = valid(&upstream("\"https://10.0.0.1\"", tls));
    let tls = settings.origin_tls[1].as_ref().expect("TLS");
    assert_eq!(tls.ca.as_deref(), Some(Path::new("/ca.pem")));
    assert_eq!(tls.server_name.as_deref(), Some("app.internal"));
    let certificate = tls.certificate.as_ref().expect("a certificate");
    assert_eq!(certificate.chain, Path::new("/c.pem"));
    assert_eq!(certificate.key, Path::new("/c.key"));
    assert_eq!(tls.verify, Verify::Nothing);
}

#[test]
fn servers_found_by_records_are_verified_by_the_name_that_is_configured() {
    for (tls, name) in [
        ("server_name = \"app.internal\"", Some("app.internal")),
        ("verify = false", None),
    ] {
        let settings = valid(&upstream(
            "\"srv+https://b\"",
            &format!("tls = {{ {tls} }}"),
        ));
        assert_eq!(settings.upstreams[1].services[0].scheme, Scheme::Https);
        let tls = settings.origin_tls[1].as_ref().expect("TLS");
        assert_eq!(tls.server_name.as_deref(), name);
    }
}

#[test]
fn what_does_not_go_together_is_refused_where_it_stands() {
    for (servers, lines, key, message) in [
        (
            "\"http://b\"",
            "protocol = \"h2\"",
            "upstream[1].protocol",
            "h2 is HTTP/2 over TLS",
        ),
        (
            "\"https://b\"",
            "protocol = \"h2c\"",
            "upstream[1].protocol",
            "h2c is HTTP/2 without TLS",
        ),
        (
            "\"http://b\"",
            "tls = { verify = false }",
            "upstream[1].tls",
            "no server of this upstream speaks TLS",
        ),
        (
            "\"http://b\"",
            "protocol = \"h2c\"\nsend_proxy_protocol = \"v1\"",
            "upstream[1].send_proxy_protocol",
            "HTTP/2 connections carry requests of many clients",
        ),
        (
            "\"http://b\"",
            "send_proxy_protocol = \"v3\"",
            "upstream[1].send_proxy_protocol",
            "not one of the possible values",
        ),
        (
            "\"srv+https://b\"",
            "protocol = \"h2c\"\ntls = { verify = false }",
            "upstream[1].protocol",
            "h2c is HTTP/2 without TLS",
        ),
        (
            "\"srv+http://b\"",
            "tls = { verify = false }",
            "upstream[1].tls",
            "no server of this upstream speaks TLS",
        ),
        (
            "\"https://b\", \"srv+https://c\"",
            "tls = { ca = \"/ca.pem\" }",
            "upstream[1].tls",
            "a server's certificate cannot be verified by the name that an SRV record gives it",
        ),
        (
            "\"https://b\"",
            "tls = { cert = \"/c.pem\" }",
            "upstream[1].tls.key",
            "missing",
        ),
        (
            "\"https://b\"",
            "tls = { key = \"/c.key\" }",
            "upstream[1].tls.cert",
            "missing",
        ),
        (
            "\"https://b\"",
            "tls = { server_name = \"a b\" }",
            "upstream[1].tls.server_name",
            "not a name that a certificate can have",
        ),
        (
            "\"https://b\"",
            "tls = { ca = \"ca.pem\" }",
            "upstream[1].tls.ca",
            "not an absolute path",
        ),
        (
            "\"https://b\"",
            "tls = { certs = \"/c\" }",
            "upstream[1].tls.certs",
            "unknown key",
        ),
    ] {
        let told = invalid(&upstream(servers, lines));
        assert_eq!(told.problems.len(), 1, "{lines}: {}", told.report());
        let problem = &told.problems[0];
        assert_eq!(problem.key, key);
        assert!(problem.message.starts_with(message), "{}", problem.message);
        assert!(problem.line >= 11 || key.ends_with("tls.key") || key.ends_with("tls.cert"));
    }
}

#[test]
fn connections_that_are_one_clients_are_http_1_1() {
    for (value, expected) in [
        ("off", ProxyProtocol::Off),
        ("v1", ProxyProtocol::V1),
        ("v2", ProxyProtocol::V2),
    ] {
        let settings = valid(&upstream(
            "\"https://b\"",
            &format!("send_proxy_protocol = \"{value}\""),
        ));
        let transport = settings.upstreams[1].transport;
        assert_eq!(transport.send_proxy_protocol, expected);
        let offer = settings.origin_tls[1].as_ref().expect("TLS").offer;
        assert_eq!(offer == Offer::Either, expected == ProxyProtocol::Off);
    }
}
