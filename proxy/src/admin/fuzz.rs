//! What holds of the admin API's requests, whatever a client sends.

use ipnet::IpNet;

use super::{api, check, network, query};

/// Queries are refused with a reason, or ask for what can be answered.
pub fn queries(text: &str) {
    match query::sources(text) {
        Ok(wanted) => {
            assert!((1..=check::TOP_MAX).contains(&wanted.top));
            wanted.network.iter().for_each(canonical);
        }
        Err(failure) => assert!(!failure.error.is_empty()),
    }
    if let Ok(request) = query::networks(text) {
        assert!(!request.networks.is_empty());
        request.networks.iter().for_each(|network| {
            canonical(network);
            assert!(network.prefix_len() > 0);
        });
    }
    if query::server(text).is_ok() {
        assert!(text.contains("upstream") && text.contains("server"));
    }
}

/// Content of requests, and of answers as the client reads them: what is read is written and read alike.
pub fn content(json: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<api::BlockRequest>(json)
        && request.check().is_ok()
    {
        assert!(!request.reason.contains(char::is_control));
        request.networks.iter().for_each(canonical);
        let again = serde_json::to_vec(&request).expect("plain data serializes");
        let again: api::BlockRequest = serde_json::from_slice(&again).expect("and is read");
        assert_eq!(again, request);
    }
    if let Ok(request) = serde_json::from_slice::<api::NetworksRequest>(json) {
        request.networks.iter().for_each(canonical);
    }
    let _either = serde_json::from_slice::<api::DrainRequest>(json);
    let _either = serde_json::from_slice::<api::Status>(json);
    let _either = serde_json::from_slice::<api::Drops>(json);
    let _either = serde_json::from_slice::<api::Sources>(json);
    let _either = serde_json::from_slice::<api::Entries>(json);
    let _either = serde_json::from_slice::<api::Upstreams>(json);
    let _either = serde_json::from_slice::<api::Certificates>(json);
    let _either = serde_json::from_slice::<api::Changed>(json);
}

/// Without host bits, and what is displayed is read as the same.
fn canonical(written: &IpNet) {
    assert_eq!(*written, written.trunc());
    let again = network::parse(&network::display(*written)).expect("it was displayed");
    assert_eq!(again.network, *written);
}
