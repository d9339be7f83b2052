//! curl as the client: versions of HTTP and TLS, names, certificates, uploads, events.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use weir_lab::pki::CLIENT_NAME;
use weir_lab::topology::origin_address;
use weir_lab::{Config, Lab, Namespace, Output, Weir, peer};

use super::clients::{curl, curl_arguments};
use super::{ensure_same, noise, to};
use crate::{SOON, Test};

const HTTPS: &str = "https://weir.test/";
/// What curl writes after the content: the version of HTTP, the status, connections made.
const SUMMARY: &str = "\n%{http_version} %{http_code} %{num_connects}";
/// curl's code for a failed handshake.
const HANDSHAKE_FAILED: i32 = 35;

/// A cleartext listener beside the one with TLS.
fn with_cleartext() -> Config {
    Config {
        listen: "\n[[listen]]\naddress = \"[::]:80\"\n".into(),
        ..Config::default()
    }
}

/// Runs curl, which must succeed, and returns what it wrote.
fn ok(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let output = curl(lab, arguments)?;
    ensure!(output.code == 0, "curl {arguments:?}: {output:?}");
    Ok(output.stdout)
}

#[test]
fn curl_speaks_every_version_of_http_with_weir() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &with_cleartext())?;
    for (option, url, version) in [
        ("--http1.0", HTTPS, "1"),
        ("--http1.1", HTTPS, "1.1"),
        ("--http2", HTTPS, "2"),
        ("--http1.0", "http://weir.test/", "1"),
        ("--http1.1", "http://weir.test/", "1.1"),
        // An upgrade to h2c, which is obsolete (RFC 9113 §3.1), is not taken up; the request is answered all the same.
        ("--http2", "http://weir.test/", "1.1"),
    ] {
        // Two, over one connection where the version has that.
        let written = ok(&lab, &[option, "-w", SUMMARY, url, url])?;
        ensure!(
            written.matches("origin-").count() == 2
                && written.matches(&format!("\n{version} 200 ")).count() == 2,
            "{option} {url}: {written}"
        );
        let kept = written.ends_with(" 0");
        ensure!(kept == (version != "1"), "{option} {url}: {written}");
    }
    // One: curl 7.88 fails to use such a connection again, with any server.
    let written = ok(
        &lab,
        &[
            "--http2-prior-knowledge",
            "-w",
            SUMMARY,
            "http://weir.test/",
        ],
    )?;
    ensure!(
        written.starts_with("origin-") && written.contains("\n2 200 "),
        "{written}"
    );
    Ok(())
}

#[test]
fn an_http_1_0_client_gets_content_of_unknown_length_until_the_end() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &with_cleartext())?;
    for url in [
        "http://weir.test/slow?ms=50",
        "https://weir.test/slow?ms=50",
    ] {
        let written = ok(&lab, &["--http1.0", "-i", url])?;
        let (head, content) = written.split_once("\r\n\r\n").context("a head")?;
        ensure!(
            !head.to_ascii_lowercase().contains("transfer-encoding"),
            "{head}"
        );
        ensure!(content.len() == 90, "{content}");
    }
    Ok(())
}

#[test]
fn a_big_upload_waits_for_100_continue_and_arrives_whole() -> Test {
    const BYTES: usize = 8_000_000;
    let lab = Lab::new()?;
    let config = Config {
        limits: "drain = \"20s\"\nbody_bytes = \"9MB\"\n".into(),
        ..with_cleartext()
    };
    let _weir = Weir::start(&lab, &config)?;
    let file = lab.directory().join("upload");
    std::fs::write(&file, noise(BYTES))?;
    let upload = format!("@{}", file.display());
    for url in ["http://weir.test/echo", "https://weir.test/echo"] {
        let output = curl(
            &lab,
            &[
                "-v",
                "--http1.1",
                "--expect100-timeout",
                "50",
                "-H",
                "Expect: 100-continue",
                "--data-binary",
                &upload,
                url,
            ],
        )?;
        ensure!(output.code == 0, "{output:?}");
        ensure!(
            output.stderr.contains("< HTTP/1.1 100 Continue"),
            "{}",
            output.stderr
        );
        let seen: Value = serde_json::from_str(&output.stdout)?;
        ensure!(seen["content_length"] == BYTES, "{seen}");
    }
    // Too much is refused before any of it is sent.
    std::fs::write(&file, noise(9_500_000))?;
    let output = curl(
        &lab,
        &[
            "-v",
            "--http1.1",
            "--expect100-timeout",
            "50",
            "-H",
            "Expect: 100-continue",
            "--data-binary",
            &upload,
            "-w",
            "%{size_upload}",
            "https://weir.test/echo",
        ],
    )?;
    ensure!(
        output.stderr.contains("< HTTP/1.1 413"),
        "{}",
        output.stderr
    );
    ensure!(!output.stderr.contains("100 Continue"), "{}", output.stderr);
    ensure!(output.stdout.ends_with('0'), "{}", output.stdout);
    Ok(())
}

#[test]
fn content_comes_down_byte_for_byte_over_every_version() -> Test {
    const BYTES: usize = 5_000_003;
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &Config::default())?;
    let file = lab.directory().join("download");
    let path = file.display().to_string();
    let url = format!("https://weir.test/big?bytes={BYTES}");
    for version in ["--http1.0", "--http1.1", "--http2"] {
        ok(&lab, &[version, "--compressed", "-o", &path, &url])?;
        ensure_same(&std::fs::read(&file)?, &vec![b'x'; BYTES]).context(version)?;
    }
    Ok(())
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &Config::default())?;
    for (version, agreed) in [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")] {
        let option = format!("--tlsv{version}");
        let output = curl(&lab, &["-v", &option, "--tls-max", version, HTTPS])?;
        ensure!(output.code == 0, "{output:?}");
        let agreed = format!("SSL connection using {agreed}");
        ensure!(output.stderr.contains(&agreed), "{}", output.stderr);
    }
    for version in ["1.0", "1.1"] {
        let option = format!("--tlsv{version}");
        // At its usual level OpenSSL would not even ask.
        let output = curl(
            &lab,
            &[
                "-v",
                &option,
                "--tls-max",
                version,
                "--ciphers",
                "ALL:@SECLEVEL=0",
                HTTPS,
            ],
        )?;
        ensure!(output.code == HANDSHAKE_FAILED, "{version}: {output:?}");
        ensure!(output.stderr.contains("Client hello"), "{}", output.stderr);
        ensure!(output.stderr.contains(" alert "), "{}", output.stderr);
    }
    let asked: u64 = lab.origins.iter().map(weir_lab::Origin::requests).sum();
    ensure!(asked == 2, "the origins were asked {asked} times");
    Ok(())
}

#[test]
fn a_name_other_than_the_handshakes_is_misdirected_and_an_unknown_one_gets_no_handshake() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    for version in ["--http1.1", "--http2"] {
        let written = ok(
            &lab,
            &[version, "-w", SUMMARY, "-H", "Host: other.test", HTTPS],
        )?;
        ensure!(written.contains(" 421 "), "{version}: {written}");
    }
    // Without `strict` the first certificate is shown, which is not for that name: the client sees to it.
    let output = curl(&lab, &["https://other.test/"])?;
    ensure!(output.code == 60, "{output:?}");
    let strict = Config {
        listen: "sni = \"strict\"\n".into(),
        ..Config::default()
    };
    weir.rewrite(&strict.text(&lab))?;
    weir.ok(&["reload"])?;
    let output = curl(&lab, &["--insecure", "https://other.test/"])?;
    ensure!(output.code == HANDSHAKE_FAILED, "{output:?}");
    ok(&lab, &[HTTPS])?;
    Ok(())
}

#[test]
fn a_client_certificate_is_asked_for_checked_and_told_to_the_origin() -> Test {
    let lab = Lab::new()?;
    let authority = lab.pki.authority.display();
    let listen = |mode: &str| Config {
        listen: format!("client_auth = {{ ca = \"{authority}\", mode = \"{mode}\" }}\n"),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &listen("required"))?;
    let elsewhere = lab.directory().join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    let strangers = weir_lab::pki::Pki::create(&elsewhere)?;
    let with = |pki: &weir_lab::pki::Pki, more: &[&str]| -> Result<Output> {
        let (chain, key) = (
            pki.client_chain.display().to_string(),
            pki.client_key.display().to_string(),
        );
        let own = ["--cert", &chain, "--key", &key, "https://weir.test/echo"];
        curl(&lab, &[more, &own].concat())
    };
    for mode in ["required", "optional"] {
        weir.rewrite(&listen(mode).text(&lab))?;
        weir.ok(&["reload"])?;
        for tls in ["1.2", "1.3"] {
            let known = with(
                &lab.pki,
                &["--tls-max", tls, "-H", "X-Client-Cert-Subject: CN=root"],
            )?;
            ensure!(known.code == 0, "{mode} {tls}: {known:?}");
            let name = format!("[\"x-client-cert-subject\",\"CN={CLIENT_NAME}\"]");
            ensure!(
                known.stdout.contains(&name) && !known.stdout.contains("CN=root"),
                "{known:?}"
            );
            let unknown = with(&strangers, &["--tls-max", tls])?;
            ensure!(
                unknown.code != 0 && unknown.stdout.is_empty(),
                "{mode} {tls}: {unknown:?}"
            );
            let none = curl(&lab, &["--tls-max", tls, "https://weir.test/echo"])?;
            ensure!(
                (none.code == 0) == (mode == "optional"),
                "{mode} {tls}: {none:?}"
            );
            ensure!(!none.stdout.contains("x-client-cert"), "{none:?}");
        }
    }
    Ok(())
}

#[test]
fn the_first_event_is_there_before_the_origin_sends_the_second() -> Test {
    let lab = Lab::new()?;
    let _weir = Weir::start(&lab, &to("http", 8081, ""))?;
    for version in ["--http1.1", "--http2"] {
        let (go_on, goes_on) = mpsc::channel();
        let origin = events(lab.origins[0].namespace(), goes_on)?;
        let mut arguments = curl_arguments(&lab);
        arguments.extend(["-N", version, "https://weir.test/events"].map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut curl = peer::spawn(&lab.clients, "curl", &arguments)?;
        let mut stdout = BufReader::new(curl.stdout.take().context("stdout is piped")?);
        // curl gives up in the end, and then there is nothing to read.
        let mut first = String::new();
        let read = stdout.read_line(&mut first);
        // Without it the origin may have been asked nothing, and would be waited for in vain.
        ensure!(first == "data: 1\n", "{version}: {read:?} {first:?}");
        go_on.send(()).context("the origin is gone")?;
        let mut rest = String::new();
        stdout.read_to_string(&mut rest)?;
        let status = curl.wait()?;
        origin.join().expect("the origin does not panic")?;
        ensure!(rest == "\ndata: 2\n\n", "{version}: {rest:?}");
        ensure!(status.success(), "{version}: {status}");
    }
    Ok(())
}

/// An origin beside origin 1 for one request, which sends an event, waits to be told, and sends another.
fn events(
    namespace: &Namespace,
    goes_on: mpsc::Receiver<()>,
) -> Result<std::thread::JoinHandle<Result<()>>> {
    let listener = namespace.run(|| TcpListener::bind((origin_address(1), 8081)))??;
    Ok(std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(SOON))?;
        let mut request = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while request.read_line(&mut line)? > 2 {
            line.clear();
        }
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n9\r\ndata: 1\n\n\r\n",
        )?;
        goes_on
            .recv_timeout(SOON * 2)
            .context("nobody saw the first event")?;
        Ok(stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")?)
    }))
}
