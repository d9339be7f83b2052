//! How often a route may be used.

use crate::client::{Client, Message};
use crate::origin::Origin;
use crate::weir::{Setup, Weir, routes};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A rate so low that no test waits for it.
fn weir(origin: &Origin, by: &str) -> Weir {
    let text = format!(
        "[[route]]\npath = \"/limited\"\nupstream = \"app\"\n\
         limit = {{ requests = 2, per = \"1day\", burst = 3, by = \"{by}\" }}\n\
         [[route]]\nupstream = \"app\""
    );
    Setup::to(&[origin.address])
        .with(|setup| setup.routes = Some(routes(&text)))
        .start()
}

fn get(client: &mut Client, key: &str) -> Message {
    client.send(&format!(
        "GET /limited HTTP/1.1\r\nHost: a.test\r\nX-Key: {key}\r\n\r\n"
    ));
    client.response()
}

#[test]
fn what_goes_beyond_the_burst_is_429_and_reaches_no_origin() {
    let origin = Origin::answering(OK);
    let weir = weir(&origin, "client-ip");
    let mut client = Client::connect(weir.address);
    for left in [2, 1, 0] {
        let response = get(&mut client, "a");
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.field("ratelimit-policy"),
            Some("\"weir\";q=3;w=129600")
        );
        let current = response.field("ratelimit").unwrap();
        assert!(
            current.starts_with(&format!("\"weir\";r={left};t=")),
            "{current}"
        );
        assert_eq!(response.field("retry-after"), None);
    }
    // The connection stays, and so does who the client is on another one.
    for mut client in [client, Client::connect(weir.address)] {
        let refused = get(&mut client, "a");
        assert_eq!(refused.status(), 429);
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=43_200).contains(&wait), "{wait}");
        assert!(
            refused
                .field("ratelimit")
                .unwrap()
                .starts_with("\"weir\";r=0;t=")
        );
        assert_eq!(
            refused.field("proxy-status"),
            Some("weir; error=http_request_denied")
        );
        assert_eq!(client.get("/other").status(), 200);
    }
    assert_eq!(origin.requests().len(), 5);
}

#[test]
fn a_field_tells_apart_who_shares_a_limit() {
    let origin = Origin::answering(OK);
    let weir = weir(&origin, "header:x-key");
    let mut client = Client::connect(weir.address);
    for (key, status) in [
        ("a", 200),
        ("a", 200),
        ("a", 200),
        ("a", 429),
        ("b", 200),
        ("a", 429),
    ] {
        assert_eq!(get(&mut client, key).status(), status, "{key}");
    }
    assert_eq!(origin.requests().len(), 4);
}
