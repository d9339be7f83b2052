//! One form of a path for routes, detection and the origin, whichever way the client writes it.

use weir::route::{EncodedSlashes, Underscores};

use crate::client::Client;
use crate::origin::Origin;
use crate::weir::{PATIENCE, Setup, routes, rule};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn start_lines(origin: &Origin) -> Vec<String> {
    origin.requests().into_iter().map(|r| r.start).collect()
}

#[test]
fn the_origin_gets_the_form_that_was_matched_and_no_spelling_leads_past_a_route() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            // Only reading is allowed under /admin/.
            setup.routes = Some(routes(
                r#"
                [[route]]
                path = "/admin/"
                methods = ["GET"]
                upstream = "app"
                [[route]]
                path = "/public/"
                upstream = "app"
                "#,
            ));
        })
        .start();
    let mut client = Client::connect(weir.address);
    for spelling in [
        "/admin/x",
        "//admin//x",
        "/%61dmin/x",
        "/public/../admin/x",
        "/public/%2e%2E/admin/./x",
        "/public/.//../admin/x",
        "http://a.test//admin/x",
    ] {
        client.send(&format!(
            "DELETE {spelling} HTTP/1.1\r\nHost: a.test\r\n\r\n"
        ));
        assert_eq!(client.response().status(), 404, "{spelling}");
        assert_eq!(client.get(spelling).status(), 200, "{spelling}");
    }
    assert_eq!(start_lines(&origin), ["GET /admin/x HTTP/1.1"; 7]);
    assert_eq!(client.get("/public//a%7e%2Dc?q=//%2e").status(), 200);
    assert_eq!(
        start_lines(&origin).last().unwrap(),
        "GET /public/a~-c?q=//%2e HTTP/1.1"
    );
}

#[test]
fn paths_that_origins_read_differently_are_400_and_reach_none() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for path in [
        "/a%2fb",
        "/a%5Cb",
        "/a%00",
        "/a%",
        "/a%zz",
        "/../a",
        "/a/%2e%2e/..",
        "/a/..;b/c",
        "/a\\b",
    ] {
        let response = Client::connect(weir.address).get(path);
        assert_eq!(response.status(), 400, "{path}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn encoded_slashes_can_be_kept_and_hide_no_dots() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.requests.encoded_slashes = EncodedSlashes::Keep)
        .start();
    let mut client = Client::connect(weir.address);
    assert_eq!(client.get("/a%2fb//c").status(), 200);
    assert_eq!(start_lines(&origin), ["GET /a%2Fb/c HTTP/1.1"]);
    assert_eq!(client.get("/a%2f..%2fb").status(), 400);
}

#[test]
fn a_route_may_pass_the_path_on_as_it_came() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.routes = Some(routes(
                r#"
                [[route]]
                path = "/raw/"
                raw_path = true
                upstream = "app"
                "#,
            ));
        })
        .start();
    let mut client = Client::connect(weir.address);
    assert_eq!(client.get("/raw//%41/./x?y").status(), 200);
    assert_eq!(client.get("/raw/../x").status(), 404);
    assert_eq!(start_lines(&origin), ["GET /raw//%41/./x?y HTTP/1.1"]);
}

#[test]
fn detection_counts_by_the_form_that_was_matched() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            let mut login = rule(200);
            login.filter.path = Some("/login".into());
            setup.rules = vec![login];
        })
        .start();
    assert_eq!(
        Client::connect(weir.address).get("/x/..//%6cogin").status(),
        200
    );
    let report = weir.reports.recv_timeout(PATIENCE).unwrap();
    assert_eq!(report.hits.len(), 1);
}

#[test]
fn names_with_underscores_are_dropped_or_refused() {
    let origin = Origin::answering(OK);
    for (policy, status) in [(Underscores::Drop, 200), (Underscores::Refuse, 400)] {
        let weir = Setup::to(&[origin.address])
            .with(|setup| setup.requests.underscores = policy)
            .start();
        let mut client = Client::connect(weir.address);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nX_Real_Ip: 192.0.2.1\r\nX-A: 1\r\n\r\n");
        assert_eq!(client.response().status(), status, "{policy:?}");
    }
    let [request] = &origin.requests()[..] else {
        panic!("one request reaches the origin");
    };
    assert_eq!(request.field("x_real_ip"), None);
    assert_eq!(request.field("x-a"), Some("1"));
}
