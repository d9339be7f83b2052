//! nginx as the origin server.

use std::collections::BTreeSet;

use anyhow::ensure;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;
use weir_lab::peer::Nginx;
use weir_lab::topology::{client_v4, origin_address};
use weir_lab::{Answer, Client, Config, Lab, Peer, Protocol, Weir, client};

use super::{all, ensure_same, noise, to, verified};
use crate::Test;

/// Starts nginx beside origin 1 with these lines of `http`.
fn start(lab: &Lab, http: &str) -> anyhow::Result<Peer> {
    let nginx = Nginx {
        http,
        ..Nginx::default()
    };
    Peer::nginx(lab, lab.origins[0].namespace(), nginx)
}

/// Sends requests one after the other on one connection.
fn exchange(
    lab: &Lab,
    client: &Client,
    requests: Vec<Request<Full<Bytes>>>,
) -> anyhow::Result<Vec<Answer>> {
    lab.clients.run(|| {
        client::blocking(async {
            let mut connection = client.connect().await?;
            let mut answers = Vec::new();
            for request in requests {
                answers.push(connection.send(request).await?);
            }
            Ok(answers)
        })
    })?
}

fn request(method: &str, path: &str, field: (&str, &str)) -> anyhow::Result<Request<Full<Bytes>>> {
    Ok(Request::builder()
        .method(method)
        .uri(path)
        .header(field.0, field.1)
        .body(Full::default())?)
}

#[test]
fn a_kept_connection_to_nginx_carries_one_request_after_another() -> Test {
    const REQUESTS: usize = 30;
    let lab = Lab::new()?;
    let nginx = start(&lab, "server { listen 8081; return 200 ok; }\n")?;
    let _weir = Weir::start(&lab, &to("http", 8081, ""))?;
    for (round, protocol) in (1..).zip(Protocol::ALL) {
        let before = nginx.requests()?.len();
        let client = lab.client(client_v4(0), protocol)?;
        let requests = (0..REQUESTS)
            .map(|_| client::get("/"))
            .collect::<Result<_, _>>()?;
        for answer in exchange(&lab, &client, requests)? {
            ensure!(answer.status == 200 && answer.text() == "ok", "{answer:?}");
        }
        let logged = nginx.first_requests(round * REQUESTS)?;
        let connections: BTreeSet<_> = all(&logged[before..], "connection").into_iter().collect();
        // The client has one connection, which is one worker's. A second one is made where a request comes before the
        // first is given back.
        ensure!(connections.len() <= 3, "{protocol:?}: {logged:?}");
        ensure!(
            all(&logged, "version")
                .iter()
                .all(|version| *version == "HTTP/1.1"),
            "{logged:?}"
        );
    }
    Ok(())
}

#[test]
fn content_of_nginx_arrives_byte_for_byte_whole_in_ranges_and_chunked() -> Test {
    let lab = Lab::new()?;
    let content = noise(5_000_011);
    let directory = lab.directory().join("www");
    std::fs::create_dir(&directory)?;
    std::fs::write(directory.join("noise"), &content)?;
    let root = directory.display();
    let nginx = start(
        &lab,
        &format!(
            "server {{\nlisten 8081;\nroot {root};\nlocation /chunked/ {{ alias {root}/; ssi on; ssi_types *; ssi_last_modified off; }}\n}}\n"
        ),
    )?;
    let _weir = Weir::start(&lab, &to("http", 8081, ""))?;
    for protocol in Protocol::ALL {
        let client = lab.client(client_v4(0), protocol)?;
        let ask = |method: &str, path: &str, field| {
            let answers = exchange(&lab, &client, vec![request(method, path, field)?])?;
            anyhow::Ok(answers.into_iter().next().expect("one request, one answer"))
        };
        let plain = ("x-none", "1");
        let whole = ask("GET", "/noise", plain)?;
        ensure!(whole.status == 200, "{protocol:?}: status {}", whole.status);
        ensure!(whole.field("content-length") == content.len().to_string());
        ensure_same(&whole.content, &content)?;

        let part = ask("GET", "/noise", ("range", "bytes=1000-2999"))?;
        ensure!(part.status == 206, "{protocol:?}: status {}", part.status);
        ensure!(part.field("content-range") == format!("bytes 1000-2999/{}", content.len()));
        ensure_same(&part.content, &content[1000..3000])?;
        let parts = ask("GET", "/noise", ("range", "bytes=0-1,-2"))?;
        ensure!(
            parts.status == 206
                && parts
                    .field("content-type")
                    .starts_with("multipart/byteranges")
        );
        let beyond = ask("GET", "/noise", ("range", "bytes=9000000-"))?;
        ensure!(
            beyond.status == 416,
            "{protocol:?}: status {}",
            beyond.status
        );

        let head = ask("HEAD", "/noise", plain)?;
        ensure!(
            head.status == 200 && head.content.is_empty(),
            "{protocol:?}"
        );
        ensure!(
            head.field("content-length") == content.len().to_string(),
            "{head:?}"
        );

        let tag = whole.field("etag");
        ensure!(!tag.is_empty(), "{:?}", whole.fields);
        let same = ask("GET", "/noise", ("if-none-match", &tag))?;
        ensure!(same.status == 304 && same.content.is_empty(), "{same:?}");
        ensure!(same.field("etag") == tag, "{same:?}");

        let chunked = ask("GET", "/chunked/noise", plain)?;
        ensure!(
            chunked.status == 200 && chunked.field("content-length").is_empty(),
            "{:?}",
            chunked.fields
        );
        ensure_same(&chunked.content, &content)?;
    }
    let statuses = nginx.first_requests(14)?;
    ensure!(all(&statuses, "status").contains(&"304"), "{statuses:?}");
    Ok(())
}

#[test]
fn nginx_as_next_hop_passes_an_upload_on_whole() -> Test {
    const BYTES: usize = 6_000_000;
    let lab = Lab::new()?;
    let _nginx = start(
        &lab,
        "server { listen 8081; location / { proxy_pass http://127.0.0.1:8080; proxy_http_version 1.1; } }\n",
    )?;
    let _weir = Weir::start(&lab, &to("http", 8081, ""))?;
    for protocol in Protocol::ALL {
        let client = lab.client(client_v4(1), protocol)?;
        let upload = Request::post("/echo").body(Full::new(noise(BYTES).into()))?;
        let answers = exchange(&lab, &client, vec![upload, client::get("/slow?ms=50")?])?;
        let seen: Value = serde_json::from_slice(&answers[0].content)?;
        ensure!(seen["content_length"] == BYTES, "{protocol:?}: {seen}");
        ensure!(
            answers[1].text() == "origin-1\n".repeat(10),
            "{protocol:?}: {answers:?}"
        );
    }
    Ok(())
}

/// nginx's listener with the lab's certificate.
fn tls_server(lab: &Lab, listen: &str) -> String {
    let (chain, key) = (lab.pki.chain.display(), lab.pki.key.display());
    format!(
        "server {{\nlisten 8443 {listen};\nssl_certificate {chain};\nssl_certificate_key {key};\nreturn 200 $server_protocol;\n}}\n"
    )
}

#[test]
fn nginx_over_tls_chooses_the_version_of_http_that_weir_offers() -> Test {
    let lab = Lab::new()?;
    let _nginx = start(&lab, &tls_server(&lab, "ssl http2"))?;
    let tls = verified(&lab);
    let weir = Weir::start(&lab, &to("https", 8443, &tls))?;
    for (protocol, version) in [
        ("auto", "HTTP/2.0"),
        ("h2", "HTTP/2.0"),
        ("http/1.1", "HTTP/1.1"),
    ] {
        let more = format!("{tls}protocol = \"{protocol}\"\n");
        weir.rewrite(&to("https", 8443, &more).text(&lab))?;
        weir.ok(&["reload"])?;
        for theirs in Protocol::ALL {
            let answer = lab.get(client_v4(0), theirs, "/")?;
            ensure!(
                answer.status == 200 && answer.text() == version,
                "{protocol}: {answer:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn an_nginx_that_cannot_prove_who_it_is_is_asked_nothing() -> Test {
    let lab = Lab::new()?;
    let nginx = start(&lab, &tls_server(&lab, "ssl"))?;
    let elsewhere = lab.directory().join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    let strangers = weir_lab::pki::Pki::create(&elsewhere)?;
    let authority = lab.pki.authority.display();
    let stranger = strangers.authority.display();
    let refused = [
        format!("tls = {{ ca = \"{stranger}\", server_name = \"weir.test\" }}\n"),
        format!("tls = {{ ca = \"{authority}\", server_name = \"other.test\" }}\n"),
        // The name is an address then, which the certificate is not for.
        format!("tls = {{ ca = \"{authority}\" }}\n"),
    ];
    let weir = Weir::start(&lab, &to("https", 8443, &verified(&lab)))?;
    for tls in refused {
        weir.rewrite(&to("https", 8443, &tls).text(&lab))?;
        weir.ok(&["reload"])?;
        let answer = lab.get(client_v4(0), Protocol::Http1, "/")?;
        ensure!(answer.status == 502, "{tls}: {answer:?}");
        let why = answer.field("proxy-status");
        ensure!(why.contains("tls_certificate_error"), "{tls}: {why}");
    }
    ensure!(nginx.requests()?.is_empty(), "{}", nginx.log());
    Ok(())
}

#[test]
fn nginx_that_asks_for_a_certificate_gets_weirs() -> Test {
    let lab = Lab::new()?;
    let (authority, chain, key) = (
        lab.pki.authority.display(),
        lab.pki.client_chain.display(),
        lab.pki.client_key.display(),
    );
    let ask = format!("ssl;\nssl_verify_client on;\nssl_client_certificate {authority}");
    let server = tls_server(&lab, &ask).replace(
        "$server_protocol",
        "\"$ssl_client_verify $ssl_client_s_dn\"",
    );
    let _nginx = start(&lab, &server)?;
    let with = format!(
        "tls = {{ ca = \"{authority}\", server_name = \"weir.test\", cert = \"{chain}\", key = \"{key}\" }}\n"
    );
    let weir = Weir::start(&lab, &to("https", 8443, &with))?;
    let answer = lab.get(client_v4(0), Protocol::Http2, "/")?;
    ensure!(answer.text() == "SUCCESS CN=lab client", "{answer:?}");
    weir.rewrite(&to("https", 8443, &verified(&lab)).text(&lab))?;
    weir.ok(&["reload"])?;
    let answer = lab.get(client_v4(0), Protocol::Http2, "/")?;
    ensure!(
        answer.status == 400 && !answer.text().contains("SUCCESS"),
        "{answer:?}"
    );
    Ok(())
}

#[test]
fn nginx_over_cleartext_http_2_shares_a_connection_and_streams_both_ways() -> Test {
    let lab = Lab::new()?;
    let content = noise(3_000_017);
    std::fs::write(lab.directory().join("noise"), &content)?;
    let root = lab.directory().display();
    let origin = origin_address(1);
    let nginx = start(
        &lab,
        &format!(
            "server {{\nlisten 8082 http2;\nlocation /noise {{ root {root}; }}\nlocation /echo {{ proxy_pass http://{origin}:8080; }}\n}}\n"
        ),
    )?;
    let config = Config {
        limits: "drain = \"20s\"\n".into(),
        ..to("http", 8082, "protocol = \"h2c\"\n")
    };
    let _weir = Weir::start(&lab, &config)?;
    for protocol in Protocol::ALL {
        let client = lab.client(client_v4(0), protocol)?;
        let upload = Request::post("/echo").body(Full::new(content.clone().into()))?;
        let requests = vec![
            client::get("/noise")?,
            upload,
            request("HEAD", "/noise", ("x-none", "1"))?,
        ];
        let answers = exchange(&lab, &client, requests)?;
        ensure!(
            answers.iter().all(|answer| answer.status == 200),
            "{protocol:?}"
        );
        ensure_same(&answers[0].content, &content)?;
        let seen: Value = serde_json::from_slice(&answers[1].content)?;
        ensure!(seen["content_length"] == content.len(), "{seen}");
        ensure!(answers[2].content.is_empty());
        ensure!(answers[2].field("content-length") == content.len().to_string());
    }
    let logged = nginx.first_requests(6)?;
    ensure!(
        all(&logged, "version")
            .iter()
            .all(|version| *version == "HTTP/2.0"),
        "{logged:?}"
    );
    let connections: BTreeSet<_> = all(&logged, "connection").into_iter().collect();
    // At most one a worker.
    ensure!(connections.len() <= 2, "{logged:?}");
    Ok(())
}
